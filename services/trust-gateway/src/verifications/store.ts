import { type Database, type Queryable, type Statement, statement, type Transaction } from "@fujie/kit/db";
import type { ClaimTypeName } from "../claims/rules.ts";
import type { PendingReason } from "../evidence/rules.ts";
import type { Verification } from "./rules.ts";

export interface NewVerification {
  readonly verificationId: string;
  readonly applicationId: string | undefined;
  readonly reference: string | undefined;
  readonly claimType: ClaimTypeName;
  readonly purpose: string;
  readonly ground: string;
  readonly accountId: string | undefined;
  readonly levelWanted: number;
  readonly elements: { readonly version: number; readonly digest: Buffer };
  /** Absent when it is decided at once. */
  readonly sealedElements: Buffer | undefined;
  readonly traceId: string;
  readonly nowMs: number;
  readonly leaseUntilMs: number;
}

/** What is needed to ask the sources and to decide. */
export interface PendingRow {
  readonly verificationId: string;
  readonly applicationId: string | undefined;
  readonly reference: string | undefined;
  readonly purpose: string;
  readonly accountId: string | undefined;
  readonly levelWanted: number;
  readonly elementsDigest: Buffer;
  readonly sealedElements: Buffer;
  readonly attempts: number;
  readonly traceId: string;
  /** When it was asked: that moment's policy judges it. */
  readonly createdAtMs: number;
}

export interface SourceCheck {
  readonly sourceId: string;
  readonly bizSeq: string;
  readonly nonce: Buffer;
  readonly askedAtMs: number;
}

export interface Decision {
  readonly verificationId: string;
  readonly state: Exclude<Verification["state"], "PENDING">;
  readonly level: number;
  readonly decidedAtMs: number;
  readonly expiresAtMs: number;
  /** For applications. */
  readonly receipt: KeptReceipt | undefined;
}

export interface KeptReceipt {
  /** fujie.trust.v1.Receipt without its salt. */
  readonly bytes: Uint8Array;
  /** The audit event that fixes its batch. */
  readonly eventId: string;
  readonly sealedSalt: Buffer;
  readonly saltExpiresAtMs: number;
}

const insert = statement(
  "verification.insert",
  `INSERT INTO trust.verification
     (verification_id, application_id, reference, claim_type, purpose, ground, account_id, level_wanted,
      elements_version, elements_digest, state, pending_reason, sealed_elements, trace_id, created_at_ms,
      next_attempt_at_ms, level, decided_at_ms, expires_at_ms, receipt, receipt_event_id, sealed_salt,
      salt_expires_at_ms)
   SELECT verification_id, application_id, reference, claim_type, purpose, ground, account_id, level_wanted,
     elements_version, elements_digest, coalesce(state, 'PENDING'), CASE WHEN state IS NULL THEN 'SOURCE_AWAY' END,
     sealed_elements, trace_id, created_at_ms, next_attempt_at_ms, coalesce(level, 0), decided_at_ms, expires_at_ms,
     receipt, receipt_event_id, sealed_salt, salt_expires_at_ms
   FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[],
     $9::integer[], $10::bytea[], $11::bytea[], $12::text[], $13::bigint[], $14::bigint[], $15::text[],
     $16::smallint[], $17::bigint[], $18::bigint[], $19::bytea[], $20::uuid[], $21::bytea[], $22::bigint[])
     AS new (verification_id, application_id, reference, claim_type, purpose, ground, account_id, level_wanted,
       elements_version, elements_digest, sealed_elements, trace_id, created_at_ms, next_attempt_at_ms, state,
       level, decided_at_ms, expires_at_ms, receipt, receipt_event_id, sealed_salt, salt_expires_at_ms)`,
);
const insertChecks = statement(
  "verification.checks",
  `INSERT INTO trust.source_check (verification_id, source_id, biz_seq, nonce, asked_at_ms)
   SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bigint[]) ON CONFLICT DO NOTHING`,
);
const selectChecks = statement(
  "verification.checks-of",
  `SELECT source_id AS "sourceId", biz_seq AS "bizSeq", nonce, asked_at_ms::float8 AS "askedAtMs"
   FROM trust.source_check WHERE verification_id = $1`,
);
const decide = statement(
  "verification.decide",
  `UPDATE trust.verification AS v SET state = d.state, level = d.level, decided_at_ms = d.decided_at_ms,
     expires_at_ms = d.expires_at_ms, receipt = d.receipt, receipt_event_id = d.receipt_event_id,
     sealed_salt = d.sealed_salt, salt_expires_at_ms = d.salt_expires_at_ms,
     sealed_elements = NULL, pending_reason = NULL, next_attempt_at_ms = NULL
   FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::uuid[],
     $8::bytea[], $9::bigint[])
     AS d (verification_id, state, level, decided_at_ms, expires_at_ms, receipt, receipt_event_id, sealed_salt,
       salt_expires_at_ms)
   WHERE v.verification_id = d.verification_id AND v.state = 'PENDING'
   RETURNING v.verification_id AS "verificationId"`,
);
const postpone = statement(
  "verification.postpone",
  `UPDATE trust.verification SET pending_reason = $2, next_attempt_at_ms = $3, attempts = attempts + 1
   WHERE verification_id = $1 AND state = 'PENDING'`,
);
const pendingColumns = `verification_id AS "verificationId", application_id AS "applicationId", reference, purpose,
  account_id AS "accountId", level_wanted AS "levelWanted", elements_digest AS "elementsDigest",
  sealed_elements AS "sealedElements", attempts, trace_id AS "traceId",
  created_at_ms::float8 AS "createdAtMs"`;
