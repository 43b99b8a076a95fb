/*
 * An entry's row. Its columns hold each field of the entry once, compactly; the preimage that the leaf binds is a
 * function of them, so that whatever is changed in a row changes its leaf. (The only column beside the entry is
 * `details_key`, which says where the key of the details is.)
 */
import { CANONICAL_BYTES_MAX, HASH_BYTES, openEntryHasher, sha256Into } from "@fujie/transparency/bulk";

/** A name by its number: of a service or an event type. */
export type Names = ReadonlyMap<number, Name>;

export interface Name {
  readonly name: string;
  readonly utf8: Uint8Array;
}

/**
 * The columns of an entry in the order that is read here. Of large details only the digest travels; for small ones
 * PostgreSQL takes longer to hash them than the way takes.
 */
export const ROW_COLUMNS = `entry.index, entry.time_ms, entry.event_id, entry.service, entry.type,
  entry.outcome, entry.actor, entry.subject, entry.application_id, entry.organisation_id, entry.trace_id,
  entry.purpose, entry.reason, entry.digest, entry.salt,
  CASE WHEN length(entry.details) > 1024 THEN pg_catalog.sha256(entry.details) END,
  CASE WHEN length(entry.details) <= 1024 THEN entry.details END`;

/**
 * A row of audit.entry as one value, in PostgreSQL's binary form: the number of columns, then of each its type, its
 * length and its bytes. One value costs a fraction of seventeen, on both sides.
 */
export const PACKED_ROW = `record_send(ROW(${ROW_COLUMNS}))`;

const COLUMNS = 17;
const INDEX = 0;
const TIME = 1;
const EVENT_ID = 2;
const SERVICE = 3;
const TYPE = 4;
const OUTCOME = 5;
const ACTOR = 6;
const TRACE_ID = 10;
const DIGEST = 13;
const SALT = 14;
const DETAILS_SHA256 = 15;
const DETAILS = 16;

/** A row, taken apart. */
export interface Row {
  readonly bytes: Buffer;
  /** Where each column begins. */
  readonly begins: number[];
  /** Of each column; −1 for NULL. */
  readonly lengths: number[];
}

/** Takes apart packed rows that follow one another. */
export function splitRows(bytes: Buffer): Row[] {
  const rows: Row[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes.readInt32BE(at) !== COLUMNS) throw new RangeError("not a packed row of the log");
    const row: Row = { bytes, begins: [], lengths: [] };
    at = takeColumns(row, at + 4, TYPE_BYTES);
    rows.push(row);
  }
  return rows;
}

const TYPE_BYTES = 4;
/** COPY's signature, flags and the length of an extension that there is not. */
const COPY_HEADER_BYTES = 19;
const COPY_END = -1;

/** Rows of `ROW_COLUMNS` as `copyOut` gives them, one after another in the same object. */
export function* copiedRows(bytes: Buffer): Generator<Row, void, undefined> {
  const row: Row = { bytes, begins: Array<number>(COLUMNS).fill(0), lengths: Array<number>(COLUMNS).fill(0) };
  for (let at = COPY_HEADER_BYTES; bytes.readInt16BE(at) !== COPY_END; ) {
    if (bytes.readInt16BE(at) !== COLUMNS) throw new RangeError("not a row of the log");
    at = takeColumns(row, at + 2, 0);
    yield row;
  }
}

/** Notes where the columns from `at` on are, each after its length and `before` bytes; gives where they end. */
function takeColumns({ bytes, begins, lengths }: Row, at: number, before: number): number {
  let next = at;
  for (let column = 0; column < COLUMNS; column++) {
    next += before;
    const length = bytes.readInt32BE(next);
    next += 4;
    begins[column] = next;
    lengths[column] = length;
    if (length > 0) next += length;
  }
  return next;
}

export function indexOf(row: Row): number {
  return readNumber(row, INDEX);
}

export function saltOf(row: Row): Uint8Array {
  return new Uint8Array(row.bytes.buffer, row.bytes.byteOffset + begin(row, SALT), length(row, SALT));
}

/** The number of the name of its service. */
export function serviceOf(row: Row): number {
  return row.bytes.readInt32BE(begin(row, SERVICE));
}

/** The number of the name of its type. */
export function typeOf(row: Row): number {
  return row.bytes.readInt32BE(begin(row, TYPE));
}

