import { createHash, type KeyObject, sign } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  AssertionSchema,
  type CheckRequest,
  ClaimType,
  type Elements,
  type SignedAssertion,
  SignedAssertionSchema,
  Verdict,
} from "@fujie/api/fujie/source/v1/source";
import { compareOrganisation } from "../legal-person-base/rules.ts";
import type { Check } from "../manners/check.ts";
import {
  BIZ_SEQ_FORM,
  PURPOSE_FORM,
  requireCitizenId,
  requireOrganisationName,
  requirePersonName,
  requireUscc,
} from "../manners/elements.ts";
import { FieldError, requireText } from "../manners/field-error.ts";
import type { lookupOrganisation, lookupPerson } from "../people/index.ts";
import { comparePerson } from "../population-base/rules.ts";

export const PARTNER_ID = "partner";
const ASSERTION_DOMAIN = "fujie-source-assertion-v1\n";
const AUDIENCE_FORM = /^[\x21-\x7e]{1,128}$/;

/** At which level of assurance the partner vouches for each type of claim. */
export const PARTNER_LEVELS: ReadonlyMap<ClaimType, number> = new Map([
  [ClaimType.PERSON_TWO_ELEMENT, 2],
  [ClaimType.LEGAL_PERSON, 3],
  [ClaimType.LEGAL_REPRESENTATIVE, 3],
]);

export type PartnerResult = "MATCH" | "MISMATCH" | "NO_RECORD";
export type PartnerAnswer = { readonly result: PartnerResult; readonly assertion: SignedAssertion };

/** ES256 over P-256. `keyId` is what the platform has registered the key under. */
export type AssertionKey = { readonly keyId: string; readonly privateKey: KeyObject };

export type Records = {
  readonly lookupPerson: typeof lookupPerson;
  readonly lookupOrganisation: typeof lookupOrganisation;
};

const VERDICTS: Readonly<Record<PartnerResult, Verdict>> = {
  MATCH: Verdict.MATCH,
  MISMATCH: Verdict.MISMATCH,
  NO_RECORD: Verdict.NO_RECORD,
};

/** Reads a check. Throws FieldError for what is malformed, missing or not needed for its type (NI-9). */
export function readPartnerCheck(request: CheckRequest, records: Records, key: AssertionKey): Check<PartnerAnswer> {
  requireText(request.bizSeq, "biz_seq", BIZ_SEQ_FORM);
  requireText(request.purpose, "purpose", PURPOSE_FORM);
  requireText(request.audience, "audience", AUDIENCE_FORM);
  if (request.nonce.length < 16 || request.nonce.length > 64) throw new FieldError("nonce", "is not of 16 to 64 bytes");
  const { elements } = request;
  if (elements === undefined) throw new FieldError("elements", "are missing");
  requireElements(request.claimType, elements);
  return {
    bizSeq: request.bizSeq,
    fingerprint: createHash("sha256")
      .update(JSON.stringify([request.claimType, ...elementValues(elements)]))
      .digest("base64"),
    identifier: elements.uscc === "" ? elements.citizenId : elements.uscc,
    lookUp(checkTimeMs) {
      const result = compareElements(request.claimType, elements, records);
      if (result === undefined) return undefined;
      return { result, assertion: signAssertion(request, elements, result, checkTimeMs, key) };
    },
  };
}

function requireElements(claimType: ClaimType, elements: Elements): void {
  const { citizenId, personName, uscc, organisationName } = elements;
  const refuse = (value: string, field: string) => {
    if (value !== "") throw new FieldError(`elements.${field}`, "is not needed for this claim type");
  };
  switch (claimType) {
    case ClaimType.PERSON_TWO_ELEMENT:
      requireCitizenId(citizenId, "elements.citizen_id");
      requirePersonName(personName, "elements.person_name");
      refuse(uscc, "uscc");
      refuse(organisationName, "organisation_name");
      return;
    case ClaimType.LEGAL_PERSON:
    case ClaimType.LEGAL_REPRESENTATIVE:
      requireUscc(uscc, "elements.uscc");
      requireOrganisationName(organisationName, "elements.organisation_name");
      if (claimType === ClaimType.LEGAL_PERSON) refuse(citizenId, "citizen_id");
      else requireCitizenId(citizenId, "elements.citizen_id");
      refuse(personName, "person_name");
      return;
    default:
      throw new FieldError("claim_type", "is not one that this source checks");
  }
}

function compareElements(claimType: ClaimType, elements: Elements, records: Records): PartnerResult | undefined {
  if (claimType === ClaimType.PERSON_TWO_ELEMENT) {
    return comparePerson(records.lookupPerson(elements.citizenId), elements.personName);
  }
  const representative = claimType === ClaimType.LEGAL_REPRESENTATIVE ? elements.citizenId : undefined;
  const organisation = records.lookupOrganisation(elements.uscc);
  const findings = compareOrganisation(organisation, elements.organisationName, representative);
  return findings?.legalRepresentative === "MISMATCH" ? "MISMATCH" : findings?.result;
}

function signAssertion(
  request: CheckRequest,
  elements: Elements,
  result: PartnerResult,
  checkTimeMs: number,
  key: AssertionKey,
): SignedAssertion {
  const { bizSeq, audience, nonce, claimType } = request;
  const assertion = toBinary(
    AssertionSchema,
    create(AssertionSchema, {
      sourceId: PARTNER_ID,
      bizSeq,
      audience,
      nonce,
      claimType,
      elementsDigest: digestElements(nonce, elements),
      verdict: VERDICTS[result],
      level: PARTNER_LEVELS.get(claimType) ?? 0,
      checkTime: timestampFromMs(checkTimeMs),
    }),
  );
  const signed = Buffer.concat([Buffer.from(ASSERTION_DOMAIN), assertion]);
  // RFC 7518 §3.4: r || s, not DER.
  const signature = sign("sha256", signed, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return create(SignedAssertionSchema, { assertion, signature: new Uint8Array(signature), keyId: key.keyId });
}

/** SHA-256 over the nonce and the elements, zero bytes between the elements. */
function digestElements(nonce: Uint8Array, elements: Elements): Uint8Array<ArrayBuffer> {
  const hash = createHash("sha256").update(nonce).update(elementValues(elements).join("\0"));
  return new Uint8Array(hash.digest());
}

function elementValues({ citizenId, personName, uscc, organisationName }: Elements): string[] {
  return [citizenId, personName, uscc, organisationName];
}
