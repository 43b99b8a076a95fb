import { IDENTIFIER_TEXT_MAX, normaliseIdentifierText } from "./identifier-text.ts";
import { isSelfDefinedOrganisationCode, organisationCodeCheckCharacter } from "./organisation-code.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";
import { lookupRegion } from "./region.ts";

export type UsccReason =
  | "length"
  /** Outside the alphabet, which has no I, O, S, V and Z; or the region is not six digits. */
  | "characters"
  /** The eighteenth character is wrong. */
  | "check-character"
  /** Positions 9–17 are not a valid organisation code (GB 11714). */
  | "organisation-code"
  /** A synthetic organisation where those are not allowed. */
  | "fictional";

export type UsccWarning =
  | "region-unknown"
  /** A check failed, and the legal-person base confirms that the code was issued so. */
  | "check-failed-base-confirmed";

export type Uscc = {
  /** The canonical form: 18 characters. */
  code: string;
  /** The first two characters: registering authority and kind of organisation, e.g. `91` for an enterprise. */
  category: string;
  /** Six digits (GB/T 2260) of the registering authority. */
  regionCode: string;
  /** Nine characters (GB 11714). */
  organisationCode: string;
  warnings: readonly UsccWarning[];
};

export type UsccOptions = {
  /**
   * The legal-person base confirms this very code: codes that were issued with a wrong check character exist.
   * Never set it from a user's input.
   */
  baseConfirmed?: boolean;
  /** Accepts codes of the self-defined zone and of fictional districts. For tests and sandboxes; refused when absent. */
  allowFictional?: boolean;
};

const ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY";
const WEIGHTS = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];

/** The one spelling of a code: half-width, upper-case, without spaces and hyphens. Idempotent. */
export function normaliseUscc(input: string): string {
  return normaliseIdentifierText(input);
}

/** Reads a unified social credit code (GB 32100-2015, SZ-3.1) and the organisation code inside it. Never throws. */
export function parseUscc(input: string, options: UsccOptions = {}): Parsed<Uscc, UsccReason> {
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const code = normaliseUscc(input);
  if (code.length !== 18) return refused("length");
  if (!/^[\dA-HJ-NPQRTUWXY]{2}\d{6}[\dA-HJ-NPQRTUWXY]{10}$/.test(code)) return refused("characters");

  const regionCode = code.slice(2, 8);
  const organisationCode = code.slice(8, 17);
  const failedCheck = findFailedCheck(code, organisationCode);
  if (failedCheck !== undefined && options.baseConfirmed !== true) return refused(failedCheck);

  const region = lookupRegion(regionCode);
  const isFictional = region.status === "fictional" || isSelfDefinedOrganisationCode(organisationCode);
  if (isFictional && options.allowFictional !== true) return refused("fictional");

  const warnings: UsccWarning[] = [];
  if (region.status === "unknown") warnings.push("region-unknown");
  if (failedCheck !== undefined) warnings.push("check-failed-base-confirmed");
  return accepted({ code, category: code.slice(0, 2), regionCode, organisationCode, warnings });
}

/**
 * The check character of the first 17 (GB 32100-2015): weights 3^(i−1) mod 31.
 * Throws RangeError unless given 17 characters of the alphabet.
 */
export function usccCheckCharacter(first17: string): string {
  if (!/^[\dA-HJ-NPQRTUWXY]{17}$/.test(first17)) {
    throw new RangeError("the check character needs 17 characters of the alphabet");
  }
  const sum = WEIGHTS.reduce((total, weight, i) => total + weight * ALPHABET.indexOf(first17.charAt(i)), 0);
  // The outer modulus matters: a sum divisible by 31 gives 0, not a 32nd character.
  return ALPHABET.charAt((31 - (sum % 31)) % 31);
}

function findFailedCheck(code: string, organisationCode: string): "check-character" | "organisation-code" | undefined {
  if (usccCheckCharacter(code.slice(0, 17)) !== code.charAt(17)) return "check-character";
  const isInnerValid = organisationCodeCheckCharacter(organisationCode.slice(0, 8)) === organisationCode.charAt(8);
  return isInnerValid ? undefined : "organisation-code";
}
