import { type Queryable, statement } from "@fujie/kit/db";
import { readNames } from "./names.ts";
import { indexOf, PACKED_ROW, preimageOf, saltOf, serviceOf, splitRows, typeOf } from "./row.ts";

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
  if (rows.length === 0) return [];
  const names = await readNames(
    db,
    rows.flatMap((row) => [serviceOf(row), typeOf(row)]),
  );
  return rows.map((row) => {
    const preimage = preimageOf(row, names);
    if (preimage === undefined) throw new Error(`the row of entry ${indexOf(row)} holds no entry`);
    return { index: indexOf(row), salt: saltOf(row), preimage };
  });
}
