/**
 * Consent grants of the registry (fujie.trust.v1.ConsentGrant). The order of the checks is the argument: the signature
 * first, over the bytes as they came; then when, for whom, for what, and about exactly whom. That the grant was not
 * used before is the last one, and is the store's: a unique insert in the transaction of the verification.
 */
import { timingSafeEqual } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ConsentGrant, ConsentGrantSchema, SignedConsentGrantSchema } from "@fujie/api/fujie/trust/v1/consent";
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import type { KeyBundle, KeyRing } from "@fujie/kit/keys";
import { claimTypeName } from "../claims/rules.ts";

export interface GrantQuestion {
  readonly applicationId: string;
  readonly purpose: string;
  readonly claim: ClaimElements;
  readonly nowMs: number;
  readonly withdrawn: ReadonlySet<string>;
}

/** A grant that covers the question. */
export interface Grant {
  readonly grantId: string;
  readonly accountId: string;
  readonly expiresAtMs: number;
}

export interface GrantKeys {
  readonly bundle: Pick<KeyBundle, "verify">;
  readonly ring: Pick<KeyRing, "hmacAll">;
}

const SIGNED_PREFIX = Buffer.from("fujie-consent-grant-v1\n");
const ID_MAX = 128;
/** How far the registry's clock may run ahead. */
const CLOCK_SKEW_MS = 30_000;

/** Each tells whether the grant stands it. */
const checks: readonly ((grant: ConsentGrant, question: GrantQuestion, keys: GrantKeys) => boolean)[] = [
  hasIds,
  isInForce,
  isForApplication,
  isForPurpose,
  isForClaimType,
  isNotWithdrawn,
  isForElements,
];

/** Reads the `consent_grant` of a request. Throws CONSENT_INVALID; which check failed is not told. */
export function readGrant(text: string, question: GrantQuestion, keys: GrantKeys): Grant {
  const grant = openGrant(text, keys);
  if (!checks.every((check) => check(grant, question, keys))) throw new DomainError("CONSENT_INVALID");
  return { grantId: grant.grantId, accountId: grant.accountId, expiresAtMs: expiryOf(grant) };
}

/** What the signature covers. */
export function signedGrantBytes(grant: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNED_PREFIX, grant]);
}

function openGrant(text: string, { bundle }: GrantKeys): ConsentGrant {
  if (!/^[\w-]+$/.test(text)) throw new DomainError("CONSENT_INVALID");
  try {
    const { grant, signature, keyId } = fromBinary(SignedConsentGrantSchema, Buffer.from(text, "base64url"));
    const parsed = fromBinary(ConsentGrantSchema, grant);
    const signed = bundle.verify({
      keyId,
      use: "consent",
      service: "registry",
      bytes: signedGrantBytes(grant),
      signature,
      atMs: grantedAtOf(parsed),
    });
    if (signed) return parsed;
  } catch {
    // Bytes that are no message are no grant.
  }
  throw new DomainError("CONSENT_INVALID");
}

function hasIds({ grantId, accountId }: ConsentGrant): boolean {
  return [grantId, accountId].every((id) => id !== "" && id.length <= ID_MAX);
}

function isInForce(grant: ConsentGrant, { nowMs }: GrantQuestion): boolean {
  return grantedAtOf(grant) <= nowMs + CLOCK_SKEW_MS && nowMs < expiryOf(grant);
}

function isForApplication(grant: ConsentGrant, question: GrantQuestion): boolean {
  return grant.applicationId === question.applicationId;
}

function isForPurpose(grant: ConsentGrant, question: GrantQuestion): boolean {
  return grant.purpose === question.purpose;
}

function isForClaimType(grant: ConsentGrant, { claim }: GrantQuestion): boolean {
  return claimTypeName(grant.claimType) === claim.type;
}

function isNotWithdrawn({ grantId }: ConsentGrant, { withdrawn }: GrantQuestion): boolean {
  return !withdrawn.has(grantId);
}

/** Consent for Alice cannot verify Bob: exactly these elements, under the named version of the shared key. */
function isForElements(grant: ConsentGrant, { claim }: GrantQuestion, { ring }: GrantKeys): boolean {
  const digests = ring.hmacAll("consent-elements", canonicalElements(claim));
  const expected = digests.find(({ version }) => version === grant.hmacKeyVersion)?.digest;
  return (
    expected !== undefined &&
    grant.elementsHmac.length === expected.length &&
    timingSafeEqual(grant.elementsHmac, expected)
  );
}

function grantedAtOf({ grantTime }: ConsentGrant): number {
  return grantTime === undefined ? Number.POSITIVE_INFINITY : timestampMs(grantTime);
}

function expiryOf({ expireTime }: ConsentGrant): number {
  return expireTime === undefined ? Number.NEGATIVE_INFINITY : timestampMs(expireTime);
}
