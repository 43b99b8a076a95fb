/** Longest raw spelling of an identifier that is looked at, in UTF-16 units: nothing longer is even normalised. */
export const IDENTIFIER_TEXT_MAX = 64;

const SPACING = /[\t \u00A0\u2000-\u200A\u202F\u3000\u002D\u2010-\u2015\u2212\uFF0D]/g;

/**
 * Brings every spelling of an identifier to one: full-width ASCII becomes half-width, a–z becomes A–Z, spaces and
 * hyphens go. Nothing else is touched, so that a look-alike letter or an invisible character stays and is refused.
 * Idempotent.
 */
export function normaliseIdentifierText(input: string): string {
  return toHalfWidth(input).replace(SPACING, "").replace(/[a-z]/g, upperCaseOf);
}

/** Replaces the full-width forms U+FF01–U+FF5E by their ASCII characters. */
export function toHalfWidth(input: string): string {
  return input.replace(/[\uFF01-\uFF5E]/g, (wide) => String.fromCharCode(wide.charCodeAt(0) - 0xfee0));
}

// Only ASCII letters: String.prototype.toUpperCase would also turn ı into I and ß into SS.
function upperCaseOf(letter: string): string {
  return String.fromCharCode(letter.charCodeAt(0) - 32);
}
