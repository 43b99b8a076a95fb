/** The elements that a person consents to have verified: number and name on file, and what the claim type adds. Pure. */
import type { GrantConsentRequest } from "@fujie/api/fujie/registry/v1/consents";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import {
  type ClaimElements,
  type FaceDigestElements,
  isCalendarDate,
  LONG_TERM,
  type Parsed,
  parseBankCard,
  parseCitizenId,
  parsePersonName,
  parsePhone,
} from "@fujie/identity";
import { DomainError, fieldError, type Reason } from "@fujie/kit/errors";

/** What a person can consent to: a face by the digest of its picture. */
export type ConsentedElements =
  | Exclude<ClaimElements, { type: "PERSON_FACE" | "LEGAL_PERSON" | "LEGAL_REPRESENTATIVE" | "CERTIFICATE_POSSESSION" }>
  | FaceDigestElements;

export type ConsentType = ConsentedElements["type"];

type Added = keyof typeof fieldOf;

const fieldOf = {
  phone: "phone",
  bankCard: "bank_card",
  faceImageDigest: "face_image_digest",
  documentExpireDate: "document_expire_date",
  wardCitizenId: "ward_citizen_id",
  wardName: "ward_name",
} as const satisfies Partial<Record<keyof GrantConsentRequest, string>>;

const addedNames = Object.keys(fieldOf).filter((name): name is Added => Object.hasOwn(fieldOf, name));

const addedBy: Readonly<Record<ConsentType, readonly Added[]>> = {
  PERSON_TWO_ELEMENT: [],
  PERSON_CARRIER: ["phone"],
  PERSON_BANK_CARD: ["bankCard"],
  PERSON_BANK_CARD_PHONE: ["bankCard", "phone"],
  PERSON_FACE: ["faceImageDigest"],
  DOCUMENT_VALIDITY: ["documentExpireDate"],
  GUARDIAN: ["wardCitizenId", "wardName"],
};

const DIGEST_BYTES = 32;

/** Undefined for a claim type that no person's consent covers. */
export function consentTypeOf(type: ClaimType): ConsentType | undefined {
  const name: string = ClaimType[type] ?? "";
  return isConsentType(name) ? name : undefined;
}

function isConsentType(name: string): name is ConsentType {
  return Object.hasOwn(addedBy, name);
}

export interface Holder {
  readonly identifier: string;
  readonly name: string;
}

/**
 * Throws CLAIM_INCOMPLETE and FIELD_INVALID (an element that the type does not need), PHONE_INVALID, BANK_CARD_INVALID,
 * DOCUMENT_DATE_INVALID, CITIZEN_ID_INVALID and NAME_INVALID, naming the field and never its value.
 */
export function composeElements(
  type: ConsentType,
  { identifier: citizenId, name: personName }: Holder,
  request: GrantConsentRequest,
  options: { readonly today: string; readonly allowFictional: boolean },
): ConsentedElements {
  requireExactly(request, addedBy[type]);
  const person = { citizenId, personName };
  switch (type) {
    case "PERSON_TWO_ELEMENT":
      return { type, ...person };
    case "PERSON_CARRIER":
      return { type, ...person, phone: readPhone(request) };
    case "PERSON_BANK_CARD":
      return { type, ...person, bankCard: readBankCard(request) };
    case "PERSON_BANK_CARD_PHONE":
      return { type, ...person, bankCard: readBankCard(request), phone: readPhone(request) };
    case "PERSON_FACE":
      return { type, ...person, faceImageDigest: readDigest(request) };
    case "DOCUMENT_VALIDITY":
      return { type, ...person, documentExpireDate: readDate(request) };
    case "GUARDIAN": {
      const ward = accept(parseCitizenId(request.wardCitizenId, options), "CITIZEN_ID_INVALID", "wardCitizenId");
      const wardName = accept(parsePersonName(request.wardName), "NAME_INVALID", "wardName").name;
      return { type, ...person, wardCitizenId: ward.number, wardName };
    }
  }
}

function requireExactly(request: GrantConsentRequest, needed: readonly Added[]): void {
  const violationsOf = (wrong: (name: Added) => boolean, description: string) =>
    addedNames.filter(wrong).map((name) => ({ field: fieldOf[name], description }));
  const isPresent = (name: Added) => request[name].length > 0;
  const extra = violationsOf((name) => isPresent(name) && !needed.includes(name), "is not needed for this claim type");
  if (extra.length > 0) throw new DomainError("FIELD_INVALID", { violations: extra });
  const missing = violationsOf((name) => !isPresent(name) && needed.includes(name), "is required for this claim type");
  if (missing.length > 0) throw new DomainError("CLAIM_INCOMPLETE", { violations: missing });
}

function readPhone({ phone }: GrantConsentRequest): string {
  return accept(parsePhone(phone), "PHONE_INVALID", "phone").national;
}

function readBankCard({ bankCard }: GrantConsentRequest): string {
  return accept(parseBankCard(bankCard), "BANK_CARD_INVALID", "bankCard");
}

function readDigest({ faceImageDigest }: GrantConsentRequest): string {
  if (faceImageDigest.length === DIGEST_BYTES) return Buffer.from(faceImageDigest).toString("hex");
  throw fieldError("FIELD_INVALID", fieldOf.faceImageDigest, `is not of ${DIGEST_BYTES} bytes`);
}

function readDate({ documentExpireDate: date }: GrantConsentRequest): string {
  if (date === LONG_TERM || isCalendarDate(date)) return date;
  throw fieldError("DOCUMENT_DATE_INVALID", fieldOf.documentExpireDate, "is not YYYY-MM-DD or LONG-TERM");
}

function accept<Value>(parsed: Parsed<Value, string>, reason: Reason, element: Added): Value {
  if (parsed.ok) return parsed.value;
  throw fieldError(reason, fieldOf[element], parsed.reason);
}
