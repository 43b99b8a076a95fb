import { IDENTIFIER_TEXT_MAX, normaliseIdentifierText } from "./identifier-text.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";

export type OrganisationCodeReason = "length" | "characters" | "check-character";

const WEIGHTS = [3, 7, 9, 10, 5, 8, 4, 2];

/** Reads an organisation code (GB 11714-1997) into its nine characters without the hyphen. Never throws. */
export function parseOrganisationCode(input: string): Parsed<string, OrganisationCodeReason> {
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const code = normaliseIdentifierText(input);
  if (code.length !== 9) return refused("length");
  if (!/^[\dA-Z]{8}[\dX]$/.test(code)) return refused("characters");
  if (organisationCodeCheckCharacter(code.slice(0, 8)) !== code.charAt(8)) return refused("check-character");
  return accepted(code);
}

/**
 * The check character of the first eight (GB 11714-1997): letters count A = 10 … Z = 35, which is *not* the alphabet
 * of the USCC; 10 is written X and 11 is written 0. Throws RangeError unless given eight digits or capital letters.
 */
export function organisationCodeCheckCharacter(first8: string): string {
  if (!/^[\dA-Z]{8}$/.test(first8)) throw new RangeError("the check character needs eight digits or capital letters");
  const sum = WEIGHTS.reduce((total, weight, i) => total + weight * Number.parseInt(first8.charAt(i), 36), 0);
  const check = 11 - (sum % 11);
  if (check === 10) return "X";
  return check === 11 ? "0" : String(check);
}

/** True for the self-defined zone PDY00001–PDY99999 of GB 11714-1997, where synthetic organisations live. */
export function isSelfDefinedOrganisationCode(code: string): boolean {
  return /^PDY(?!00000)\d{5}/.test(code);
}
