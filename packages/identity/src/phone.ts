import { IDENTIFIER_TEXT_MAX, normaliseIdentifierText } from "./identifier-text.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";

export type PhoneReason = "length" | "characters" | "prefix";

export type Phone = {
  /** The eleven digits that people write. */
  national: string;
  /** E.164: `+86` and the eleven digits. The canonical form. */
  e164: string;
};

/**
 * Reads a mainland mobile number: eleven digits 13…–19…, with or without +86, 0086 or 86 in front. Never throws.
 * That a number is well formed says nothing about who holds it.
 */
export function parsePhone(input: string): Parsed<Phone, PhoneReason> {
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const text = normaliseIdentifierText(input);
  if (!/^\+?\d*$/.test(text)) return refused("characters");
  // A number with a country code is longer than eleven digits, so no national number is cut here.
  const national = text.replace(/^(?:\+86|0086|86)(?=\d{11}$)/, "");
  if (national.length !== 11) return refused("length");
  if (!/^1[3-9]\d{9}$/.test(national)) return refused("prefix");
  return accepted({ national, e164: `+86${national}` });
}
