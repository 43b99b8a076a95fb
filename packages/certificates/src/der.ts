/**
 * A strict reader and a small writer for DER (ITU-T X.690 §8, §10).
 *
 * Lenient ASN.1 readers skip trailing bytes and surplus elements, so that two programs can see two different things in
 * one signed structure. This one reads each byte exactly once and refuses whatever is not the one DER encoding:
 * indefinite or padded lengths, multi-byte tags, padded integers, unread elements, bytes after the end.
 */

/** Thrown for anything that is not DER of the expected shape. The message names the element, never its content. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/** One element: `raw` is the whole encoding, `content` what follows the length. Both are views, not copies. */
export type Element = { readonly tag: number; readonly content: Uint8Array; readonly raw: Uint8Array };

/** Identifier octets of the types in use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific tags, `[n] IMPLICIT` over a primitive type and `[n]` over a constructed one. */
export const contextPrimitive = (n: number): number => 0x80 | n;
export const contextConstructed = (n: number): number => 0xa0 | n;

const CONSTRUCTED = 0x20;
const DEPTH_MAX = 24;

/** Reads exactly one element that fills `bytes`, and checks the framing of everything nested in it. */
export function readDer(bytes: Uint8Array): Element {
  const element = readElement(bytes, 0);
  if (element.raw.length !== bytes.length) throw new DerError("bytes after the end");
  checkNested(element, 0);
  return element;
}

function readElement(bytes: Uint8Array, start: number): Element {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new DerError("cut off");
  if ((tag & 0x1f) === 0x1f) throw new DerError("a tag of several bytes");
  const { length, contentStart } = first < 0x80 ? { length: first, contentStart: start + 2 } : longLength(bytes, start);
  const end = contentStart + length;
  if (end > bytes.length) throw new DerError("cut off");
  return { tag, content: bytes.subarray(contentStart, end), raw: bytes.subarray(start, end) };
}

function longLength(bytes: Uint8Array, start: number): { length: number; contentStart: number } {
  const count = (bytes[start + 1] ?? 0) & 0x7f;
  if (count === 0 || count > 4) throw new DerError("a length that DER does not allow");
  let length = 0;
  for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + 2 + i] ?? Number.POSITIVE_INFINITY);
  if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError("a padded length");
  return { length, contentStart: start + 2 + count };
}

function checkNested(element: Element, depth: number): void {
  if ((element.tag & CONSTRUCTED) === 0) return;
  if (depth === DEPTH_MAX) throw new DerError("nested too deeply");
  for (const child of children(element)) checkNested(child, depth + 1);
}

/** The elements inside a constructed one, in order. */
export function children(element: Element): Element[] {
  if ((element.tag & CONSTRUCTED) === 0) throw new DerError("not a constructed element");
  const found: Element[] = [];
  for (let at = 0; at < element.content.length; ) {
    const child = readElement(element.content, at);
    found.push(child);
    at += child.raw.length;
  }
  return found;
}

/** Walks the fields of a SEQUENCE (or SET, or tagged one) in order; `end` refuses what nobody read. */
export type Fields = {
  /** The next field, which must have `tag`. */
  take(tag: number, name: string): Element;
  /** The next field whatever its tag. */
  takeAny(name: string): Element;
  /** The next field if it has one of `tags`. */
  takeIf(...tags: number[]): Element | undefined;
  /** Refuses fields that were not taken. */
  end(): void;
};

export function fieldsOf(element: Element, tag: number = TAG.sequence): Fields {
  if (element.tag !== tag) throw new DerError(`tag ${element.tag} where ${tag} belongs`);
  const items = children(element);
  let at = 0;
  return {
    take(wanted, name) {
      const item = items[at++];
      if (item?.tag !== wanted) throw new DerError(`${name} is missing or of another type`);
      return item;
    },
    takeAny(name) {
      const item = items[at++];
      if (item === undefined) throw new DerError(`${name} is missing`);
      return item;
    },
    takeIf(...tags) {
      const item = items[at];
      if (item === undefined || !tags.includes(item.tag)) return undefined;
      at++;
      return item;
    },
    end() {
      if (at !== items.length) throw new DerError("surplus fields");
    },
  };
}

/** The one element inside an `[n] EXPLICIT` wrapper. */
export function unwrap(element: Element): Element {
  const [only, ...more] = children(element);
  if (only === undefined || more.length > 0) throw new DerError("an explicit tag holds one element");
  return only;
}

/** INTEGER (or an implicitly tagged one), two's complement, minimal. */
export function readInteger(element: Element): bigint {
  const { content } = element;
  const [first, second] = content;
  if (first === undefined) throw new DerError("an empty integer");
  const padded = (first === 0 && second !== undefined && second < 0x80) || (first === 0xff && (second ?? 0) >= 0x80);
  if (padded) throw new DerError("a padded integer");
  const value = BigInt(`0x${toHex(content)}`);
  return first < 0x80 ? value : value - (1n << BigInt(8 * content.length));
}

/** A small, non-negative INTEGER, at most `max`. */
export function readSmall(element: Element, max: number): number {
  const value = readInteger(element);
  if (value < 0n || value > BigInt(max)) throw new DerError("a number out of range");
  return Number(value);
}

