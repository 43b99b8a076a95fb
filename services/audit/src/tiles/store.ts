import { type Queryable, statement } from "@fujie/kit/db";
import { TILE_WIDTH, type Tile } from "@fujie/transparency";
import { PACKED_ROW } from "../log/row.ts";

/** A tile as the database has it: stored, when it is full by now; else what it is made of. */
export interface TileSource {
  /** The 8,192 bytes of the full tile. */
  readonly hashes: Buffer | null;
  /** Above level 0: the roots of the full tiles below, one after another. */
  readonly roots: Buffer | null;
  /** At level 0: the packed rows of the entries. */
  readonly packed: Buffer | null;
}

// One round trip, however many tiles a proof needs.
const readTiles = statement(
  "audit.tile.read",
  `SELECT tile.hashes,
     CASE WHEN tile.hashes IS NULL AND wanted.level > 0 THEN (
       SELECT string_agg(below.root, ''::bytea ORDER BY below.index) FROM audit.tile AS below
       WHERE below.level = wanted.level - 1 AND below.index >= wanted.first AND below.index < wanted.first + wanted.width
     ) END AS roots,
     CASE WHEN tile.hashes IS NULL AND wanted.level = 0 THEN (
       SELECT string_agg(${PACKED_ROW}, ''::bytea ORDER BY entry.index) FROM audit.entry
       WHERE entry.index >= wanted.first AND entry.index < wanted.first + wanted.width
     ) END AS packed
   FROM (
     SELECT level, index, index * ${TILE_WIDTH} AS first, width, at
     FROM unnest($1::smallint[], $2::bigint[], $3::int[]) WITH ORDINALITY AS given (level, index, width, at)
   ) AS wanted LEFT JOIN audit.tile USING (level, index)
   ORDER BY wanted.at`,
);

/** What tiles are made of, in their order. */
export async function readTileSources(db: Queryable, tiles: readonly Tile[]): Promise<TileSource[]> {
  const query = readTiles(
    tiles.map(({ level }) => level),
    tiles.map(({ index }) => index),
    tiles.map(({ width }) => width),
  );
  return (await db.query<TileSource & Record<string, unknown>>(query)).rows;
}
