import { FormatError } from "./errors.ts";
import {
  buildLevels,
  consistencyRanges,
  type Frontier,
  HASH_BYTES,
  hashRange,
  inclusionRanges,
  isSize,
  type LeafRange,
  type ReadNode,
  rangeNodes,
  readFrontier,
  splitHashes,
} from "./merkle.ts";
import { parseDecimal } from "./text.ts";

/**
 * Tiles of a log (c2sp.org/tlog-tiles): row `level` holds the Merkle nodes of level 8·`level`, cut into tiles of
 * 256 hashes. A full tile never changes; the last one of a row is partial until the tree has grown past it.
 */

export const TILE_HEIGHT = 8;
export const TILE_WIDTH = 2 ** TILE_HEIGHT;
export const ENTRY_BYTES_MAX = 65_535;

const TILE_LEVEL_MAX = 63;

/** Where a tile is: `width` is 256 for a full tile, 1 to 255 for a partial one. */
export type Tile = { readonly level: number; readonly index: number; readonly width: number };

/** A bundle of the entries themselves, in step with the hash tiles of level 0. */
export type EntryBundle = { readonly level: "entries"; readonly index: number; readonly width: number };

/** Reads the bytes of a stored tile; a store that keeps full tiles only may give more than `width` hashes. */
export type ReadTile = (tile: Tile) => Uint8Array | Promise<Uint8Array>;

// Paths

/** `tile/0/x001/x234/067`, `tile/2/003.p/17`, `tile/entries/000`. Throws FormatError for impossible coordinates. */
export function formatTilePath(tile: Tile | EntryBundle): string {
  requireTile(tile);
  const suffix = tile.width === TILE_WIDTH ? "" : `.p/${tile.width}`;
  return `tile/${tile.level}/${formatIndex(tile.index)}${suffix}`;
}

/** Reads a tile path; only the spelling that `formatTilePath` writes is accepted, anything else throws FormatError. */
export function parseTilePath(path: string): Tile | EntryBundle {
  const parts = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  const [, level, digits, partial] = parts ?? [];
  if (level === undefined || digits === undefined) throw new FormatError("path", "not the path of a tile");
  const index = Number(digits.replaceAll(/[x/]/g, ""));
  const width = partial === undefined ? TILE_WIDTH : parseDecimal(partial, "path.width");
  const tile: Tile | EntryBundle =
    level === "entries" ? { level, index, width } : { level: parseDecimal(level, "path.level"), index, width };
  if (formatTilePath(tile) !== path) throw new FormatError("path", "not the canonical path of its tile");
  return tile;
}

/** Zero-padded groups of three digits, all but the last marked with an `x`: 1234067 → `x001/x234/067`. */
function formatIndex(index: number): string {
  const digits = String(index);
  const groups = digits.padStart(3 * Math.ceil(digits.length / 3), "0").match(/[0-9]{3}/g) ?? [];
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
}

function requireTile({ level, index, width }: Tile | EntryBundle): void {
  if (level !== "entries" && (!isSize(level) || level > TILE_LEVEL_MAX))
    throw new FormatError("level", "not an integer from 0 to 63");
  if (!isSize(index)) throw new FormatError("index", "not an integer from 0 to 2^53 − 1");
  if (!isSize(width) || width < 1 || width > TILE_WIDTH) throw new FormatError("width", "not an integer from 1 to 256");
}

// Growth

/** The full tiles that become complete when a tree grows from `oldSize` to `newSize`, row by row, in order. */
export function* completedTiles(oldSize: number, newSize: number): Generator<Tile, void, undefined> {
  requireGrowth(oldSize, newSize);
  for (let level = 0; newSize >= TILE_WIDTH ** (level + 1); level++) {
    const span = TILE_WIDTH ** (level + 1);
    const end = Math.floor(newSize / span);
    for (let index = Math.floor(oldSize / span); index < end; index++) yield { level, index, width: TILE_WIDTH };
  }
}

/** The partial tiles on the right edge of a tree of `size` leaves, lowest row first. */
export function partialTiles(size: number): Tile[] {
  requireGrowth(0, size);
  const tiles: Tile[] = [];
  for (let level = 0, nodes = size; nodes > 0; level++, nodes = Math.floor(nodes / TILE_WIDTH)) {
    const width = nodes % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(nodes / TILE_WIDTH), width });
  }
  return tiles;
}

function requireGrowth(oldSize: number, newSize: number): void {
  if (!isSize(newSize)) throw new FormatError("newSize", "not an integer from 0 to 2^53 − 1");
  if (!isSize(oldSize) || oldSize > newSize) throw new FormatError("oldSize", "larger than the new size");
}

// Contents

/** The bytes of a hash tile: 1 to 256 hashes, one after another. */
export function encodeHashTile(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length < 1 || hashes.length > TILE_WIDTH) throw new FormatError("hashes", "not 1 to 256 of them");
  const bytes = new Uint8Array(hashes.length * HASH_BYTES);
  for (const [at, hash] of hashes.entries()) {
    if (hash.length !== HASH_BYTES) throw new FormatError("hashes", "a hash is not 32 bytes");
    bytes.set(hash, at * HASH_BYTES);
  }
  return bytes;
}

