import { type Copyable, type Queryable, statement } from "@fujie/kit/db";
import { TILE_WIDTH } from "@fujie/transparency";
import { type CheckedWindow, checkWindow, type Known, type ReadWindow } from "./check-rows.ts";
import { ROW_COLUMNS } from "./row.ts";
import type { FullTile } from "./tree.ts";

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

/** While one window is hashed, the database reads the next ones. */
const WINDOWS_AHEAD = 2;

const readRows = statement(
  "audit.verify.rows",
  `SELECT ${ROW_COLUMNS} FROM audit.entry WHERE entry.index >= $1 AND entry.index < $2 ORDER BY entry.index`,
);
const readTiles = statement(
  "audit.verify.tiles",
  `SELECT tile.level, tile.index::float8 AS index, hashes, root
   FROM unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) JOIN audit.tile USING (level, index)`,
);

/** Windows that are read and hashed by this thread. */
export function windowsOf(db: Queryable & Copyable, known: Known): Windows {
  return {
    check: async (begin, end) => checkWindow(known, await readWindow(db, begin, end)),
    ahead: WINDOWS_AHEAD,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Reads the entries from `begin`, a whole tile, to `end`. */
export async function readWindow(db: Queryable & Copyable, begin: number, end: number): Promise<ReadWindow> {
  const first = begin / TILE_WIDTH;
  const wanted = Array.from({ length: Math.ceil((end - begin) / TILE_WIDTH) }, (_, at) => ({
    level: 0,
    index: first + at,
  }));
  const [rows, stored] = await Promise.all([db.copyOut(readRows(begin, end)), storedTiles(db, wanted)]);
  const tiles = wanted.map((tile) => stored.get(keyOf(tile))).map((tile) => tile && plain(tile));
  return { begin, end, rows, tiles };
}

/** Without the memory that a Buffer shares with others: it can go to another thread. */
function plain({ hashes, root }: TileRow) {
  return { hashes: new Uint8Array(hashes), root: new Uint8Array(root) };
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
  return new Map(rows.map((row) => [keyOf(row), row]));
}

export function keyOf({ level, index }: TileId): string {
  return `${level}/${index}`;
}
