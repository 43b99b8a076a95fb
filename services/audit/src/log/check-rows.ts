/*
 * Rows against the stored tiles: the part of verification that costs most, and that threads share. It reads nothing.
 */
import { equalHashes, HASH_BYTES, hashTileInto, TILE_WIDTH } from "@fujie/transparency/bulk";
import { DROPPED_TYPE, type EndedRange, isEnded } from "../retention/ended-range.ts";
import {
  copiedRows,
  digestOf,
  indexOf,
  type Names,
  type Row,
  serviceOf,
  typeOf,
  writeEventId,
  writeLeafHash,
} from "./row.ts";

/** What rows are read with. */
export interface Known {
  readonly names: Names;
  readonly ranges: readonly EndedRange[];
}

export interface WindowFinding {
  readonly kind: "ENTRY_MISSING" | "ENTRY_ALTERED" | "TILE_ALTERED";
  readonly index: number;
}

/** A window of entries as the database has it. */
export interface ReadWindow {
  /** A whole tile begins here. */
  readonly begin: number;
  readonly end: number;
  /** As `copyOut` gives the columns of `ROW_COLUMNS`. */
  readonly rows: Uint8Array<ArrayBuffer>;
  /** The stored tiles of level 0 under the window, in their order. */
  readonly tiles: readonly (StoredTile | undefined)[];
}

export interface StoredTile {
  readonly hashes: Uint8Array<ArrayBuffer>;
  readonly root: Uint8Array<ArrayBuffer>;
}

/** What a window's rows are; it can go from one thread to another. */
export interface CheckedWindow {
  readonly begin: number;
  readonly end: number;
  /** The leaf hashes to go on with, one after another: the tiles' where they are stored. */
  readonly leaves: Uint8Array<ArrayBuffer>;
  /** The roots over each 256 of them. */
  readonly roots: Uint8Array<ArrayBuffer>;
  /** The event ids, 16 bytes each; zeros, which are none, where there is no entry. */
  readonly eventIds: Uint8Array<ArrayBuffer>;
  readonly findings: readonly WindowFinding[];
  /** Entries by the service that recorded them. */
  readonly services: ReadonlyMap<string, number>;
  /** What the log last recorded of ended entries, if it did so here. */
  readonly lastDrop: Uint8Array | undefined;
}

export const EVENT_ID_BYTES = 16;
/** Several windows tell of more findings than a report has. */
const FINDINGS_MAX = 100;

/** Hashes the rows of a window again. */
export function checkWindow(known: Known, { begin, end, rows, tiles }: ReadWindow): CheckedWindow {
  const sound = tiles.map((tile) => (tile?.hashes.length === TILE_WIDTH * HASH_BYTES ? tile : undefined));
  const learned = checkRows(known, Buffer.from(rows.buffer, rows.byteOffset, rows.length), sound, begin, end);
  return { begin, end, ...learned, roots: checkTiles(learned, sound, begin, end) };
}

/** Undefined where none, or none of 256 hashes, is stored. */
type LeafTiles = readonly (StoredTile | undefined)[];

/** What the rows of a window tell. */
interface Learned {
  readonly leaves: Uint8Array<ArrayBuffer>;
  readonly eventIds: Uint8Array<ArrayBuffer>;
  readonly findings: WindowFinding[];
  readonly services: Map<string, number>;
  lastDrop: Uint8Array | undefined;
}

function report({ findings }: Pick<Learned, "findings">, kind: WindowFinding["kind"], index: number): void {
  if (findings.length < FINDINGS_MAX) findings.push({ kind, index });
}

function checkRows(known: Known, copied: Buffer, tiles: LeafTiles, begin: number, end: number): Learned {
  const learned: Learned = {
    leaves: new Uint8Array((end - begin) * HASH_BYTES),
    eventIds: new Uint8Array((end - begin) * EVENT_ID_BYTES),
    findings: [],
    services: new Map(),
    lastDrop: undefined,
  };
  const dropped = numberOf(known.names, DROPPED_TYPE);
  const audit = numberOf(known.names, "audit");
  const counts = new Map<number, number>();
  let next = begin;
  for (const row of copiedRows(copied)) {
    const index = indexOf(row);
    // A second row of one index.
    if (index < next) report(learned, "ENTRY_ALTERED", index);
    for (; next < index; next++) passOver(known, tiles, learned, begin, next);
    next = index + 1;
    if (!checkRow(known, row, tiles[tileAt(begin, index)]?.hashes, learned, begin)) continue;
    const service = serviceOf(row);
    counts.set(service, (counts.get(service) ?? 0) + 1);
    if (service === audit && typeOf(row) === dropped) learned.lastDrop = digestOf(row);
  }
  for (; next < end; next++) passOver(known, tiles, learned, begin, next);
  for (const [service, count] of counts) learned.services.set(known.names.get(service)?.name ?? "", count);
  return learned;
}

/** Checks a row that is there; false for one that holds no entry. */
function checkRow(
  { names }: Known,
  row: Row,
  stored: Uint8Array | undefined,
  learned: Learned,
  begin: number,
): boolean {
  const { leaves, eventIds } = learned;
  const index = indexOf(row);
  const at = (index - begin) * HASH_BYTES;
  const holdsEntry = writeLeafHash(row, names, leaves, at);
  writeEventId(row, eventIds, (index - begin) * EVENT_ID_BYTES);
  const from = (index % TILE_WIDTH) * HASH_BYTES;
  if (holdsEntry && (stored === undefined || isSameHash(leaves, at, stored, from))) return true;
  report(learned, "ENTRY_ALTERED", index);
  // Go on with what the tree was built of: one altered entry is then one finding.
  if (stored !== undefined) leaves.set(stored.subarray(from, from + HASH_BYTES), at);
  return holdsEntry;
}

/** An entry whose row is not there. */
function passOver({ ranges }: Known, tiles: LeafTiles, learned: Learned, begin: number, index: number): void {
  const stored = tiles[tileAt(begin, index)]?.hashes;
  const from = (index % TILE_WIDTH) * HASH_BYTES;
  if (stored !== undefined) learned.leaves.set(stored.subarray(from, from + HASH_BYTES), (index - begin) * HASH_BYTES);
  if (stored === undefined || !isEnded(ranges, index)) report(learned, "ENTRY_MISSING", index);
}

/** The roots over the full tiles of a window, each compared with what is stored. */
function checkTiles(learned: Learned, tiles: LeafTiles, begin: number, end: number): Uint8Array<ArrayBuffer> {
  const full = Math.floor((end - begin) / TILE_WIDTH);
  const roots = new Uint8Array(full * HASH_BYTES);
  for (let tile = 0; tile < full; tile++) {
    const at = tile * HASH_BYTES;
    hashTileInto(learned.leaves, at * TILE_WIDTH, roots, at);
    const index = begin + tile * TILE_WIDTH;
    // Its hashes are those that the root was computed of.
    const stored = tiles[tile]?.root;
    if (stored === undefined || !equalHashes(stored, roots.subarray(at, at + HASH_BYTES)))
      report(learned, "TILE_ALTERED", index);
  }
  return roots;
}

function tileAt(begin: number, index: number): number {
  return Math.floor((index - begin) / TILE_WIDTH);
}

function isSameHash(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let byte = 0; byte < HASH_BYTES; byte++) if (a[aAt + byte] !== b[bAt + byte]) return false;
  return true;
}

function numberOf(names: Names, name: string): number | undefined {
  for (const [number, known] of names) if (known.name === name) return number;
  return undefined;
}
