import { type Queryable, statement } from "@fujie/kit/db";

const selectNumbers = statement(
  "crl.numbers",
  `SELECT issuer_fingerprint AS "fingerprint", number::text AS number FROM trust.crl_number
   WHERE issuer_fingerprint = ANY ($1::text[])`,
);
// Never backwards, whichever replica saw the newer list first.
const raiseNumber = statement(
  "crl.raise",
  `INSERT INTO trust.crl_number AS n (issuer_fingerprint, number)
   SELECT * FROM unnest($1::text[], $2::numeric[])
   ON CONFLICT (issuer_fingerprint) DO UPDATE SET number = excluded.number WHERE n.number < excluded.number`,
);

/** The highest revocation list number seen of each issuer, by its fingerprint. */
export async function readCrlNumbers(db: Queryable, fingerprints: readonly string[]): Promise<Map<string, bigint>> {
  const { rows } = await db.query<{ fingerprint: string; number: string }>(selectNumbers(fingerprints));
  return new Map(rows.map(({ fingerprint, number }) => [fingerprint, BigInt(number)]));
}

export async function raiseCrlNumbers(db: Queryable, numbers: ReadonlyMap<string, bigint>): Promise<void> {
  const sorted = [...numbers].toSorted(([a], [b]) => (a < b ? -1 : 1));
  await db.query(
    raiseNumber(
      sorted.map(([fingerprint]) => fingerprint),
      sorted.map(([, number]) => String(number)),
    ),
  );
}
