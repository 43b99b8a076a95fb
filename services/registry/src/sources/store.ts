import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { SourceFile, TestKind, TestResult } from "./rules.ts";

/** A source as it is on file; one that only a sandbox's setting names has no kind, owner or registrar. */
export interface Source extends SourceFile {
  readonly sourceId: string;
  readonly enabled: boolean;
  readonly kind: string | null;
  readonly ownerName: string | null;
  readonly ownerUscc: string | null;
  readonly contactSealed: Buffer | null;
  readonly registeredBy: string | null;
  readonly enabledAt: Date | null;
  readonly suspendedBy: string | null;
  readonly rateLimitPerSecond: number;
  readonly dailyLimit: number;
}

type Row = { [K in keyof Source]: Source[K] };

const COLUMNS = `source_id AS "sourceId", enabled, kind, owner_name AS "ownerName", owner_uscc AS "ownerUscc",
  contact_sealed AS "contactSealed", registered_by AS "registeredBy", enabled_at AS "enabledAt",
  suspended_by AS "suspendedBy", agreement_start AS "agreementStart", agreement_end AS "agreementEnd",
  attested_at AS "attestedAt", attestation_revoked_at AS "attestationRevokedAt",
  rate_limit_per_second AS "rateLimitPerSecond", daily_limit AS "dailyLimit"`;

const insertRow = statement(
  "source.register",
  `INSERT INTO source AS s
     (source_id, enabled, kind, owner_name, owner_uscc, contact_sealed, registered_by, registered_at)
   VALUES ($1, false, $2, $3, $4, $5, $6, $7)
   ON CONFLICT (source_id) DO UPDATE SET enabled = false, kind = excluded.kind, owner_name = excluded.owner_name,
     owner_uscc = excluded.owner_uscc, contact_sealed = excluded.contact_sealed,
     registered_by = excluded.registered_by, registered_at = excluded.registered_at
   WHERE s.registered_at IS NULL`,
);
const selectRow = statement("source.find", `SELECT ${COLUMNS} FROM source WHERE source_id = $1`);
const lockRow = statement("source.lock", `SELECT ${COLUMNS} FROM source WHERE source_id = $1 FOR UPDATE`);
const selectPage = statement(
  "source.page",
  `SELECT ${COLUMNS} FROM source WHERE source_id > $1 ORDER BY source_id LIMIT $2`,
);
const updateAgreement = statement(
  "source.agreement",
  `UPDATE source SET agreement_sha256 = $2, agreement_start = $3, agreement_end = $4 WHERE source_id = $1`,
);
const updateAttestation = statement(
  "source.attestation",
  `UPDATE source SET attestation_sha256 = $2, attested_at = $3, attestation_revoked_at = NULL WHERE source_id = $1`,
);
const revokeRow = statement(
  "source.revoke-attestation",
  `UPDATE source SET attestation_revoked_at = coalesce(attestation_revoked_at, $2), enabled = false
   WHERE source_id = $1`,
);
const enableRow = statement(
  "source.enable",
  `UPDATE source SET enabled = true, enabled_at = coalesce(enabled_at, $2), suspended_by = NULL WHERE source_id = $1`,
);
const suspendRow = statement(
  "source.suspend",
  `UPDATE source SET enabled = false, suspended_by = $2 WHERE source_id = $1`,
);
const suspendEnded = statement(
  "source.suspend-ended",
  `UPDATE source SET enabled = false WHERE source_id IN (
     SELECT source_id FROM source WHERE enabled AND kind IS NOT NULL AND agreement_end <= $1
     ORDER BY agreement_end LIMIT $2 FOR UPDATE SKIP LOCKED)
   RETURNING source_id AS "sourceId"`,
);
const updateLimits = statement(
  "source.limits",
  `UPDATE source SET rate_limit_per_second = $2, daily_limit = $3 WHERE source_id = $1`,
);

const insertWindow = statement(
  "maintenance.insert",
  `INSERT INTO source_maintenance (maintenance_id, source_id, start_at, end_at)
   SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM source_maintenance WHERE source_id = $2 AND end_at > $5) < $6`,
);
const deleteWindow = statement(
  "maintenance.delete",
  `DELETE FROM source_maintenance WHERE maintenance_id = $1 RETURNING source_id AS "sourceId"`,
);
const purgeWindows = statement(
  "maintenance.purge",
  `DELETE FROM source_maintenance WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM source_maintenance WHERE end_at <= $1 LIMIT $2))`,
);