/** Writes the 16 bytes of the event id at `at`. */
export function writeEventId(row: Row, target: Uint8Array, at: number): void {
  const from = begin(row, EVENT_ID);
  for (let byte = 0; byte < UUID_BYTES; byte++) target[at + byte] = row.bytes[from + byte] ?? 0;
}

/** A copy of what its event fixes in the log. */
export function digestOf(row: Row): Uint8Array {
  return Uint8Array.from(row.bytes.subarray(begin(row, DIGEST), begin(row, DIGEST) + Math.max(0, length(row, DIGEST))));
}

function readNumber(row: Row, column: number): number {
  const at = begin(row, column);
  return row.bytes.readInt32BE(at) * 2 ** 32 + row.bytes.readUInt32BE(at + 4);
}

// Compact texts

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;
const UUID_BYTES = 16;
const UUID_CHARACTERS = 36;
/** In no UTF-8: marks a text of just the length that a UUID has. */
const NOT_UUID = 0xff;
const DASH = 0x2d;

/** A text as a row holds it: 16 bytes for a UUID in lower case, else UTF-8, marked when it is 16 bytes long itself. */
export function compactText(text: string): Buffer {
  if (text.length === UUID_CHARACTERS && UUID.test(text)) return Buffer.from(text.replaceAll("-", ""), "hex");
  const utf8 = Buffer.from(text, "utf8");
  return utf8.length === UUID_BYTES ? Buffer.concat([utf8, Buffer.of(NOT_UUID)]) : utf8;
}

/** A trace id as a row holds it: its 16 bytes. What is none becomes what no row holds. */
export function compactTrace(text: string): Buffer {
  if (text === "") return Buffer.of();
  return /^[\da-f]{32}$/.test(text) ? Buffer.from(text, "hex") : Buffer.of(NOT_UUID);
}

/** The letters that a row has for an outcome. */
export const outcomeLetters: Readonly<Record<string, string>> = {
  SUCCESS: "S",
  REFUSED: "R",
  FAILED: "F",
  PENDING: "P",
};
const outcomesByLetter = new Map(
  Object.entries(outcomeLetters).map(([outcome, letter]) => [letter.charCodeAt(0), Buffer.from(outcome)]),
);

// The preimage

const KIND_BYTES = 1;
const KIND_TEXT = 2;
const KIND_INTEGER = 3;
const HEADER_BYTES = 5;
const TIME_BYTES = 8;

const hexDigits = Buffer.from("0123456789abcdef");
/** One entry at a time is written where it is hashed; a compact text at most triples. */
const hasher = openEntryHasher(4 * CANONICAL_BYTES_MAX);
const record = hasher.input;
const RECORD_AT = hasher.preimageAt;
let end = RECORD_AT;

/**
 * The preimage of the entry that the row holds: what `encodeEntry` gives, byte by byte. Undefined for a row that no
 * entry has: it was changed.
 */
export function preimageOf(row: Row, names: Names): Uint8Array | undefined {
  return writePreimage(row, names) ? record.slice(RECORD_AT, end) : undefined;
}

/** Writes the leaf hash of the row's entry at `at`; false, and nothing written, for a row that no entry has. */
export function writeLeafHash(row: Row, names: Names, target: Uint8Array, at: number): boolean {
  if (!writePreimage(row, names)) return false;
  const salt = begin(row, SALT);
  for (let byte = 0; byte < HASH_BYTES; byte++) record[hasher.saltAt + byte] = row.bytes[salt + byte] ?? 0;
  hasher.hash(end - RECORD_AT, target, at);
  return true;
}

/** Writes the preimage between RECORD_AT and `end`. */
function writePreimage(row: Row, names: Names): boolean {
  const service = names.get(serviceOf(row));
  const type = names.get(typeOf(row));
  const outcome = outcomesByLetter.get(row.bytes[begin(row, OUTCOME)] ?? 0);
  if (service === undefined || type === undefined || outcome === undefined || !isPlausible(row)) return false;
  record[RECORD_AT] = 1;
  end = RECORD_AT + 1;
  writeTime(row);
  writeText(2, service.utf8, 0, service.utf8.length);
  writeHex(3, row, EVENT_ID, true);
  writeText(4, type.utf8, 0, type.utf8.length);
  writeText(5, outcome, 0, outcome.length);
  // From the actor to the reason a field's tag is its column's place, too.
  for (let column = ACTOR; column < TRACE_ID; column++) writeCompact(row, column);
  if (length(row, TRACE_ID) > 0) writeHex(TRACE_ID, row, TRACE_ID, false);
  for (let column = TRACE_ID + 1; column < DIGEST; column++) writeCompact(row, column);
  if (length(row, DETAILS) >= 0) writeDigest(13, row, DETAILS);
  else writeBytes(13, row, DETAILS_SHA256);
  writeBytes(14, row, DIGEST);
  return end - RECORD_AT <= CANONICAL_BYTES_MAX;
}

