/** From the claim of a request to normalised elements: exactly those that its type needs (NI-9). Pure. */
import { type Claim, ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { type ClaimElements, parseCitizenId, parseOrganisationName, parsePersonName, parseUscc } from "@fujie/identity";
import { DomainError, fieldError, type Reason } from "@fujie/kit/errors";

export type ClaimTypeName = ClaimElements["type"];

export interface NarrowingOptions {
  readonly nowMs: number;
  /** Fictional people and organisations: the sandbox's only. */
  readonly allowFictional: boolean;
}

type ElementName = "citizenId" | "personName" | "uscc" | "organisationName";

const fieldOf: Readonly<Record<ElementName, string>> = {
  citizenId: "claim.citizen_id",
  personName: "claim.person_name",
  uscc: "claim.uscc",
  organisationName: "claim.organisation_name",
};

const neededBy: Readonly<Record<ClaimTypeName, readonly ElementName[]>> = {
  PERSON_TWO_ELEMENT: ["citizenId", "personName"],
  LEGAL_PERSON: ["uscc", "organisationName"],
  LEGAL_REPRESENTATIVE: ["uscc", "organisationName", "citizenId"],
};

const names: Readonly<Partial<Record<ClaimType, ClaimTypeName>>> = {
  [ClaimType.PERSON_TWO_ELEMENT]: "PERSON_TWO_ELEMENT",
  [ClaimType.LEGAL_PERSON]: "LEGAL_PERSON",
  [ClaimType.LEGAL_REPRESENTATIVE]: "LEGAL_REPRESENTATIVE",
};

export const claimTypeNames = Object.keys(neededBy).filter(isClaimTypeName);

export function isClaimTypeName(text: unknown): text is ClaimTypeName {
  return typeof text === "string" && Object.hasOwn(neededBy, text);
}

/** Undefined for a type that this release does not know. */
export function claimTypeName(type: ClaimType): ClaimTypeName | undefined {
  return names[type];
}

/**
 * Reads a claim. Throws CLAIM_UNSUPPORTED, CLAIM_INCOMPLETE, FIELD_INVALID (an element that the type does not need),
 * CITIZEN_ID_INVALID, USCC_INVALID and NAME_INVALID, naming the field and never its value. Check characters are
 * computed here, so that a typing error costs no paid call.
 */
export function narrowClaim(claim: Claim | undefined, options: NarrowingOptions): ClaimElements {
  const type = claim === undefined ? undefined : claimTypeName(claim.type);
  if (claim === undefined || type === undefined)
    throw fieldError("CLAIM_UNSUPPORTED", "claim.type", "is not supported");
  requireExactly(claim, neededBy[type]);
  switch (type) {
    case "PERSON_TWO_ELEMENT":
      return { type, citizenId: readCitizenId(claim, options), personName: readPersonName(claim) };
    case "LEGAL_PERSON":
      return { type, uscc: readUscc(claim, options), organisationName: readOrganisationName(claim) };
    case "LEGAL_REPRESENTATIVE":
      return {
        type,
        uscc: readUscc(claim, options),
        organisationName: readOrganisationName(claim),
        citizenId: readCitizenId(claim, options),
      };
  }
}

/** The identifier that a claim is about: what caps count by. */
export function identifierOf(claim: ClaimElements): string {
  return claim.type === "PERSON_TWO_ELEMENT" ? claim.citizenId : claim.uscc;
}

function requireExactly(claim: Claim, needed: readonly ElementName[]): void {
  const elements: readonly ElementName[] = ["citizenId", "personName", "uscc", "organisationName"];
  const violationsOf = (wrong: (name: ElementName) => boolean, description: string) =>
    elements.filter(wrong).map((name) => ({ field: fieldOf[name], description }));
  const extra = violationsOf(
    (name) => claim[name] !== "" && !needed.includes(name),
    "is not needed for this claim type",
  );
  if (extra.length > 0) throw new DomainError("FIELD_INVALID", { violations: extra });
  const missing = violationsOf(
    (name) => claim[name] === "" && needed.includes(name),
    "is required for this claim type",
  );
  if (missing.length > 0) throw new DomainError("CLAIM_INCOMPLETE", { violations: missing });
}

function readCitizenId({ citizenId }: Claim, { nowMs, allowFictional }: NarrowingOptions): string {
  const parsed = parseCitizenId(citizenId, { today: dayInChina(nowMs), allowFictional });
  return parsed.ok ? parsed.value.number : refuse("CITIZEN_ID_INVALID", "citizenId", parsed.reason);
}

function readUscc({ uscc }: Claim, { allowFictional }: NarrowingOptions): string {
  const parsed = parseUscc(uscc, { allowFictional });
  return parsed.ok ? parsed.value.code : refuse("USCC_INVALID", "uscc", parsed.reason);
}

function readPersonName({ personName }: Claim): string {
  const parsed = parsePersonName(personName);
  return parsed.ok ? parsed.value.name : refuse("NAME_INVALID", "personName", parsed.reason);
}

function readOrganisationName({ organisationName }: Claim): string {
  const parsed = parseOrganisationName(organisationName);
  return parsed.ok ? parsed.value.name : refuse("NAME_INVALID", "organisationName", parsed.reason);
}

function refuse(reason: Reason, element: ElementName, why: string): never {
  throw fieldError(reason, fieldOf[element], why);
}

const CHINA_OFFSET_MS = 8 * 3_600_000;

/** The calendar day in China, where birth dates are counted. */
export function dayInChina(nowMs: number): string {
  return new Date(nowMs + CHINA_OFFSET_MS).toISOString().slice(0, 10);
}
