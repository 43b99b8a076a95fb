import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
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
  readonly sealedElements: Buffer;
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
}

export interface SourceCheck {
  readonly sourceId: string;
  readonly bizSeq: string;
  readonly nonce: Buffer;
  readonly askedAtMs: number;
}

export interface Decision {
  readonly verificationId: string;
  readonly state: "VERIFIED" | "REJECTED";
  readonly level: number;
  readonly decidedAtMs: number;
  readonly expiresAtMs: number;
  readonly receipt?: { readonly bytes: Uint8Array; readonly sealedSalt: Buffer; readonly saltExpiresAtMs: number };
}

const insert = statement(
  "verification.insert",
  `INSERT INTO trust.verification
     (verification_id, application_id, reference, claim_type, purpose, ground, account_id, level_wanted,
      elements_version, elements_digest, state, pending_reason, sealed_elements, trace_id, created_at_ms,
      next_attempt_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'PENDING', 'SOURCE_AWAY', $11, $12, $13, $14)`,
);
const insertChecks = statement(
  "verification.checks",
  `INSERT INTO trust.source_check (verification_id, source_id, biz_seq, nonce, asked_at_ms)
   SELECT $1, *, $5 FROM unnest($2::text[], $3::text[], $4::bytea[]) ON CONFLICT DO NOTHING`,
);
const selectChecks = statement(
  "verification.checks-of",
  `SELECT source_id AS "sourceId", biz_seq AS "bizSeq", nonce, asked_at_ms::float8 AS "askedAtMs"
   FROM trust.source_check WHERE verification_id = $1`,
);
const decide = statement(
  "verification.decide",
  `UPDATE trust.verification SET state = $2, level = $3, decided_at_ms = $4, expires_at_ms = $5, receipt = $6,
     sealed_salt = $7, salt_expires_at_ms = $8, sealed_elements = NULL, pending_reason = NULL, next_attempt_at_ms = NULL
   WHERE verification_id = $1 AND state = 'PENDING'`,
);
const postpone = statement(
  "verification.postpone",
  `UPDATE trust.verification SET pending_reason = $2, next_attempt_at_ms = $3, attempts = attempts + 1
   WHERE verification_id = $1 AND state = 'PENDING'`,
);
const pendingColumns = `verification_id AS "verificationId", application_id AS "applicationId", reference, purpose,
  account_id AS "accountId", level_wanted AS "levelWanted", elements_digest AS "elementsDigest",
  sealed_elements AS "sealedElements", attempts, trace_id AS "traceId"`;
const claimDue = statement(
  "verification.claim",
  `UPDATE trust.verification SET next_attempt_at_ms = $2 WHERE verification_id IN (
     SELECT verification_id FROM trust.verification WHERE next_attempt_at_ms <= $1
     ORDER BY next_attempt_at_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
   RETURNING ${pendingColumns}`,
);
const select = statement(
  "verification.get",
  `SELECT verification_id AS "verificationId", application_id AS "applicationId", reference, state,
     pending_reason AS "pendingReason", level, decided_at_ms::float8 AS "decidedAtMs", receipt,
     sealed_salt AS "sealedSalt"
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

export async function insertVerification(tx: Transaction, row: NewVerification): Promise<void> {
  await tx.query(
    insert(
      row.verificationId,
      row.applicationId ?? null,
      row.reference ?? null,
      row.claimType,
      row.purpose,
      row.ground,
      row.accountId ?? null,
      row.levelWanted,
      row.elements.version,
      row.elements.digest,
      row.sealedElements,
      row.traceId,
      row.nowMs,
      row.leaseUntilMs,
    ),
  );
}

/** Makes a check for every source that has none yet. */
export async function addChecks(
  db: Queryable,
  verificationId: string,
  checks: readonly Omit<SourceCheck, "askedAtMs">[],
  nowMs: number,
): Promise<void> {
  await db.query(
    insertChecks(
      verificationId,
      checks.map(({ sourceId }) => sourceId),
      checks.map(({ bizSeq }) => bizSeq),
      checks.map(({ nonce }) => nonce),
      nowMs,
    ),
  );
}

export async function readChecks(db: Queryable, verificationId: string): Promise<SourceCheck[]> {
  return (await db.query<{ [K in keyof SourceCheck]: SourceCheck[K] }>(selectChecks(verificationId))).rows;
}

/** Decides a pending verification, erasing its elements; false when another process was faster. */
export async function decideVerification(tx: Transaction, decision: Decision): Promise<boolean> {
  const { verificationId, state, level, decidedAtMs, expiresAtMs, receipt } = decision;
  const { rowCount } = await tx.query(
    decide(
      verificationId,
      state,
      level,
      decidedAtMs,
      expiresAtMs,
      receipt === undefined ? null : Buffer.from(receipt.bytes),
      receipt?.sealedSalt ?? null,
      receipt?.saltExpiresAtMs ?? null,
    ),
  );
  return rowCount === 1;
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

/** Takes verifications whose time has come, for the length of a lease. Replicas never get the same one. */
export async function claimDueVerifications(
  db: Database,
  times: { readonly nowMs: number; readonly leaseUntilMs: number },
  limit: number,
): Promise<PendingRow[]> {
  type Row = { [K in keyof PendingRow]: PendingRow[K] | (undefined extends PendingRow[K] ? null : never) };
  const { rows } = await db.query<Row>(claimDue(times.nowMs, times.leaseUntilMs, limit));
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