/** Whether the columns are of a form that has one spelling only. */
function isPlausible(row: Row): boolean {
  if (row.bytes.readInt32BE(begin(row, TIME)) < 0 || length(row, SALT) !== HASH_BYTES) return false;
  if (length(row, TRACE_ID) !== 0 && length(row, TRACE_ID) !== UUID_BYTES) return false;
  let bytes = 0;
  for (let column = ACTOR; column < SALT; column++) {
    if (length(row, column) < 0) return false;
    bytes += length(row, column);
    if (length(row, column) === UUID_CHARACTERS && isUuidText(row, column)) return false;
  }
  return bytes <= CANONICAL_BYTES_MAX;
}

/** A UUID in lower case has a shorter form: this one is not its own. */
function isUuidText(row: Row, column: number): boolean {
  return UUID.test(row.bytes.toString("latin1", begin(row, column), begin(row, column) + UUID_CHARACTERS));
}

function begin({ begins }: Row, column: number): number {
  return begins[column] ?? 0;
}

function length({ lengths }: Row, column: number): number {
  return lengths[column] ?? 0;
}

function writeHeader(tag: number, kind: number, bytes: number): void {
  record[end] = tag >> 8;
  record[end + 1] = tag & 0xff;
  record[end + 2] = kind;
  record[end + 3] = bytes >> 8;
  record[end + 4] = bytes & 0xff;
  end += HEADER_BYTES;
}

/** Byte by byte: for so few of them a copy by the platform costs more. */
function copy(source: Uint8Array, from: number, bytes: number): void {
  for (let at = 0; at < bytes; at++) record[end + at] = source[from + at] ?? 0;
  end += bytes;
}

/** In the fewest bytes. */
function writeTime(row: Row): void {
  let from = begin(row, TIME);
  const until = from + TIME_BYTES;
  while (from < until && row.bytes[from] === 0) from += 1;
  writeHeader(1, KIND_INTEGER, until - from);
  copy(row.bytes, from, until - from);
}

/** Empty is absent. */
function writeText(tag: number, source: Uint8Array, from: number, bytes: number): void {
  if (bytes <= 0) return;
  writeHeader(tag, KIND_TEXT, bytes);
  copy(source, from, bytes);
}

function writeBytes(tag: number, row: Row, column: number): void {
  if (length(row, column) <= 0) return;
  writeHeader(tag, KIND_BYTES, length(row, column));
  copy(row.bytes, begin(row, column), length(row, column));
}

/** The SHA-256 of a column. */
function writeDigest(tag: number, row: Row, column: number): void {
  const from = begin(row, column);
  writeHeader(tag, KIND_BYTES, HASH_BYTES);
  sha256Into(row.bytes.subarray(from, from + length(row, column)), record, end);
  end += HASH_BYTES;
}

/** 16 bytes in lower-case hexadecimal digits, with the dashes of a UUID or without. */
function writeHex(tag: number, row: Row, column: number, dashes: boolean): void {
  writeHeader(tag, KIND_TEXT, dashes ? UUID_CHARACTERS : 2 * UUID_BYTES);
  const from = begin(row, column);
  for (let at = 0; at < UUID_BYTES; at++) {
    if (dashes && (at === 4 || at === 6 || at === 8 || at === 10)) record[end++] = DASH;
    const byte = row.bytes[from + at] ?? 0;
    record[end++] = hexDigits[byte >> 4] ?? 0;
    record[end++] = hexDigits[byte & 0xf] ?? 0;
  }
}

function writeCompact(row: Row, column: number): void {
  const bytes = length(row, column);
  const from = begin(row, column);
  if (bytes === UUID_BYTES) writeHex(column, row, column, true);
  else if (bytes === UUID_BYTES + 1 && row.bytes[from + UUID_BYTES] === NOT_UUID)
    writeText(column, row.bytes, from, UUID_BYTES);
  else writeText(column, row.bytes, from, bytes);
}