/** Reads exactly `width` hashes; any other length throws FormatError. */
export function decodeHashTile(bytes: Uint8Array, width: number): Uint8Array[] {
  if (bytes.length !== width * HASH_BYTES) throw new FormatError("tile", "wrong length for its width");
  return splitHashes(bytes);
}

/** The bytes of an entry bundle: 1 to 256 entries of at most 65,535 bytes, each after its uint16 length. */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > TILE_WIDTH) throw new FormatError("entries", "not 1 to 256 of them");
  const bytes = new Uint8Array(entries.reduce((total, entry) => total + 2 + entry.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > ENTRY_BYTES_MAX) throw new FormatError("entries", "an entry is longer than 65,535 bytes");
    view.setUint16(at, entry.length);
    bytes.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return bytes;
}

/** Reads exactly `width` entries; missing, cut or trailing bytes throw FormatError. */
export function decodeEntryBundle(bytes: Uint8Array, width: number): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length && entries.length < width) {
    const end = at + 2 <= bytes.length ? at + 2 + view.getUint16(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) throw new FormatError("bundle", "an entry is cut off");
    entries.push(bytes.slice(at + 2, end));
    at = end;
  }
  if (entries.length !== width || at !== bytes.length) throw new FormatError("bundle", "wrong length for its width");
  return entries;
}

// Reading nodes out of tiles

/** The tile that holds node (level, index) in a tree of `size` leaves, and the run of its hashes under that node. */
export function locateNode(
  level: number,
  index: number,
  size: number,
): { readonly tile: Tile; readonly offset: number; readonly count: number } {
  if (!isSize(level) || !isSize(index) || (index + 1) * 2 ** level > size)
    throw new FormatError("node", "not a complete node of a tree of this size");
  const row = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const first = index * count;
  const tileIndex = Math.floor(first / TILE_WIDTH);
  const width = Math.min(TILE_WIDTH, Math.floor(size / TILE_WIDTH ** row) - tileIndex * TILE_WIDTH);
  return { tile: { level: row, index: tileIndex, width }, offset: first % TILE_WIDTH, count };
}

/** Inclusion proof (RFC 9162 §2.1.3.1) read from tiles, each tile once. Errors: FormatError, and the reader's own. */
export async function proveInclusionFromTiles(index: number, size: number, readTile: ReadTile): Promise<Uint8Array[]> {
  const ranges = inclusionRanges(index, size);
  const read = await loadNodes(ranges, size, readTile);
  return ranges.map((range) => hashRange(range, read));
}

/** Consistency proof (RFC 9162 §2.1.4.1) read from tiles of the new tree, each tile once. Errors as above. */
export async function proveConsistencyFromTiles(
  oldSize: number,
  newSize: number,
  readTile: ReadTile,
): Promise<Uint8Array[]> {
  const ranges = consistencyRanges(oldSize, newSize);
  const read = await loadNodes(ranges, newSize, readTile);
  return ranges.map((range) => hashRange(range, read));
}

/** The frontier of a tree kept as tiles, to resume from; compare its `root` with the last checkpoint's. */
export async function readFrontierFromTiles(size: number, readTile: ReadTile): Promise<Frontier> {
  if (!isSize(size)) throw new FormatError("size", "not an integer from 0 to 2^53 − 1");
  return readFrontier(size, await loadNodes([{ begin: 0, end: size }], size, readTile));
}

/** Fetches the tiles under some ranges, at most once each, and reads nodes out of them. */
async function loadNodes(ranges: readonly LeafRange[], size: number, readTile: ReadTile): Promise<ReadNode> {
  const nodes = ranges.flatMap(rangeNodes);
  const tiles = new Map(nodes.map(({ level, index }) => keyed(locateNode(level, index, size).tile)));
  const loaded = new Map(
    await Promise.all(Array.from(tiles, async ([key, tile]) => [key, await loadTile(tile, readTile)] as const)),
  );
  return (level, index) => {
    const { tile, offset, count } = locateNode(level, index, size);
    const hashes = loaded.get(formatTilePath(tile)) ?? [];
    const [top] = buildLevels(hashes.slice(offset, offset + count)).at(-1) ?? [];
    if (top === undefined) throw new FormatError("node", "under none of the tiles that were asked for");
    return top;
  };
}

function keyed(tile: Tile): [string, Tile] {
  return [formatTilePath(tile), tile];
}

async function loadTile(tile: Tile, readTile: ReadTile): Promise<Uint8Array[]> {
  const bytes = await readTile(tile);
  // A partial tile is a prefix of the fuller one that replaces it (tlog-tiles, "Partial Tiles").
  return decodeHashTile(bytes.subarray(0, tile.width * HASH_BYTES), tile.width);
}
