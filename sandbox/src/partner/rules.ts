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
import { bankCardCaps, compareBankCard } from "../bank/rules.ts";
import { compareFace, type FaceFindings, faceCaps, requireImage } from "../biometric/rules.ts";
import { comparePhone } from "../carrier/rules.ts";
import { compareOrganisation } from "../legal-person-base/rules.ts";
import type { Check } from "../manners/check.ts";
import {
  BIZ_SEQ_FORM,
  PURPOSE_FORM,
  requireBankCard,
  requireCitizenId,
  requireDocumentDate,
  requireOrganisationName,
  requirePersonName,
  requirePhone,
  requireUscc,
} from "../manners/elements.ts";
import { FieldError, requireText } from "../manners/field-error.ts";
import { dayInChina, findings } from "../manners/person-check.ts";
import type { Cap } from "../manners/quota.ts";
import type { Settings } from "../manners/settings.ts";
import type { Records } from "../people/index.ts";
import { compareDocument, compareGuardian, comparePerson, type DocumentResult } from "../population-base/rules.ts";

export const PARTNER_ID = "partner";
const ASSERTION_DOMAIN = "fujie-source-assertion-v1\n";
const AUDIENCE_FORM = /^[\x21-\x7e]{1,128}$/;

/** At which level of assurance the partner vouches for each type of claim. */
export const PARTNER_LEVELS: ReadonlyMap<ClaimType, number> = new Map([
  [ClaimType.PERSON_TWO_ELEMENT, 2],
  [ClaimType.LEGAL_PERSON, 3],
  [ClaimType.LEGAL_REPRESENTATIVE, 3],
  [ClaimType.PERSON_CARRIER, 2],
  [ClaimType.PERSON_BANK_CARD, 2],
  [ClaimType.PERSON_BANK_CARD_PHONE, 2],
  [ClaimType.PERSON_FACE, 3],
  [ClaimType.DOCUMENT_VALIDITY, 2],
  [ClaimType.GUARDIAN, 2],
]);

export type PartnerResult = "MATCH" | "MISMATCH" | "NO_RECORD";
export type PartnerAnswer = { readonly result: PartnerResult; readonly assertion: SignedAssertion };

/** ES256 over P-256. `keyId` is what the platform has registered the key under. */
export type AssertionKey = { readonly keyId: string; readonly privateKey: KeyObject };

const VERDICTS: Readonly<Record<PartnerResult, Verdict>> = {
  MATCH: Verdict.MATCH,
  MISMATCH: Verdict.MISMATCH,
  NO_RECORD: Verdict.NO_RECORD,
};

type ElementName = Exclude<keyof Elements, `$${string}`>;
type Reader = (value: unknown, field: string) => unknown;

const FIELDS: Readonly<Record<ElementName, { readonly field: string; readonly read: Reader }>> = {
  citizenId: { field: "elements.citizen_id", read: requireCitizenId },
  personName: { field: "elements.person_name", read: requirePersonName },
  uscc: { field: "elements.uscc", read: requireUscc },
  organisationName: { field: "elements.organisation_name", read: requireOrganisationName },
  phone: { field: "elements.phone", read: requirePhone },
  bankCard: { field: "elements.bank_card", read: requireBankCard },
  faceImage: {
    field: "elements.face_image",
    read: (value, field) => requireImage(value instanceof Uint8Array ? value : new Uint8Array(), field),
  },
  documentExpireDate: { field: "elements.document_expire_date", read: requireDocumentDate },
  wardCitizenId: { field: "elements.ward_citizen_id", read: requireCitizenId },
  wardName: { field: "elements.ward_name", read: requirePersonName },
};

const ELEMENT_NAMES = Object.keys(FIELDS).filter((name): name is ElementName => Object.hasOwn(FIELDS, name));
const PERSON: readonly ElementName[] = ["citizenId", "personName"];
const ORGANISATION: readonly ElementName[] = ["uscc", "organisationName"];

/** Exactly what each type of claim needs. */
const NEEDED: ReadonlyMap<ClaimType, readonly ElementName[]> = new Map([
  [ClaimType.PERSON_TWO_ELEMENT, PERSON],
  [ClaimType.LEGAL_PERSON, ORGANISATION],
  [ClaimType.LEGAL_REPRESENTATIVE, [...ORGANISATION, "citizenId"]],
  [ClaimType.PERSON_CARRIER, [...PERSON, "phone"]],
  [ClaimType.PERSON_BANK_CARD, [...PERSON, "bankCard"]],
  [ClaimType.PERSON_BANK_CARD_PHONE, [...PERSON, "bankCard", "phone"]],
  [ClaimType.PERSON_FACE, [...PERSON, "faceImage"]],
  [ClaimType.DOCUMENT_VALIDITY, [...PERSON, "documentExpireDate"]],
  [ClaimType.GUARDIAN, [...PERSON, "wardCitizenId", "wardName"]],
]);

