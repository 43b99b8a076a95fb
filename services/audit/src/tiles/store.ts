import { type Queryable, statement } from "@fujie/kit/db";

const findTile = statement("audit.tile.find", `SELECT hashes FROM audit.tile WHERE level = $1 AND index = $2`);
const findRoots = statement(
  "audit.tile.roots",
  `SELECT root FROM audit.tile WHERE level = $1 AND index >= $2::bigint AND index < $2::bigint + $3 ORDER BY index`,
);
const findOpenings = statement(
  "audit.tile.openings",
  `SELECT salt, preimage FROM audit.entry WHERE index >= $1::bigint AND index < $1::bigint + $2 ORDER BY index`,
);

/** What a leaf commits to. */
export interface Opening {
  readonly salt: Uint8Array;
  readonly preimage: Uint8Array;
}

/** The 8,192 bytes of a full tile, if it is stored. */
export async function readFullTile(db: Queryable, level: number, index: number): Promise<Uint8Array | undefined> {
  return (await db.query<{ hashes: Buffer }>(findTile(level, index))).rows[0]?.hashes;
}

/** Roots of consecutive full tiles. */
export async function readTileRoots(db: Queryable, level: number, from: number, count: number): Promise<Uint8Array[]> {
  return (await db.query<{ root: Buffer }>(findRoots(level, from, count))).rows.map(({ root }) => root);
}

/** Openings of consecutive leaves. */
export async function readOpenings(db: Queryable, from: number, count: number): Promise<Opening[]> {
  return (await db.query<{ salt: Buffer; preimage: Buffer }>(findOpenings(from, count))).rows;
}
