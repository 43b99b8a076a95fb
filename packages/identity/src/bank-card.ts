import { IDENTIFIER_TEXT_MAX, normaliseIdentifierText } from "./identifier-text.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";

export type BankCardReason = "length" | "characters" | "check-digit";

/**
 * Reads a bank card number: 13–19 digits with a Luhn check digit (ISO/IEC 7812-1). Never throws.
 * A pre-filter only, so that a mistyped card costs no paid call (NI-28c).
 */
export function parseBankCard(input: string): Parsed<string, BankCardReason> {
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const number = normaliseIdentifierText(input);
  if (!/^\d*$/.test(number)) return refused("characters");
  if (number.length < 13 || number.length > 19) return refused("length");
  if (luhnCheckDigit(number.slice(0, -1)) !== number.slice(-1)) return refused("check-digit");
  return accepted(number);
}

/** The Luhn check digit that follows `digits` (ISO/IEC 7812-1, annex B). Throws RangeError unless given digits. */
export function luhnCheckDigit(digits: string): string {
  if (!/^\d+$/.test(digits)) throw new RangeError("the check digit needs digits");
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits.charAt(digits.length - 1 - i));
    const doubled = digit * 2;
    sum += i % 2 === 1 ? digit : doubled > 9 ? doubled - 9 : doubled;
  }
  return String((10 - (sum % 10)) % 10);
}
