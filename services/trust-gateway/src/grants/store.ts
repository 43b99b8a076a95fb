import { type Database, statement, type Transaction } from "@fujie/kit/db";
import type { Grant } from "./rules.ts";

const insertUse = statement(
  "grant.use",
  `INSERT INTO trust.grant_use (grant_id, verification_id, expires_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
);
const purgeUses = statement(
  "grant.purge",
  `DELETE FROM trust.grant_use WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM trust.grant_use WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

/** Uses a grant, for good once the transaction commits; false when it was used before. Two at once wait for each other. */
export async function useGrant(tx: Transaction, grant: Grant, verificationId: string): Promise<boolean> {
  return (await tx.query(insertUse(grant.grantId, verificationId, Math.ceil(grant.expiresAtMs)))).rowCount === 1;
}

/** Forgets the uses of grants that have expired by themselves: the expiry refuses them from then on. */
export async function purgeGrantUses(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeUses(nowMs, batchMax))).rowCount;
}
