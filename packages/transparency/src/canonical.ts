import { FormatError } from "./errors.ts";
import { decodeUtf8 } from "./text.ts";

/**
 * Canonical bytes of a record, for audit leaves: the same record always has the same bytes, and bytes that a decoder
 * accepts encode back to themselves. (Protobuf promises neither.)
 *
 *   record = version:u8 field*            version is 1 to 255
 *   field  = tag:u16 kind:u8 length:u16 value
 *
 * Integers are big-endian. Tags are 1 to 65,535 and strictly increase. Kinds:
 *   1 bytes    as they are
 *   2 string   UTF-8, not normalised: evidence keeps the characters that it was given
 *   3 bigint   unsigned, in the fewest bytes (zero has none), below 2^256
 *   4 boolean  0x00 or 0x01
 *
 * An absent field is left out; an empty one is present with length 0.
 */

/** A record is a log entry, and tlog-tiles entries are at most 65,535 bytes. */
export const CANONICAL_BYTES_MAX = 65_535;

const HEADER_BYTES = 5;
const INTEGER_BYTES_MAX = 32;

export type CanonicalValue = Uint8Array | string | bigint | boolean;
export type CanonicalField = readonly [tag: number, value: CanonicalValue];
export type CanonicalRecord = { readonly version: number; readonly fields: readonly CanonicalField[] };

const NOTHING = new Uint8Array();
const KIND_BYTES = 1;
const KIND_STRING = 2;
const KIND_BIGINT = 3;
const KIND_BOOLEAN = 4;

/** Where a record is written before it is copied out: one buffer for all costs a third of a piece for each field. */
const scratch = Buffer.alloc(CANONICAL_BYTES_MAX);

/** Encodes a record; fields come in the order of their tags. Errors: FormatError naming `fields.<tag>`. */
export function encodeCanonical(version: number, fields: readonly CanonicalField[]): Uint8Array {
  requireVersion(version);
  scratch[0] = version;
  let end = 1;
  try {
    let previous = 0;
    for (const [tag, value] of fields) {
      requireTag(tag, previous);
      end = writeField(tag, value, end);
      previous = tag;
    }
    return Uint8Array.from(scratch.subarray(0, end));
  } finally {
    // A record may be private: leave nothing of it behind.
    scratch.fill(0, 0, end);
  }
}

const ASCII = /^[\0-\x7f]*$/;

/** Decodes a record. Throws FormatError for anything that `encodeCanonical` would not have written. */
export function decodeCanonical(bytes: Uint8Array): CanonicalRecord {
  if (bytes.length > CANONICAL_BYTES_MAX) throw new FormatError("record", "longer than 65,535 bytes");
  const version = bytes[0] ?? 0;
  requireVersion(version);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Measured: most texts are ASCII, and slices of one string cost a fraction of a decoder's call for each.
  const latin = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  const fields: CanonicalField[] = [];
  let previous = 0;
  for (let at = 1; at < bytes.length; ) {
    if (at + HEADER_BYTES > bytes.length) throw new FormatError("record", "a field's header is cut off");
    const tag = view.getUint16(at);
    requireTag(tag, previous);
    const begin = at + HEADER_BYTES;
    const end = begin + view.getUint16(at + 3);
    if (end > bytes.length) throw new FormatError(`fields.${tag}`, "cut off");
    const kind = view.getUint8(at + 2);
    const text = kind === KIND_STRING ? latin.slice(begin, end) : "";
    const isPlain = kind === KIND_STRING && ASCII.test(text);
    fields.push([tag, isPlain ? text : decodeValue(kind, bytes.slice(begin, end), `fields.${tag}`)]);
    previous = tag;
    at = end;
  }
  return { version, fields };
}

/** Writes one field at `at`; gives where it ends. */
function writeField(tag: number, value: CanonicalValue, at: number): number {
  const bytes = typeof value === "string" ? textBytes(value, tag) : encodeValue(value, `fields.${tag}`);
  const length = typeof bytes === "number" ? bytes : bytes.length;
  const begin = at + HEADER_BYTES;
  if (length > CANONICAL_BYTES_MAX) throw new FormatError(`fields.${tag}`, "too long");
  if (begin + length > CANONICAL_BYTES_MAX) throw new FormatError("fields", "longer than 65,535 bytes together");
  scratch.writeUInt16BE(tag, at);
  scratch[at + 2] = kindOf(value);
  scratch.writeUInt16BE(length, at + 3);
  if (typeof value === "string") scratch.write(value, begin, "utf8");
  else if (typeof bytes !== "number") scratch.set(bytes, begin);
  return begin + length;
}

/** How many bytes a text takes; a lone surrogate, which has no encoding, throws FormatError. */
function textBytes(text: string, tag: number): number {
  if (!text.isWellFormed()) throw new FormatError(`fields.${tag}`, "not well-formed Unicode");
  return Buffer.byteLength(text, "utf8");
}

function kindOf(value: CanonicalValue): number {
  if (typeof value === "string") return KIND_STRING;
  if (typeof value === "bigint") return KIND_BIGINT;
  return typeof value === "boolean" ? KIND_BOOLEAN : KIND_BYTES;
}

function encodeValue(value: Exclude<CanonicalValue, string>, field: string): Uint8Array {
  if (typeof value === "bigint") return encodeInteger(value, field);
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  if (value instanceof Uint8Array) return value;
  throw new FormatError(field, "not bytes, string, bigint or boolean");
}

function decodeValue(kind: number, bytes: Uint8Array, field: string): CanonicalValue {
  switch (kind) {
    case KIND_BYTES:
      return bytes;
    case KIND_STRING:
      return decodeUtf8(bytes, field);
    case KIND_BIGINT:
      return decodeInteger(bytes, field);
    case KIND_BOOLEAN:
      if (bytes.length !== 1 || (bytes[0] ?? 2) > 1) throw new FormatError(field, "not a canonical boolean");
      return bytes[0] === 1;
    default:
      throw new FormatError(field, "of unknown kind");
  }
}

function encodeInteger(value: bigint, field: string): Uint8Array {
  if (value < 0n || value >= 1n << BigInt(8 * INTEGER_BYTES_MAX))
    throw new FormatError(field, "not an integer from 0 to 2^256 − 1");
  if (value === 0n) return NOTHING;
  // Times, levels and sizes: half of what the digits of a large number take.
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return shortInteger(Number(value));
  const hex = value.toString(16);
  return new Uint8Array(Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex"));
}

/** In the fewest bytes; from 1 to 2^53 − 1. */
function shortInteger(value: number): Uint8Array {
  let length = 0;
  for (let rest = value; rest >= 1; rest /= 256) length += 1;
  const bytes = new Uint8Array(length);
  for (let at = length - 1, rest = value; at >= 0; at -= 1, rest = Math.floor(rest / 256)) bytes[at] = rest % 256;
  return bytes;
}

function decodeInteger(bytes: Uint8Array, field: string): bigint {
  if (bytes[0] === 0 || bytes.length > INTEGER_BYTES_MAX) throw new FormatError(field, "not a canonical integer");
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}

function requireVersion(version: number): void {
  if (!Number.isInteger(version) || version < 1 || version > 255)
    throw new FormatError("version", "not an integer from 1 to 255");
}

function requireTag(tag: number, previous: number): void {
  if (!Number.isInteger(tag) || tag < 1 || tag > 65_535)
    throw new FormatError("fields", "a tag is not an integer from 1 to 65,535");
  if (tag <= previous) throw new FormatError(`fields.${tag}`, "its tag does not follow the one before");
}
