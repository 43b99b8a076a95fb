import { FormatError } from "./errors.ts";

/**
 * The strict readings of base64, decimals and UTF-8 that the C2SP text formats share.
 * Each value has exactly one spelling: a second one would let two different notes mean the same thing.
 */

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Decodes standard padded base64 (RFC 4648 §4); any other spelling of the same bytes throws FormatError. */
export function decodeBase64(text: string, field: string): Uint8Array {
  // Node's decoder skips what it does not know; only the round trip proves that nothing was skipped.
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new FormatError(field, "not canonical base64");
  return new Uint8Array(bytes);
}

/** Reads an ASCII decimal without leading zeros, at most 2^53 − 1; anything else throws FormatError. */
export function parseDecimal(text: string, field: string): number {
  const value = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new FormatError(field, "not a decimal without leading zeros below 2^53");
  return value;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8; malformed bytes throw FormatError. A byte-order mark is kept as the character it is. */
export function decodeUtf8(bytes: Uint8Array, field: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new FormatError(field, "not UTF-8");
  }
}

/** Encodes text as UTF-8; a lone surrogate, which has no encoding, throws FormatError. */
export function encodeUtf8(text: string, field: string): Uint8Array {
  if (!text.isWellFormed()) throw new FormatError(field, "not well-formed Unicode");
  return new Uint8Array(Buffer.from(text, "utf8"));
}

/** Whether a line holds no ASCII control character (below U+0020). */
export function isControlFree(line: string): boolean {
  return [...line].every((character) => character >= " ");
}
