import { IDENTIFIER_TEXT_MAX, toHalfWidth } from "./identifier-text.ts";
import { parseOrganisationCode } from "./organisation-code.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";
import { parseUscc } from "./uscc.ts";

export type LoginNameReason =
  /** Not 4–32 characters. */
  | "length"
  /** Other than letters, digits, dot, underscore and hyphen. */
  | "characters"
  | "first-letter"
  /** It would show an identifier or a phone number to whoever reads the name, or be taken for one. */
  | "looks-like-identifier";

/** The one spelling of a login name: half-width and in lower case. Idempotent. */
export function normaliseLoginName(input: string): string {
  return toHalfWidth(input).replace(/[A-Z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 32));
}

/** Reads the login name chosen at registration (用户名, SZ-13.3): 4–32 characters, case ignored. Never throws. */
export function parseLoginName(input: string): Parsed<string, LoginNameReason> {
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const name = normaliseLoginName(input);
  if (!/^[a-z0-9._-]*$/.test(name)) return refused("characters");
  if (name.length < 4 || name.length > 32) return refused("length");
  if (!/^[a-z]/.test(name)) return refused("first-letter");
  if (looksLikeIdentifier(name)) return refused("looks-like-identifier");
  return accepted(name);
}

function looksLikeIdentifier(name: string): boolean {
  const bare = name.replace(/[._-]/g, "");
  // Eleven digits in a row hold a phone, a citizen's, a foreigner's (12) or a bank card's number, whatever surrounds it.
  if (/\d{11}/.test(bare)) return true;
  const hasManyDigits = (bare.match(/\d/g) ?? []).length >= 5;
  return hasManyDigits && (isOrganisationCode(bare) || isUscc(bare));
}

function isOrganisationCode(text: string): boolean {
  return parseOrganisationCode(text).ok;
}

function isUscc(text: string): boolean {
  return parseUscc(text, { baseConfirmed: true, allowFictional: true }).ok;
}