const claimDue = statement(
  "verification.claim",
  `UPDATE trust.verification SET next_attempt_at_ms = $2 WHERE verification_id IN (
     SELECT verification_id FROM trust.verification WHERE next_attempt_at_ms <= $1
     ORDER BY next_attempt_at_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
   RETURNING ${pendingColumns}`,
);
const claimExpired = statement(
  "verification.claim-expired",
  `UPDATE trust.verification SET next_attempt_at_ms = $3 WHERE verification_id IN (
     SELECT verification_id FROM trust.verification WHERE state = 'PENDING' AND created_at_ms <= $1
       AND (pending_reason <> 'REVIEW' OR created_at_ms <= $2) AND coalesce(next_attempt_at_ms, 0) <= $4
     ORDER BY created_at_ms LIMIT $5 FOR UPDATE SKIP LOCKED)
   RETURNING ${pendingColumns}`,
);
const select = statement(
  "verification.get",
  `SELECT verification_id AS "verificationId", application_id AS "applicationId", reference, state,
     pending_reason AS "pendingReason", level, decided_at_ms::float8 AS "decidedAtMs", receipt,
     sealed_salt AS "sealedSalt", receipt_event_id AS "receiptEventId"
   FROM trust.verification WHERE verification_id = $1`,
);
const selectOwner = statement(
  "verification.owner",
  `SELECT application_id AS "applicationId" FROM trust.verification WHERE verification_id = $1`,
);
const eraseSalts = statement(
  "verification.erase-salts",
  `UPDATE trust.verification SET sealed_salt = NULL, salt_expires_at_ms = NULL WHERE verification_id IN (
     SELECT verification_id FROM trust.verification WHERE salt_expires_at_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);
const purge = statement(
  "verification.purge",
  `DELETE FROM trust.verification WHERE verification_id IN (
     SELECT verification_id FROM trust.verification WHERE expires_at_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);

/** Writes questions, those with a decision as decided. */
export function insertVerifications(
  tx: Transaction,
  rows: readonly { readonly row: NewVerification; readonly decision: Decision | undefined }[],
): void {
  if (rows.length === 0) return;
  const asked = <Value>(value: (row: NewVerification) => Value) => rows.map(({ row }) => value(row) ?? null);
  const decided = (column: DecisionColumn) =>
    rows.map(({ decision }) => (decision === undefined ? null : column(decision)));
  tx.send(
    insert(
      asked(({ verificationId }) => verificationId),
      asked(({ applicationId }) => applicationId),
      asked(({ reference }) => reference),
      asked(({ claimType }) => claimType),
      asked(({ purpose }) => purpose),
      asked(({ ground }) => ground),
      asked(({ accountId }) => accountId),
      asked(({ levelWanted }) => levelWanted),
      asked(({ elements }) => elements.version),
      asked(({ elements }) => elements.digest),
      asked(({ sealedElements }) => sealedElements),
      asked(({ traceId }) => traceId),
      asked(({ nowMs }) => nowMs),
      rows.map(({ row, decision }) => (decision === undefined ? row.leaseUntilMs : null)),
      ...decisionColumns.map(decided),
    ),
  );
}

type DecisionColumn = (decision: Decision) => string | number | Buffer | null;

/** In the order of the statements. */
const decisionColumns: readonly DecisionColumn[] = [
  ({ state }) => state,
  ({ level }) => level,
  ({ decidedAtMs }) => decidedAtMs,
  ({ expiresAtMs }) => expiresAtMs,
  ({ receipt }) => (receipt === undefined ? null : Buffer.from(receipt.bytes)),
  ({ receipt }) => receipt?.eventId ?? null,
  ({ receipt }) => receipt?.sealedSalt ?? null,
  ({ receipt }) => receipt?.saltExpiresAtMs ?? null,
];

/** A check of a source for a verification. */
export type NewCheck = SourceCheck & { readonly verificationId: string };

/** Makes a check for every source that has none yet. */
export async function addChecks(db: Queryable, checks: readonly NewCheck[]): Promise<void> {
  if (checks.length > 0) await db.query(newChecksStatement(checks));
}

/** The same, together with what follows in the transaction. */
export function sendChecks(tx: Transaction, checks: readonly NewCheck[]): void {
  if (checks.length > 0) tx.send(newChecksStatement(checks));
}

function newChecksStatement(checks: readonly NewCheck[]): Statement {
  return insertChecks(
    checks.map(({ verificationId }) => verificationId),
    checks.map(({ sourceId }) => sourceId),
    checks.map(({ bizSeq }) => bizSeq),
    checks.map(({ nonce }) => nonce),
    checks.map(({ askedAtMs }) => askedAtMs),
  );
}

export async function readChecks(db: Queryable, verificationId: string): Promise<SourceCheck[]> {
  return (await db.query<{ [K in keyof SourceCheck]: SourceCheck[K] }>(selectChecks(verificationId))).rows;
}

/** Decides pending verifications, erasing their elements. Returns those that nobody had decided before. */
export async function decideVerifications(
  tx: Transaction,
  decisions: readonly Decision[],
): Promise<ReadonlySet<string>> {
  if (decisions.length === 0) return new Set();
  // In one order everywhere, so that no two batches wait for each other in a circle.
  const sorted = decisions.toSorted((a, b) => (a.verificationId < b.verificationId ? -1 : 1));
  const { rows } = await tx.query<{ verificationId: string }>(
    decide(
      sorted.map(({ verificationId }) => verificationId),
      ...decisionColumns.map((column) => sorted.map(column)),
    ),
  );
  return new Set(rows.map(({ verificationId }) => verificationId));
}

/** Leaves it pending; absent `nextAttemptAtMs`: nobody asks again by himself. */
export async function postponeVerification(
  tx: Transaction,
  verificationId: string,
  reason: PendingReason,
  nextAttemptAtMs: number | undefined,
): Promise<void> {
  await tx.query(postpone(verificationId, reason, nextAttemptAtMs ?? null));
}

export interface Lease {
  readonly nowMs: number;
  readonly leaseUntilMs: number;
}

/** Takes verifications whose time has come, for the length of a lease. Replicas never get the same one. */
export async function claimDueVerifications(
  db: Database,
  { nowMs, leaseUntilMs }: Lease,
  limit: number,
): Promise<PendingRow[]> {
  return pendingRows(db, claimDue(nowMs, leaseUntilMs, limit));
}

/** Takes those that were pending since the moments given, one for those that wait for a person. */
export async function claimExpiredVerifications(
  db: Database,
  { nowMs, leaseUntilMs }: Lease,
  since: { readonly askedMs: number; readonly reviewMs: number },
  limit: number,
): Promise<PendingRow[]> {
  return pendingRows(db, claimExpired(since.askedMs, since.reviewMs, leaseUntilMs, nowMs, limit));
}

async function pendingRows(db: Database, claim: Statement): Promise<PendingRow[]> {
  type Row = { [K in keyof PendingRow]: PendingRow[K] | (undefined extends PendingRow[K] ? null : never) };
  const { rows } = await db.query<Row>(claim);
  return rows.map((row) => ({
    ...row,
    applicationId: row.applicationId ?? undefined,
    reference: row.reference ?? undefined,
    accountId: row.accountId ?? undefined,
  }));
}

export interface KeptVerification extends Verification {
  readonly receipt: Buffer | undefined;
  readonly sealedSalt: Buffer | undefined;
  /** The audit event that fixes the receipt's batch. */
  readonly receiptEventId: string | undefined;
}

export async function readVerification(db: Queryable, verificationId: string): Promise<KeptVerification | undefined> {
  type Row = {
    verificationId: string;
    applicationId: string | null;
    reference: string | null;
    state: Verification["state"];
    pendingReason: PendingReason | null;
    level: number;
    decidedAtMs: number | null;
    receipt: Buffer | null;
    sealedSalt: Buffer | null;
    receiptEventId: string | null;
  };
  const row = (await db.query<Row>(select(verificationId))).rows[0];
  return (
    row && {
      ...row,
      applicationId: row.applicationId ?? undefined,
      reference: row.reference ?? undefined,
      pendingReason: row.pendingReason ?? undefined,
      decidedAtMs: row.decidedAtMs ?? undefined,
      receipt: row.receipt ?? undefined,
      sealedSalt: row.sealedSalt ?? undefined,
      receiptEventId: row.receiptEventId ?? undefined,
    }
  );
}

/** The application that asked; undefined when there is no such verification, or it is the registry's. */
export async function findOwner(db: Queryable, verificationId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ applicationId: string | null }>(selectOwner(verificationId));
  return rows[0]?.applicationId ?? undefined;
}

export async function eraseOldSalts(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(eraseSalts(nowMs, batchMax))).rowCount;
}

export async function purgeVerifications(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purge(nowMs, batchMax))).rowCount;
}
