import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

export interface BulkRead {
  readonly bulkReadId: string;
  readonly requestedBy: string;
  readonly reason: string;
  /** ListEntriesRequest without its page. */
  readonly question: Buffer;
  readonly approvedBy: string | null;
  readonly expiresAtMs: number | null;
}

type Row = { [K in keyof BulkRead]: BulkRead[K] };

const lockActor = statement("read.lock", `SELECT pg_advisory_xact_lock(hashtextextended('read/' || $1, 0))`);
const sumUse = statement(
  "read.used",
  `SELECT coalesce(sum(entries), 0)::float8 AS entries FROM audit.read_use WHERE actor = $1 AND read_at_ms > $2`,
);
const insertUse = statement("read.use", `INSERT INTO audit.read_use (actor, read_at_ms, entries) VALUES ($1, $2, $3)`);
const purgeUse = statement(
  "read.purge",
  `DELETE FROM audit.read_use WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM audit.read_use WHERE read_at_ms <= $1 LIMIT $2))`,
);
const insertRow = statement(
  "bulk-read.insert",
  `INSERT INTO audit.bulk_read (bulk_read_id, requested_by, requested_at_ms, reason, question)
   VALUES ($1, $2, $3, $4, $5)`,
);
const selectRow = statement(
  "bulk-read.find",
  `SELECT bulk_read_id AS "bulkReadId", requested_by AS "requestedBy", reason, question,
     approved_by AS "approvedBy", expire_at_ms::float8 AS "expiresAtMs"
   FROM audit.bulk_read LEFT JOIN audit.bulk_read_approval USING (bulk_read_id) WHERE bulk_read_id = $1`,
);
const insertApproval = statement(
  "bulk-read.approve",
  `INSERT INTO audit.bulk_read_approval (bulk_read_id, approved_by, expire_at_ms) VALUES ($1, $2, $3)
   ON CONFLICT DO NOTHING`,
);

/** Lets one read of the actor at a time be counted, and tells how many entries he read since. */
export async function lockUse(tx: Transaction, actor: string, sinceMs: number): Promise<number> {
  await tx.query(lockActor(actor));
  return (await tx.query<{ entries: number }>(sumUse(actor, sinceMs))).rows[0]?.entries ?? 0;
}

export async function addUse(tx: Transaction, actor: string, atMs: number, entries: number): Promise<void> {
  await tx.query(insertUse(actor, atMs, entries));
}

export async function purgeUses(db: Queryable, untilMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeUse(untilMs, batchMax))).rowCount;
}

export async function insertBulkRead(
  tx: Transaction,
  row: Pick<BulkRead, "bulkReadId" | "requestedBy" | "reason" | "question">,
  nowMs: number,
): Promise<void> {
  await tx.query(insertRow(row.bulkReadId, row.requestedBy, nowMs, row.reason, row.question));
}

export async function findBulkRead(db: Queryable, bulkReadId: string): Promise<BulkRead | undefined> {
  return (await db.query<Row>(selectRow(bulkReadId))).rows[0];
}

/** False when it was approved before. */
export async function approveBulkRead(
  tx: Transaction,
  bulkReadId: string,
  approvedBy: string,
  expiresAtMs: number,
): Promise<boolean> {
  return (await tx.query(insertApproval(bulkReadId, approvedBy, expiresAtMs))).rowCount === 1;
}
