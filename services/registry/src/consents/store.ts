import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { Consent } from "./consent.ts";

type Row = { [K in keyof Consent]: Consent[K] };

const COLUMNS = `grant_id AS "grantId", account_id AS "accountId", application_id AS "applicationId", purpose,
  claim_type AS "claimType", granted_at AS "grantedAt", expire_at AS "expireAt", withdrawn_at AS "withdrawnAt"`;

const insertRow = statement(
  "consent.insert",
  `INSERT INTO consent (grant_id, account_id, application_id, purpose, claim_type, granted_at, expire_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7)`,
);
const selectRow = statement("consent.find", `SELECT ${COLUMNS} FROM consent WHERE grant_id = $1`);
const selectPage = statement(
  "consent.page",
  `SELECT ${COLUMNS} FROM consent WHERE account_id = $1 AND grant_id < $2 ORDER BY grant_id DESC LIMIT $3`,
);
// Once withdrawn, the time stays.
const withdrawRow = statement(
  "consent.withdraw",
  `UPDATE consent SET withdrawn_at = $2 WHERE grant_id = $1 AND withdrawn_at IS NULL`,
);
const withdrawAll = statement(
  "consent.withdraw-all",
  `UPDATE consent SET withdrawn_at = $2 WHERE account_id = $1 AND withdrawn_at IS NULL AND expire_at > $2`,
);
const selectWithdrawn = statement(
  "consent.withdrawn",
  `SELECT grant_id AS "grantId" FROM consent WHERE withdrawn_at IS NOT NULL AND expire_at > $1
   ORDER BY expire_at DESC LIMIT 100000`,
);
const purgeOld = statement(
  "consent.purge",
  `DELETE FROM consent WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM consent WHERE expire_at <= $1 ORDER BY expire_at LIMIT $2))`,
);

export async function insertConsent(tx: Transaction, consent: Omit<Consent, "withdrawnAt">): Promise<void> {
  const { grantId, accountId, applicationId, purpose, claimType, grantedAt, expireAt } = consent;
  await tx.query(insertRow(grantId, accountId, applicationId, purpose, claimType, grantedAt, expireAt));
}

export async function findConsent(db: Queryable, grantId: string): Promise<Consent | undefined> {
  return (await db.query<Row>(selectRow(grantId))).rows[0];
}

/** Newest first, before the given id. */
export async function pageConsents(
  db: Queryable,
  accountId: string,
  before: string,
  limit: number,
): Promise<Consent[]> {
  return (await db.query<Row>(selectPage(accountId, before, limit))).rows;
}

/** False when it was withdrawn before. */
export async function withdrawConsent(tx: Transaction, grantId: string, now: Date): Promise<boolean> {
  return (await tx.query(withdrawRow(grantId, now))).rowCount === 1;
}

/** Withdraws whatever the person has given and is not over. Returns how many. */
export async function withdrawConsentsOf(tx: Transaction, accountId: string, now: Date): Promise<number> {
  return (await tx.query(withdrawAll(accountId, now))).rowCount;
}

/** The grants that the gateway must not honour although their time is not over. */
export async function findWithdrawnGrants(db: Queryable, now: Date): Promise<string[]> {
  return (await db.query<{ grantId: string }>(selectWithdrawn(now))).rows.map((row) => row.grantId);
}

/** Removes at most `batchMax` grants that ended before the time. */
export async function purgeConsents(db: Database, before: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeOld(before, batchMax))).rowCount;
}
