import { type Database, type Queryable, statement, transaction } from "../db/index.ts";

/** A leased row of the outbox. */
export interface OutboxRow {
  readonly tx: string;
  readonly seq: string;
  readonly id: string;
  readonly payload: Buffer;
  /** How often it was handed out, this time included. */
  readonly attempts: number;
  readonly enqueuedAtMs: number;
}

export interface Claim {
  readonly destination: string;
  readonly nowMs: number;
  readonly leaseUntilMs: number;
  readonly batchMax: number;
}

const RETURNED = `tx::text, seq::text, id, payload, attempts, enqueued_at_ms::float8 AS "enqueuedAtMs"`;

// Rows that another relay has just leased are skipped: FOR UPDATE looks at not_before_ms again after any wait.
const claimAny = statement(
  "kit.outbox.claim",
  `WITH picked AS (
     SELECT destination, tx, seq FROM kit.outbox WHERE destination = $1 AND not_before_ms <= $2
     ORDER BY tx, seq LIMIT $4 FOR UPDATE SKIP LOCKED
   ), claimed AS (
     UPDATE kit.outbox o SET not_before_ms = $3, attempts = o.attempts + 1 FROM picked p
     WHERE o.destination = p.destination AND o.tx = p.tx AND o.seq = p.seq
     RETURNING o.*
   ) SELECT ${RETURNED} FROM claimed ORDER BY claimed.tx, claimed.seq`,
);

const lockDestination = statement(
  "kit.outbox.lock",
  `SELECT pg_try_advisory_xact_lock(hashtextextended('kit.outbox/' || $1, 0)) AS taken`,
);

// The head of the line, or nothing while any of it is leased or paused. Only below the oldest running transaction:
// above it an earlier message may still be committed.
const claimHead = statement(
  "kit.outbox.claim-ordered",
  `WITH head AS MATERIALIZED (
     SELECT tx, seq, not_before_ms FROM kit.outbox
     WHERE destination = $1 AND tx < pg_snapshot_xmin(pg_current_snapshot())
     ORDER BY tx, seq LIMIT $4
   ), claimed AS (
     UPDATE kit.outbox o SET not_before_ms = $3, attempts = o.attempts + 1 FROM head h
     WHERE (SELECT max(not_before_ms) FROM head) <= $2
       AND o.destination = $1 AND o.tx = h.tx AND o.seq = h.seq
     RETURNING o.*
   ) SELECT ${RETURNED} FROM claimed ORDER BY claimed.tx, claimed.seq`,
);

const deleteRows = statement(
  "kit.outbox.delete",
  `DELETE FROM kit.outbox WHERE destination = $1
   AND (tx, seq) IN (SELECT * FROM unnest($2::xid8[], $3::bigint[]))`,
);

// Not when the lease ran out and another relay has them now.
const releaseRows = statement(
  "kit.outbox.release",
  `UPDATE kit.outbox SET not_before_ms = $4, attempts = attempts - $6 WHERE destination = $1 AND not_before_ms = $5
   AND (tx, seq) IN (SELECT * FROM unnest($2::xid8[], $3::bigint[]))`,
);

const readOldest = statement(
  "kit.outbox.oldest",
  `SELECT enqueued_at_ms::float8 AS "oldestMs" FROM kit.outbox WHERE destination = $1 ORDER BY tx, seq LIMIT 1`,
);

/** Leases up to `batchMax` due messages, oldest first; several relays get different ones. */
export async function claimRows(db: Queryable, claim: Claim): Promise<OutboxRow[]> {
  return (await db.query<OutboxRow>(claimAny(claim.destination, claim.nowMs, claim.leaseUntilMs, claim.batchMax))).rows;
}

/** Leases the oldest messages in commit order, unless the head of the line is leased or paused. */
export async function claimRowsInOrder(db: Database, claim: Claim): Promise<OutboxRow[]> {
  return transaction(db, async (tx) => {
    // A statement of its own: the claim must see what the last holder of the lock committed.
    const { rows } = await tx.query<{ taken: boolean }>(lockDestination(claim.destination));
    if (rows[0]?.taken !== true) return [];
    const values = [claim.destination, claim.nowMs, claim.leaseUntilMs, claim.batchMax];
    return (await tx.query<OutboxRow>(claimHead(...values))).rows;
  });
}

export async function removeRows(db: Queryable, destination: string, rows: readonly OutboxRow[]): Promise<void> {
  await db.query(deleteRows(destination, ...keysOf(rows)));
}

/** Ends a lease early: the rows are due again at `notBeforeMs`. Those that were not tried were not attempted either. */
export async function returnRows(
  db: Queryable,
  claim: Claim,
  rows: readonly OutboxRow[],
  { notBeforeMs, tried }: { readonly notBeforeMs: number; readonly tried: boolean },
): Promise<void> {
  if (rows.length === 0) return;
  await db.query(releaseRows(claim.destination, ...keysOf(rows), notBeforeMs, claim.leaseUntilMs, tried ? 0 : 1));
}

/** When the oldest message that still waits was written, or undefined when none does. */
export async function oldestMs(db: Queryable, destination: string): Promise<number | undefined> {
  return (await db.query<{ oldestMs: number }>(readOldest(destination))).rows[0]?.oldestMs;
}

function keysOf(rows: readonly OutboxRow[]): [string[], string[]] {
  return [rows.map((row) => row.tx), rows.map((row) => row.seq)];
}
