/** From the claim of a request to normalised elements: exactly those that its type needs (NI-9). Pure. */
import { type Claim, ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import {
  ageOn,
  type CitizenId,
  type ClaimElements,
  isCalendarDate,
  isUnderGuardianship,
  LONG_TERM,
  type Parsed,
  parseBankCard,
  parseCitizenId,
  parseOrganisationName,
  parsePersonName,
  parsePhone,
  parseUscc,
} from "@fujie/identity";
import { DomainError, fieldError, type Reason } from "@fujie/kit/errors";
import { isFaceImage } from "./face-image.ts";
import { readPossession } from "./possession.ts";

export type ClaimTypeName = ClaimElements["type"];

export interface NarrowingOptions {
  readonly nowMs: number;
  /** Fictional people and organisations: the sandbox's only. */
  readonly allowFictional: boolean;
  /** The application that asks; absent for the registry, which proves possession by a way of its own. */
  readonly applicationId?: string;
}

/** What a claim's message may hold beside its type. */
type ElementName = keyof typeof fieldOf;

const fieldOf = {
  citizenId: "claim.citizen_id",
  personName: "claim.person_name",
  uscc: "claim.uscc",
  organisationName: "claim.organisation_name",
  phone: "claim.phone",
  bankCard: "claim.bank_card",
  faceImage: "claim.face_image",
  possession: "claim.possession",
  documentExpireDate: "claim.document_expire_date",
  wardCitizenId: "claim.ward_citizen_id",
  wardName: "claim.ward_name",
} as const satisfies Partial<Record<keyof Claim, string>>;

const elementNames = Object.keys(fieldOf).filter((name): name is ElementName => Object.hasOwn(fieldOf, name));

/** What the elements of each type consist of. */
const textsOf = {
  PERSON_TWO_ELEMENT: ["citizenId", "personName"],
  LEGAL_PERSON: ["uscc", "organisationName"],
  LEGAL_REPRESENTATIVE: ["uscc", "organisationName", "citizenId"],
  PERSON_CARRIER: ["citizenId", "personName", "phone"],
  PERSON_BANK_CARD: ["citizenId", "personName", "bankCard"],
  PERSON_BANK_CARD_PHONE: ["citizenId", "personName", "bankCard", "phone"],
  PERSON_FACE: ["citizenId", "personName", "faceImage"],
  CERTIFICATE_POSSESSION: ["identifierKind", "identifier", "fingerprint", "nonce", "message", "proof"],
  DOCUMENT_VALIDITY: ["citizenId", "personName", "documentExpireDate"],
  GUARDIAN: ["citizenId", "personName", "wardCitizenId", "wardName"],
} as const satisfies { [T in ClaimTypeName]: readonly Exclude<keyof Extract<ClaimElements, { type: T }>, "type">[] };

export const claimTypeNames = Object.keys(textsOf).filter(isClaimTypeName);

export function isClaimTypeName(text: unknown): text is ClaimTypeName {
  return typeof text === "string" && Object.hasOwn(textsOf, text);
}

/** Undefined for a type that this release does not know. */
export function claimTypeName(type: ClaimType): ClaimTypeName | undefined {
  const name = ClaimType[type];
  return isClaimTypeName(name) ? name : undefined;
}

/**
 * Reads a claim. Throws CLAIM_UNSUPPORTED, CLAIM_INCOMPLETE, FIELD_INVALID (an element that the type does not need),
 * CITIZEN_ID_INVALID, USCC_INVALID, NAME_INVALID, PHONE_INVALID, BANK_CARD_INVALID, FACE_IMAGE_INVALID,
 * DOCUMENT_DATE_INVALID, DOCUMENT_EXPIRED, GUARDIANSHIP_INVALID and CHALLENGE_INVALID, naming the field and never its
 * value. What can be told here costs no paid call: check characters, Luhn digits, pictures, dates, ages.
 */
export function narrowClaim(claim: Claim | undefined, options: NarrowingOptions): ClaimElements {
  const type = claim === undefined ? undefined : claimTypeName(claim.type);
  if (claim === undefined || type === undefined) throw unsupported();
  requireExactly(claim, type);
  const person = () => ({ citizenId: readCitizenId(claim, options).number, personName: readPersonName(claim) });
  const organisation = () => ({
    uscc: readUscc(claim, options),
    organisationName: readOrganisationName(claim),
  });
  switch (type) {
    case "PERSON_TWO_ELEMENT":
      return { type, ...person() };
    case "LEGAL_PERSON":
      return { type, ...organisation() };
    case "LEGAL_REPRESENTATIVE":
      return { type, ...organisation(), citizenId: readCitizenId(claim, options).number };
    case "PERSON_CARRIER":
      return { type, ...person(), phone: readPhone(claim) };
    case "PERSON_BANK_CARD":
      return { type, ...person(), bankCard: readBankCard(claim) };
    case "PERSON_BANK_CARD_PHONE":
      return { type, ...person(), bankCard: readBankCard(claim), phone: readPhone(claim) };
    case "PERSON_FACE":
      return { type, ...person(), faceImage: readFaceImage(claim) };
    case "CERTIFICATE_POSSESSION":
      return { type, ...readHolder(claim, options), ...readProven(claim, options) };
    case "DOCUMENT_VALIDITY":
      return { type, ...person(), documentExpireDate: readDocumentDate(claim, options) };
    case "GUARDIAN":
      return { type, ...person(), ...readWard(claim, options) };
  }
}

/** Whether a value is the elements of a claim: exactly the texts of its type. For what was sealed and is opened again. */
export function isClaimElements(value: unknown): value is ClaimElements {
  if (typeof value !== "object" || value === null) return false;
  const { type, ...texts }: Readonly<Record<string, unknown>> = { ...value };
  if (!isClaimTypeName(type)) return false;
  const names: readonly string[] = textsOf[type];
  const present = Object.keys(texts);
  return present.length === names.length && names.every((name) => typeof texts[name] === "string");
}

/** The identifier that a claim is about: what caps and block rules go by. */
export function identifierOf(claim: ClaimElements): string {
  if (claim.type === "CERTIFICATE_POSSESSION") return claim.identifier;
  return claim.type === "LEGAL_PERSON" || claim.type === "LEGAL_REPRESENTATIVE" ? claim.uscc : claim.citizenId;
}

/** A thing about which only so many questions a day are answered. */
export interface Cap {
  readonly kind: "identifier" | "bank-card" | "face";
  readonly identifier: string;
  /** In 24 hours; absent: the setting. */
  readonly perDayMax?: number;
}

/** As the sources themselves grant them (NI-28d, NI-28e): a question beyond would be refused there. */
const CARD_PER_DAY_MAX = 4;
const FACE_PER_DAY_MAX = 30;

/** Everything that a claim counts against: each of its people or organisations, its card, its face. */
export function capsOf(claim: ClaimElements): readonly Cap[] {
  const caps: Cap[] = [{ kind: "identifier", identifier: identifierOf(claim) }];
  if (claim.type === "GUARDIAN") caps.push({ kind: "identifier", identifier: claim.wardCitizenId });
  if ("bankCard" in claim) caps.push({ kind: "bank-card", identifier: claim.bankCard, perDayMax: CARD_PER_DAY_MAX });
  if (claim.type === "PERSON_FACE") {
    caps.push({ kind: "face", identifier: claim.citizenId, perDayMax: FACE_PER_DAY_MAX });
  }
  return caps;
}

/** Whether only the person's own consent entitles to the question, and no legal basis stands in (NI-14). */
export function requiresConsent(type: ClaimTypeName): boolean {
  return type === "PERSON_FACE";
}

function requireExactly(claim: Claim, type: ClaimTypeName): void {
  const needed = neededFor(claim, type);
  const violationsOf = (wrong: (name: ElementName) => boolean, description: string) =>
    elementNames.filter(wrong).map((name) => ({ field: fieldOf[name], description }));
  const extra = violationsOf(
    (name) => isPresent(claim, name) && !needed.includes(name),
    "is not needed for this claim type",
  );
  if (extra.length > 0) throw new DomainError("FIELD_INVALID", { violations: extra });
  const missing = violationsOf(
    (name) => !isPresent(claim, name) && needed.includes(name),
    "is required for this claim type",
  );
  if (missing.length > 0) throw new DomainError("CLAIM_INCOMPLETE", { violations: missing });
}

function neededFor({ citizenId, uscc }: Claim, type: ClaimTypeName): readonly ElementName[] {
  if (type !== "CERTIFICATE_POSSESSION") return textsOf[type];
  return ["possession", citizenId === "" && uscc !== "" ? "uscc" : "citizenId"];
}

function isPresent(claim: Claim, name: ElementName): boolean {
  const value = claim[name];
  if (value === undefined) return false;
  return typeof value === "string" || value instanceof Uint8Array ? value.length > 0 : true;
}

function readCitizenId(
  claim: Claim,
  { nowMs, allowFictional }: NarrowingOptions,
  name: "citizenId" | "wardCitizenId" = "citizenId",
): CitizenId {
  return accept(parseCitizenId(claim[name], { today: dayInChina(nowMs), allowFictional }), "CITIZEN_ID_INVALID", name);
}

function readUscc({ uscc }: Claim, { allowFictional }: NarrowingOptions): string {
  return accept(parseUscc(uscc, { allowFictional }), "USCC_INVALID", "uscc").code;
}

function readPersonName(claim: Claim, name: "personName" | "wardName" = "personName"): string {
  return accept(parsePersonName(claim[name]), "NAME_INVALID", name).name;
}

function readOrganisationName({ organisationName }: Claim): string {
  return accept(parseOrganisationName(organisationName), "NAME_INVALID", "organisationName").name;
}

function readPhone({ phone }: Claim): string {
  return accept(parsePhone(phone), "PHONE_INVALID", "phone").national;
}

function readBankCard({ bankCard }: Claim): string {
  return accept(parseBankCard(bankCard), "BANK_CARD_INVALID", "bankCard");
}

function readFaceImage({ faceImage }: Claim): string {
  if (!isFaceImage(faceImage)) refuse("FACE_IMAGE_INVALID", "faceImage", "is no JPEG or PNG of a face's size");
  return Buffer.from(faceImage).toString("base64");
}

/** A document that has ended by its own word is asked about nowhere. */
function readDocumentDate({ documentExpireDate: date }: Claim, { nowMs }: NarrowingOptions): string {
  if (date === LONG_TERM) return date;
  if (!isCalendarDate(date)) refuse("DOCUMENT_DATE_INVALID", "documentExpireDate", "is not YYYY-MM-DD or LONG-TERM");
  if (date < dayInChina(nowMs)) refuse("DOCUMENT_EXPIRED", "documentExpireDate", "is over");
  return date;
}

/** NI-15: the ward is under eighteen on this day, the guardian is not; nobody is his own. */
function readWard(claim: Claim, options: NarrowingOptions): { wardCitizenId: string; wardName: string } {
  const today = dayInChina(options.nowMs);
  const guardian = readCitizenId(claim, options);
  const ward = readCitizenId(claim, options, "wardCitizenId");
  const wardName = readPersonName(claim, "wardName");
  if (ward.number === guardian.number) refuse("GUARDIANSHIP_INVALID", "wardCitizenId", "is the guardian's own");
  // A number that tells no age shows no minority either.
  if (guardian.birthDate === undefined || ageOn(guardian.birthDate, today) < ADULT_AT) {
    refuse("GUARDIANSHIP_INVALID", "citizenId", "is not of an adult");
  }
  if (ward.birthDate === undefined || !isUnderGuardianship(ward.birthDate, today)) {
    refuse("GUARDIANSHIP_INVALID", "wardCitizenId", "is not of a minor");
  }
  return { wardCitizenId: ward.number, wardName };
}

const ADULT_AT = 18;

function readHolder(claim: Claim, options: NarrowingOptions) {
  if (claim.uscc !== "") return { identifierKind: "uscc", identifier: readUscc(claim, options) } as const;
  return { identifierKind: "citizen-id", identifier: readCitizenId(claim, options).number } as const;
}

function readProven({ possession }: Claim, { applicationId, nowMs }: NarrowingOptions) {
  if (possession === undefined || applicationId === undefined) throw unsupported();
  return readPossession(possession, { applicationId, nowMs });
}

function accept<Value>(parsed: Parsed<Value, string>, reason: Reason, element: ElementName): Value {
  return parsed.ok ? parsed.value : refuse(reason, element, parsed.reason);
}

function refuse(reason: Reason, element: ElementName, why: string): never {
  throw fieldError(reason, fieldOf[element], why);
}

function unsupported(): DomainError {
  return fieldError("CLAIM_UNSUPPORTED", "claim.type", "is not supported");
}

const CHINA_OFFSET_MS = 8 * 3_600_000;

const DAY_MS = 86_400_000;
/** Of the last question: that of the next one, but for midnight. */
let lastDay = { number: Number.NaN, text: "" };

/** The calendar day in China, where birth dates are counted. */
export function dayInChina(nowMs: number): string {
  const number = Math.floor((nowMs + CHINA_OFFSET_MS) / DAY_MS);
  if (number !== lastDay.number) lastDay = { number, text: new Date(number * DAY_MS).toISOString().slice(0, 10) };
  return lastDay.text;
}
