import { type Queryable, statement } from "@fujie/kit/db";

const findTile = statement("audit.tile.find", `SELECT hashes FROM audit.tile WHERE level = $1 AND index = $2`);
const findRoots = statement(
  "audit.tile.roots",
  `SELECT root FROM audit.tile WHERE level = $1 AND index >= $2::bigint AND index < $2::bigint + $3 ORDER BY index`,
);

/** The 8,192 bytes of a full tile, if it is stored. */
export async function readFullTile(db: Queryable, level: number, index: number): Promise<Uint8Array | undefined> {
  return (await db.query<{ hashes: Buffer }>(findTile(level, index))).rows[0]?.hashes;
}

/** Roots of consecutive full tiles. */
export async function readTileRoots(db: Queryable, level: number, from: number, count: number): Promise<Uint8Array[]> {
  return (await db.query<{ root: Buffer }>(findRoots(level, from, count))).rows.map(({ root }) => root);
}