/** Reads a check. Throws FieldError for what is malformed, missing or not needed for its type (NI-9). */
export function readPartnerCheck(request: CheckRequest, key: AssertionKey): Check<PartnerAnswer> {
  requireText(request.bizSeq, "biz_seq", BIZ_SEQ_FORM);
  requireText(request.purpose, "purpose", PURPOSE_FORM);
  requireText(request.audience, "audience", AUDIENCE_FORM);
  if (request.nonce.length < 16 || request.nonce.length > 64) throw new FieldError("nonce", "is not of 16 to 64 bytes");
  const { claimType, elements } = request;
  if (elements === undefined) throw new FieldError("elements", "are missing");
  requireElements(claimType, elements);
  return {
    bizSeq: request.bizSeq,
    fingerprint: createHash("sha256")
      .update(`${claimType}\n`)
      .update(elementBytes(claimType, elements))
      .digest("base64"),
    identifier: elements.uscc === "" ? elements.citizenId : elements.uscc,
    caps: (settings) => capsOf(claimType, elements, settings),
    lookUp(checkTimeMs, records) {
      const found = compareElements(claimType, elements, records, dayInChina(checkTimeMs));
      if (found === undefined) return undefined;
      return { result: found.result, assertion: signAssertion(request, elements, found, checkTimeMs, key) };
    },
  };
}

function requireElements(claimType: ClaimType, elements: Elements): void {
  const needed = NEEDED.get(claimType);
  if (needed === undefined) throw new FieldError("claim_type", "is not one that this source checks");
  for (const name of ELEMENT_NAMES) {
    const { field, read } = FIELDS[name];
    if (needed.includes(name)) read(elements[name], field);
    else if (elements[name].length > 0) throw new FieldError(field, "is not needed for this claim type");
  }
}

function capsOf(claimType: ClaimType, { bankCard, citizenId }: Elements, settings: Settings): readonly Cap[] {
  if (claimType === ClaimType.PERSON_FACE) return faceCaps(citizenId);
  return bankCard === "" ? [] : bankCardCaps(bankCard, settings);
}

type Found = { readonly result: PartnerResult; readonly similarity?: number };

function compareElements(claimType: ClaimType, elements: Elements, records: Records, today: string): Found | undefined {
  const { citizenId, personName: name, phone, bankCard } = elements;
  const person = records.lookupPerson(citizenId);
  switch (claimType) {
    case ClaimType.PERSON_TWO_ELEMENT:
      return findings(comparePerson(person, name));
    case ClaimType.PERSON_CARRIER:
      return findings(comparePhone(person, name, phone));
    case ClaimType.PERSON_BANK_CARD:
      return findings(compareBankCard(person, name, bankCard, undefined));
    case ClaimType.PERSON_BANK_CARD_PHONE:
      return findings(compareBankCard(person, name, bankCard, phone));
    case ClaimType.PERSON_FACE:
      return foundFace(compareFace(person, name, elements.faceImage));
    case ClaimType.DOCUMENT_VALIDITY:
      return foundDocument(compareDocument(person, name, elements.documentExpireDate, today));
    case ClaimType.GUARDIAN: {
      const ward = { person: records.lookupPerson(elements.wardCitizenId), name: elements.wardName };
      return findings(compareGuardian({ person, name }, ward));
    }
    default:
      return foundOrganisation(claimType, elements, records);
  }
}

function foundFace(found: FaceFindings | undefined): Found | undefined {
  return found && { ...found, result: found.result === "NO_PHOTO" ? "NO_RECORD" : found.result };
}

function foundDocument(found: DocumentResult | undefined): Found | undefined {
  if (found === undefined || found === "NO_RECORD") return findings(found);
  return { result: found === "VALID" ? "MATCH" : "MISMATCH" };
}

function foundOrganisation(claimType: ClaimType, elements: Elements, records: Records): Found | undefined {
  const representative = claimType === ClaimType.LEGAL_REPRESENTATIVE ? elements.citizenId : undefined;
  const organisation = records.lookupOrganisation(elements.uscc);
  const found = compareOrganisation(organisation, elements.organisationName, representative);
  return found && { result: found.legalRepresentative === "MISMATCH" ? "MISMATCH" : found.result };
}

function signAssertion(
  request: CheckRequest,
  elements: Elements,
  { result, similarity = 0 }: Found,
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
      elementsDigest: digestElements(nonce, claimType, elements),
      verdict: VERDICTS[result],
      level: PARTNER_LEVELS.get(claimType) ?? 0,
      checkTime: timestampFromMs(checkTimeMs),
      similarity,
    }),
  );
  const signed = Buffer.concat([Buffer.from(ASSERTION_DOMAIN), assertion]);
  // RFC 7518 §3.4: r || s, not DER.
  const signature = sign("sha256", signed, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return create(SignedAssertionSchema, { assertion, signature: new Uint8Array(signature), keyId: key.keyId });
}

/** SHA-256 over the nonce and the elements (fujie.source.v1.Assertion.elements_digest). */
function digestElements(nonce: Uint8Array, claimType: ClaimType, elements: Elements): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash("sha256").update(nonce).update(elementBytes(claimType, elements)).digest());
}

function elementBytes(claimType: ClaimType, elements: Elements): Buffer {
  const { citizenId, personName, uscc, organisationName, phone, bankCard, faceImage } = elements;
  const first = [citizenId, personName, uscc, organisationName].join("\0");
  if (claimType < ClaimType.PERSON_CARRIER) return Buffer.from(first);
  const face = faceImage.length === 0 ? Buffer.alloc(0) : createHash("sha256").update(faceImage).digest();
  const rest = [elements.documentExpireDate, elements.wardCitizenId, elements.wardName].join("\0");
  return Buffer.concat([Buffer.from(`${first}\0${phone}\0${bankCard}\0`), face, Buffer.from(`\0${rest}`)]);
}