const insertTesterRow = statement(
  "tester.insert",
  `INSERT INTO tester (tester_id, name, uscc, public_key, registered_by, registered_at)
   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
);
const selectTester = statement(
  "tester.find",
  `SELECT uscc, public_key AS "publicKey", revoked_at AS "revokedAt" FROM tester WHERE tester_id = $1`,
);
const revokeTesterRow = statement(
  "tester.revoke",
  `UPDATE tester SET revoked_by = $2, revoked_at = $3, revoke_reason = $4
   WHERE tester_id = $1 AND revoked_at IS NULL`,
);
const selectRestingOn = statement(
  "tester.sources",
  `SELECT ${COLUMNS} FROM source WHERE source_id IN (
     SELECT source_id FROM source_test WHERE tester_id = $1 AND reported_at IS NOT NULL AND passed AND valid_until > $2)
   ORDER BY source_id`,
);
const insertTest = statement(
  "source-test.begin",
  `INSERT INTO source_test (nonce, source_id, kind, expire_at) VALUES ($1, $2, $3, $4)`,
);
const reportRow = statement(
  "source-test.report",
  `UPDATE source_test SET tester_id = $3, report_sha256 = $4, signature = $5, passed = $6, reported_at = $7,
     valid_until = $8
   WHERE nonce = $1 AND source_id = $2 AND reported_at IS NULL AND expire_at > $7 RETURNING kind`,
);
// Of two of one moment the failed one counts. What a revoked tester passed does not; what it failed still does.
const selectNewest = statement(
  "source-test.newest",
  `SELECT DISTINCT ON (t.kind) t.kind, t.passed, t.valid_until AS "validUntil"
   FROM source_test t JOIN tester USING (tester_id)
   WHERE t.source_id = $1 AND t.reported_at IS NOT NULL AND (revoked_at IS NULL OR NOT t.passed)
   ORDER BY t.kind, t.reported_at DESC, t.passed`,
);
const purgeTests = statement(
  "source-test.purge",
  `DELETE FROM source_test WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM source_test WHERE reported_at IS NULL AND expire_at <= $1 LIMIT $2))`,
);

export interface NewSource {
  readonly sourceId: string;
  readonly kind: string;
  readonly ownerName: string;
  readonly ownerUscc: string;
  readonly contactSealed: Buffer;
  readonly registeredBy: string;
}

/** False when it is registered already. */
export async function insertSource(tx: Transaction, source: NewSource, now: Date): Promise<boolean> {
  const { sourceId, kind, ownerName, ownerUscc, contactSealed, registeredBy } = source;
  const row = insertRow(sourceId, kind, ownerName, ownerUscc, contactSealed, registeredBy, now);
  return (await tx.query(row)).rowCount === 1;
}

export async function findSource(db: Queryable, sourceId: string): Promise<Source | undefined> {
  return (await db.query<Row>(selectRow(sourceId))).rows[0];
}

export async function lockSource(tx: Transaction, sourceId: string): Promise<Source | undefined> {
  return (await tx.query<Row>(lockRow(sourceId))).rows[0];
}

/** In the order of ids, after the given one. */
export async function pageSources(db: Queryable, after: string, limit: number): Promise<Source[]> {
  return (await db.query<Row>(selectPage(after, limit))).rows;
}

export async function fileAgreement(
  tx: Transaction,
  sourceId: string,
  { sha256, start, end }: { readonly sha256: Uint8Array; readonly start: Date; readonly end: Date },
): Promise<void> {
  await tx.query(updateAgreement(sourceId, Buffer.from(sha256), start, end));
}

export async function fileAttestation(tx: Transaction, sourceId: string, sha256: Uint8Array, now: Date): Promise<void> {
  await tx.query(updateAttestation(sourceId, Buffer.from(sha256), now));
}

/** Revokes it, and suspends the source. */
export async function revokeAttestation(tx: Transaction, sourceId: string, now: Date): Promise<void> {
  await tx.query(revokeRow(sourceId, now));
}

export async function enableSource(tx: Transaction, sourceId: string, now: Date): Promise<void> {
  await tx.query(enableRow(sourceId, now));
}

export async function suspendSource(tx: Transaction, sourceId: string, operatorId: string): Promise<void> {
  await tx.query(suspendRow(sourceId, operatorId));
}

/** Suspends sources whose agreement has ended. Returns their ids. */
export async function suspendEndedSources(tx: Transaction, now: Date, batchMax: number): Promise<string[]> {
  return (await tx.query<{ sourceId: string }>(suspendEnded(now, batchMax))).rows.map(({ sourceId }) => sourceId);
}

export async function setLimits(
  tx: Transaction,
  sourceId: string,
  limits: { readonly rateLimitPerSecond: number; readonly dailyLimit: number },
): Promise<void> {
  await tx.query(updateLimits(sourceId, limits.rateLimitPerSecond, limits.dailyLimit));
}

export interface Maintenance {
  readonly maintenanceId: string;
  readonly sourceId: string;
  readonly start: Date;
  readonly end: Date;
}

/** False when the source has `windowsMax` windows that are not over. The source is locked. */
export async function insertMaintenance(
  tx: Transaction,
  { maintenanceId, sourceId, start, end }: Maintenance,
  now: Date,
  windowsMax: number,
): Promise<boolean> {
  return (await tx.query(insertWindow(maintenanceId, sourceId, start, end, now, windowsMax))).rowCount === 1;
}

/** The source whose window it was; undefined when there is no such window. */
export async function deleteMaintenance(tx: Transaction, maintenanceId: string): Promise<string | undefined> {
  return (await tx.query<{ sourceId: string }>(deleteWindow(maintenanceId))).rows[0]?.sourceId;
}

export async function purgeMaintenance(db: Queryable, before: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeWindows(before, batchMax))).rowCount;
}

export interface NewTester {
  readonly testerId: string;
  readonly name: string;
  readonly uscc: string;
  readonly publicKey: Buffer;
  readonly registeredBy: string;
}

/** False when its id or key is registered. */
export async function insertTester(tx: Transaction, tester: NewTester, now: Date): Promise<boolean> {
  const { testerId, name, uscc, publicKey, registeredBy } = tester;
  return (await tx.query(insertTesterRow(testerId, name, uscc, publicKey, registeredBy, now))).rowCount === 1;
}

export interface Tester {
  readonly uscc: string;
  readonly publicKey: Buffer;
  readonly revokedAt: Date | null;
}

export async function findTester(db: Queryable, testerId: string): Promise<Tester | undefined> {
  return (await db.query<{ [K in keyof Tester]: Tester[K] }>(selectTester(testerId))).rows[0];
}

/** Revokes a tester, once. False when it was revoked before. */
export async function revokeTester(
  tx: Transaction,
  testerId: string,
  by: { readonly operatorId: string; readonly reasonCode: string; readonly now: Date },
): Promise<boolean> {
  return (await tx.query(revokeTesterRow(testerId, by.operatorId, by.now, by.reasonCode))).rowCount === 1;
}

/** The sources with a report of this tester that says passed and is not past its time, by id. */
export async function sourcesTestedBy(db: Queryable, testerId: string, now: Date): Promise<Source[]> {
  return (await db.query<Row>(selectRestingOn(testerId, now))).rows;
}

export async function beginTest(
  tx: Transaction,
  test: { readonly nonce: Buffer; readonly sourceId: string; readonly kind: TestKind; readonly expireAt: Date },
): Promise<void> {
  await tx.query(insertTest(test.nonce, test.sourceId, test.kind, test.expireAt));
}

export interface ReportedTest {
  readonly nonce: Buffer;
  readonly sourceId: string;
  readonly testerId: string;
  readonly reportSha256: Buffer;
  readonly signature: Buffer;
  readonly passed: boolean;
  readonly reportedAt: Date;
  readonly validUntil: Date;
}

/** Puts the report on file. Undefined when no test of the source waits under its nonce. */
export async function reportTest(tx: Transaction, test: ReportedTest): Promise<TestKind | undefined> {
  const { nonce, sourceId, testerId, reportSha256, signature, passed, reportedAt, validUntil } = test;
  const row = reportRow(nonce, sourceId, testerId, reportSha256, signature, passed, reportedAt, validUntil);
  return (await tx.query<{ kind: TestKind }>(row)).rows[0]?.kind;
}

/** The newest report of each kind. */
export async function newestTests(db: Queryable, sourceId: string): Promise<TestResult[]> {
  return (await db.query<{ [K in keyof TestResult]: TestResult[K] }>(selectNewest(sourceId))).rows;
}

/** Removes tests that nobody has reported in time. */
export async function purgeSourceTests(db: Queryable, before: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeTests(before, batchMax))).rowCount;
}
