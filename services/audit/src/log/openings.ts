import { type Queryable, statement } from "@fujie/kit/db";
import { HASH_BYTES } from "@fujie/transparency";
import { rememberNames } from "./names.ts";
import {
  indexOf,
  type Names,
  PACKED_ROW,
  preimageOf,
  type Row,
  saltOf,
  serviceOf,
  splitRows,
  typeOf,
  writeLeafHash,
} from "./row.ts";

/** An entry's index and what its leaf commits to. */
export interface Opening {
  readonly index: number;
  readonly salt: Uint8Array;
  readonly preimage: Uint8Array;
}

const findOpenings = statement(
  "audit.entry.openings",
  `SELECT string_agg(${PACKED_ROW}, ''::bytea ORDER BY entry.index) AS packed
   FROM audit.entry WHERE index >= $1::bigint AND index < $1::bigint + $2`,
);

/** Openings of consecutive leaves, of those that are there. Throws Error for a row that was changed into none. */
export async function readOpenings(db: Queryable, from: number, count: number): Promise<Opening[]> {
  const { rows } = await db.query<{ packed: Buffer | null }>(findOpenings(from, count));
  return openRows(db, rows[0]?.packed ?? Buffer.of());
}

/** The openings of packed rows, in their order. Throws Error for a row that was changed into none. */
export async function openRows(db: Queryable, packed: Buffer): Promise<Opening[]> {
  const rows = splitRows(packed);
  const names = await namesOf(db, rows);
  return rows.map((row) => {
    const preimage = preimageOf(row, names);
    if (preimage === undefined) throw holdsNone(row);
    return { index: indexOf(row), salt: saltOf(row), preimage };
  });
}

/** The leaf hashes of packed rows, one after another. Throws Error for a row that was changed into none. */
export async function leafHashesOf(db: Queryable, packed: Buffer): Promise<Uint8Array> {
  const rows = splitRows(packed);
  const names = await namesOf(db, rows);
  const hashes = new Uint8Array(rows.length * HASH_BYTES);
  for (const [at, row] of rows.entries()) if (!writeLeafHash(row, names, hashes, at * HASH_BYTES)) throw holdsNone(row);
  return hashes;
}

function namesOf(db: Queryable, rows: readonly Row[]): Promise<Names> {
  return rememberNames(
    db,
    rows.flatMap((row) => [serviceOf(row), typeOf(row)]),
  );
}

function holdsNone(row: Row): Error {
  return new Error(`the row of entry ${indexOf(row)} holds no entry`);
}
