import { type Database, statement, type Transaction } from "@fujie/kit/db";

const insertUses = statement(
  "grant.use",
  `INSERT INTO trust.grant_use (grant_id, verification_id, expires_at_ms)
   SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[]) ON CONFLICT DO NOTHING
   RETURNING grant_id AS key, verification_id AS "verificationId"`,
);
const removeUses = statement("grant.give-back", `DELETE FROM trust.grant_use WHERE verification_id = ANY ($1::uuid[])`);
const purgeUses = statement(
  "grant.purge",
  `DELETE FROM trust.grant_use WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM trust.grant_use WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

/** A grant, or whatever else is honoured once under a key of its own. */
export interface SingleUse {
  readonly key: string;
  /** Until when it has to be remembered: after that it is refused by itself. */
  readonly expiresAtMs: number;
}

export type Use = SingleUse & { readonly verificationId: string };

/**
 * Uses each for its verification, for good once the transaction commits. Returns those that could be used: of two with
 * the same key the first, and none where it was used before. Two transactions at once wait for each other.
 */
export async function spendOnce<Wanted extends Use>(
  tx: Transaction,
  uses: readonly Wanted[],
): Promise<ReadonlySet<Wanted>> {
  if (uses.length === 0) return new Set();
  // In one order everywhere, so that no two transactions wait for each other in a circle. Sorting is stable.
  const sorted = uses.toSorted((a, b) => (a.key === b.key ? 0 : a.key < b.key ? -1 : 1));
  const { rows } = await tx.query<{ key: string; verificationId: string }>(
    insertUses(
      sorted.map(({ key }) => key),
      sorted.map(({ verificationId }) => verificationId),
      sorted.map(({ expiresAtMs }) => Math.ceil(expiresAtMs)),
    ),
  );
  const spent = new Map(rows.map(({ key, verificationId }) => [key, verificationId]));
  return new Set(uses.filter(({ key, verificationId }) => spent.get(key) === verificationId));
}

/** Gives back what these verifications have used in this transaction: they were refused after all. */
export async function giveBack(tx: Transaction, verificationIds: readonly string[]): Promise<void> {
  if (verificationIds.length > 0) await tx.query(removeUses(verificationIds));
}

/** Forgets the uses of grants that have expired by themselves: the expiry refuses them from then on. */
export async function purgeGrantUses(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeUses(nowMs, batchMax))).rowCount;
}
