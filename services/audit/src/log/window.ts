/*
 * A window of entries, checked row by row against the stored tiles: the part of verification that threads share.
 */
import { type Database, type Queryable, statement } from "@fujie/kit/db";
import { decodeEntry, entryLeafHash, equalHashes, HASH_BYTES, TILE_WIDTH } from "@fujie/transparency";
import { DROPPED_TYPE, type EndedRange, isEnded } from "../retention/ended.ts";
import {
  eventIndexOf,
  indexOf,
  type Names,
  PACKED_ROW_AND_EVENT,
  preimageOf,
  type Row,
  saltOf,
  serviceOf,
  splitRows,
  typeOf,
} from "./row.ts";
import type { FullTile } from "./tree.ts";

/** What rows are read with. */
export interface Known {
  readonly names: Names;
  readonly ranges: readonly EndedRange[];
}

export interface RowFinding {
  readonly kind: "ENTRY_MISSING" | "ENTRY_ALTERED" | "EVENT_ID_ALTERED";
  readonly index: number;
}

/** What a window's rows are; it can go from one thread to another. */
export interface CheckedWindow {
  readonly end: number;
  /** The leaf hashes to go on with, one after another: the tiles' where they are stored. */
  readonly leaves: Uint8Array<ArrayBuffer>;
  /** The stored tiles of level 0 by `level/index`. */
  readonly tiles: ReadonlyMap<string, TileRow>;
  readonly findings: readonly RowFinding[];
  /** Entries by the service that recorded them. */
  readonly services: ReadonlyMap<string, number>;
  /** What the log last recorded of ended entries, if it did so here. */
  readonly lastDrop: Uint8Array | undefined;
}

/** Checks windows, several at once. */
export interface Windows extends AsyncDisposable {
  /** From a whole tile on. */
  check(begin: number, end: number): Promise<CheckedWindow>;
  /** How many to ask for before the first is needed. */
  readonly ahead: number;
}

export interface TileRow {
  readonly level: number;
  readonly index: number;
  readonly hashes: Uint8Array;
  readonly root: Uint8Array;
}

/** Several windows tell of more findings than a report has. */
const FINDINGS_MAX = 100;
/** While one window is hashed, the database packs the next ones. */
const WINDOWS_AHEAD = 3;

const readRows = statement(
  "audit.verify.rows",
  `SELECT string_agg(${PACKED_ROW_AND_EVENT}, ''::bytea ORDER BY entry.index) AS packed
   FROM audit.entry WHERE index >= $1::bigint AND index < $2::bigint`,
);
const readTiles = statement(
  "audit.verify.tiles",
  `SELECT tile.level, tile.index::float8 AS index, hashes, root
   FROM unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) JOIN audit.tile USING (level, index)`,
);
/** Windows of this thread. */
export function windowsOf(db: Database, known: Known): Windows {
  return {
    check: (begin, end) => checkWindow(db, known, begin, end),
    ahead: WINDOWS_AHEAD,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Reads the rows from `begin`, a whole tile, to `end`, and hashes them again. */
export async function checkWindow(db: Queryable, known: Known, begin: number, end: number): Promise<CheckedWindow> {
  const first = begin / TILE_WIDTH;
  const wanted = Array.from({ length: Math.ceil((end - begin) / TILE_WIDTH) }, (_, at) => first + at);
  const [{ rows }, tiles] = await Promise.all([
    db.query<{ packed: Buffer | null }>(readRows(begin, end)),
    storedTiles(
      db,
      wanted.map((index) => ({ level: 0, index })),
    ),
  ]);
  return checkRows(known, splitRows(rows[0]?.packed ?? Buffer.of()), tiles, begin, end);
}

function checkRows(
  known: Known,
  rows: readonly Row[],
  tiles: ReadonlyMap<string, TileRow>,
  begin: number,
  end: number,
): CheckedWindow {
  const leaves = new Uint8Array((end - begin) * HASH_BYTES);
  const learned: Learned = { findings: [], services: new Map(), lastDrop: undefined };
  let next = 0;
  for (let index = begin; index < end; index++) {
    const stored = storedLeaf(tiles, index);
    const row = rows[next];
    const isThere = row !== undefined && indexOf(row) === index;
    if (isThere) next += 1;
    const leaf = isThere ? checkRow(known, row, stored, learned) : undefined;
    if (!isThere && (stored === undefined || !isEnded(known.ranges, index))) report(learned, "ENTRY_MISSING", index);
    leaves.set(stored ?? leaf ?? NO_HASH, (index - begin) * HASH_BYTES);
  }
  return { end, leaves, tiles, ...learned };
}

const NO_HASH = new Uint8Array(HASH_BYTES);

/** What the rows of a window tell, besides their hashes. */
interface Learned {
  readonly findings: RowFinding[];
  readonly services: Map<string, number>;
  lastDrop: Uint8Array | undefined;
}

function report({ findings }: Learned, kind: RowFinding["kind"], index: number): void {
  if (findings.length < FINDINGS_MAX) findings.push({ kind, index });
}

/** The row's leaf hash; undefined for a row that holds no entry. */
function checkRow(
  { names }: Known,
  row: Row,
  stored: Uint8Array | undefined,
  learned: Learned,
): Uint8Array | undefined {
  const index = indexOf(row);
  const preimage = preimageOf(row, names);
  const leaf = preimage === undefined ? undefined : entryLeafHash(preimage, saltOf(row));
  if (leaf === undefined || (stored !== undefined && !equalHashes(leaf, stored)))
    report(learned, "ENTRY_ALTERED", index);
  if (eventIndexOf(row) !== index) report(learned, "EVENT_ID_ALTERED", index);
  if (preimage === undefined) return undefined;
  const service = names.get(serviceOf(row))?.name ?? "";
  learned.services.set(service, (learned.services.get(service) ?? 0) + 1);
  if (isRecordOfDrop(row, names)) learned.lastDrop = decodeEntry(preimage).digest;
  return leaf;
}

/** The leaf hash that the stored tile has for an entry; undefined where no tile is stored. */
function storedLeaf(tiles: ReadonlyMap<string, TileRow>, index: number): Uint8Array | undefined {
  const tile = tiles.get(keyOf({ level: 0, index: Math.floor(index / TILE_WIDTH) }));
  const offset = (index % TILE_WIDTH) * HASH_BYTES;
  return tile?.hashes.subarray(offset, offset + HASH_BYTES);
}

function isRecordOfDrop(row: Row, names: Names): boolean {
  return names.get(typeOf(row))?.name === DROPPED_TYPE && names.get(serviceOf(row))?.name === "audit";
}

type TileId = Pick<FullTile, "level" | "index">;

export async function storedTiles(db: Queryable, tiles: readonly TileId[]): Promise<Map<string, TileRow>> {
  if (tiles.length === 0) return new Map();
  const { rows } = await db.query<TileRow & Record<string, unknown>>(
    readTiles(
      tiles.map(({ level }) => level),
      tiles.map(({ index }) => index),
    ),
  );
  // Plain arrays: their parts cost a fraction of a Buffer's, and they carry nothing else along to another thread.
  const plain = (row: TileRow) => ({ ...row, hashes: new Uint8Array(row.hashes), root: new Uint8Array(row.root) });
  return new Map(rows.map((row) => [keyOf(row), plain(row)]));
}

export function keyOf({ level, index }: TileId): string {
  return `${level}/${index}`;
}
