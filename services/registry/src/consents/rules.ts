import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ConsentGrantSchema, SignedConsentGrantSchema } from "@fujie/api/fujie/trust/v1/consent";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError, fieldError } from "@fujie/kit/errors";
import type { KeyedSignature, VersionedDigest } from "@fujie/kit/keys";
import type { Application } from "../applications/application.ts";
import type { Consent } from "./consent.ts";
import { type ConsentType, consentTypeOf } from "./elements.ts";

/** How long a grant may be used. */
export const GRANT_MS = 10 * 60_000;

const TAG = Buffer.from("fujie-consent-grant-v1\n");

/**
 * Whether the application may be let do this at all, and what it is. Throws CLAIM_UNSUPPORTED, APPLICATION_NOT_FOUND,
 * APPLICATION_SUSPENDED, PURPOSE_NOT_REGISTERED.
 */
export function requireGrantable(
  application: Pick<Application, "enabled" | "purposes"> | undefined,
  wish: { readonly purpose: string; readonly claimType: ClaimType },
): ConsentType {
  const type = consentTypeOf(wish.claimType);
  if (type === undefined)
    throw fieldError("CLAIM_UNSUPPORTED", "claim_type", "is none of a person's that sources answer");
  if (application === undefined) throw new DomainError("APPLICATION_NOT_FOUND");
  if (!application.enabled) throw new DomainError("APPLICATION_SUSPENDED");
  const purpose = application.purposes.find((each) => each.purpose === wish.purpose);
  if (purpose?.claimTypes.includes(type) !== true) throw new DomainError("PURPOSE_NOT_REGISTERED");
  return type;
}

/** The serialised grant (fujie/trust/v1/consent.proto). */
export function composeGrant(
  consent: Omit<Consent, "withdrawnAt" | "claimType"> & { readonly claimType: ConsentType },
  elements: VersionedDigest,
): Uint8Array {
  const { grantId, applicationId, purpose, claimType, accountId } = consent;
  const grant = create(ConsentGrantSchema, {
    grantId,
    applicationId,
    purpose,
    claimType: ClaimType[claimType],
    elementsHmac: elements.digest,
    hmacKeyVersion: elements.version,
    grantTime: timestampFromDate(consent.grantedAt),
    expireTime: timestampFromDate(consent.expireAt),
    accountId,
  });
  return toBinary(ConsentGrantSchema, grant);
}

/** What the consent key signs of a grant. */
export function grantSignedBytes(grant: Uint8Array): Uint8Array {
  return Buffer.concat([TAG, grant]);
}

/** The text that is handed to the application. */
export function encodeGrant(grant: Uint8Array, { keyId, signature }: KeyedSignature): string {
  const signed = create(SignedConsentGrantSchema, { grant, signature, keyId });
  return Buffer.from(toBinary(SignedConsentGrantSchema, signed)).toString("base64url");
}