/** BOOLEAN: 0x00 or 0xff, nothing else. */
export function readBoolean(element: Element): boolean {
  const [value, ...more] = element.content;
  if (more.length > 0 || (value !== 0 && value !== 0xff)) throw new DerError("not a DER boolean");
  return value === 0xff;
}

/** BIT STRING of whole bytes, as signatures and keys are. */
export function readBitBytes(element: Element): Uint8Array {
  if (element.content[0] !== 0) throw new DerError("a bit string of whole bytes belongs here");
  return element.content.subarray(1);
}

/** Named-bit BIT STRING: the numbers of the bits that are set. DER drops trailing zero bits. */
export function readNamedBits(element: Element): ReadonlySet<number> {
  const [unused, ...bytes] = element.content;
  const last = bytes.at(-1) ?? 0;
  if (unused === undefined || unused > 7 || (bytes.length === 0 && unused > 0)) throw new DerError("not a bit string");
  if (bytes.length > 0 && (last & ((1 << (unused + 1)) - 1)) !== 1 << unused) throw new DerError("a padded bit string");
  const set = new Set<number>();
  bytes.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if (byte & (0x80 >> bit)) set.add(8 * index + bit);
  });
  return set;
}

/** OBJECT IDENTIFIER in dotted form. */
export function readOid(element: Element): string {
  const { content } = element;
  if (content.length === 0 || content.length > 64 || (content.at(-1) ?? 0) >= 0x80) throw new DerError("not an OID");
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const byte of content) {
    if (fresh && byte === 0x80) throw new DerError("a padded OID");
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    fresh = byte < 0x80;
    if (!fresh) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [joint = 0n, ...rest] = arcs;
  const root = joint < 40n ? 0n : joint < 80n ? 1n : 2n;
  return [root, joint - 40n * root, ...rest].join(".");
}

/** UTCTime or GeneralizedTime in the only forms that RFC 5280 §4.1.2.5 allows: with seconds, in UTC, no fraction. */
export function readTime(element: Element): Date {
  const text = Buffer.from(element.content).toString("latin1");
  if (element.tag === TAG.utcTime && /^\d{12}Z$/.test(text)) {
    return checkedTime(`${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}`);
  }
  if (element.tag === TAG.generalizedTime && /^\d{14}Z$/.test(text)) return checkedTime(text);
  throw new DerError("not a time");
}

function checkedTime(text: string): Date {
  const iso = text.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const time = new Date(iso);
  // Round trip: the constructor would otherwise move 30 February into March.
  if (Number.isNaN(time.getTime()) || time.toISOString() !== iso) throw new DerError("not a time");
  return time;
}

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const STRICT_UTF16 = new TextDecoder("utf-16be", { fatal: true, ignoreBOM: true });

/**
 * A character string (UTF8String, PrintableString, IA5String, BMPString); undefined for any other type.
 * PrintableString also takes `@ * & _`, which many CAs write into it, identity extensions first of all.
 */
export function readString(element: Element): string | undefined {
  const { tag, content } = element;
  try {
    if (tag === TAG.utf8String) return STRICT_UTF8.decode(content);
    if (tag === TAG.bmpString) return STRICT_UTF16.decode(content);
  } catch {
    throw new DerError("a string that is not well-formed");
  }
  if (tag !== TAG.printableString && tag !== TAG.ia5String) return undefined;
  const text = Buffer.from(content).toString("latin1");
  const allowed = tag === TAG.ia5String ? /^[\x20-\x7e]*$/ : /^[A-Za-z0-9 '()+,./:=?@*&_-]*$/;
  if (!allowed.test(text)) throw new DerError("a string with characters that its type does not have");
  return text;
}

export const toHex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Encodes one element from its content or the encodings inside it. */
export function der(tag: number, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Uint8Array.from(Buffer.concat([Uint8Array.from([tag, ...lengthBytes(length)]), ...parts]));
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

export const derSequence = (...parts: Uint8Array[]): Uint8Array => der(TAG.sequence, ...parts);
export const derNull = (): Uint8Array => der(TAG.null);
export const derOctets = (bytes: Uint8Array): Uint8Array => der(TAG.octetString, bytes);
export const derBits = (bytes: Uint8Array): Uint8Array => der(TAG.bitString, Uint8Array.of(0), bytes);

/** SET OF, whose members DER sorts by their encoding. */
export const derSetOf = (...parts: Uint8Array[]): Uint8Array => der(TAG.set, ...parts.toSorted(Buffer.compare));

/** A non-negative INTEGER. */
export function derInteger(value: bigint): Uint8Array {
  if (value < 0n) throw new RangeError("a negative integer");
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  return der(TAG.integer, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Uint8Array.of(0), bytes]));
}

export function derOid(dotted: string): Uint8Array {
  const [root = 0n, second = 0n, ...rest] = dotted.split(".").map(BigInt);
  return der(TAG.oid, Uint8Array.from([root * 40n + second, ...rest].flatMap(base128)));
}

function base128(arc: bigint): number[] {
  const bytes = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) bytes.unshift(Number(rest & 0x7fn) | 0x80);
  return bytes;
}

/** GeneralizedTime in UTC, to the second. */
export function derTime(at: Date): Uint8Array {
  const text = `${at.toISOString().slice(0, 19).replace(/[-T:]/g, "")}Z`;
  return der(TAG.generalizedTime, Buffer.from(text, "latin1"));
}
