import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { AssessmentKindName } from "./rules.ts";

export interface Assessment {
  readonly assessmentId: string;
  readonly kind: AssessmentKindName;
  readonly dateMs: number;
  readonly recordedAtMs: number;
  readonly recordedBy: string;
  readonly passed: boolean;
  readonly highFindings: number;
  readonly mediumFindings: number;
  readonly lowFindings: number;
  readonly documentSha256: Uint8Array;
}

type Row = { [K in keyof Assessment]: Assessment[K] };

const COLUMNS = `a.assessment_id AS "assessmentId", a.kind, a.date_ms::float8 AS "dateMs",
  a.recorded_at_ms::float8 AS "recordedAtMs", a.recorded_by AS "recordedBy", a.passed,
  a.high_findings AS "highFindings", a.medium_findings AS "mediumFindings", a.low_findings AS "lowFindings",
  a.document_sha256 AS "documentSha256"`;
const insertRow = statement(
  "assessment.insert",
  `INSERT INTO audit.assessment (assessment_id, kind, date_ms, recorded_at_ms, recorded_by, passed, high_findings,
     medium_findings, low_findings, document_sha256)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
);
const selectLast = statement(
  "assessment.last",
  `SELECT DISTINCT ON (kind) kind, date_ms::float8 AS "dateMs" FROM audit.assessment ORDER BY kind, date_ms DESC`,
);
const WAITS = `(a.high_findings > 0 OR a.medium_findings > 0)
  AND NOT EXISTS (SELECT FROM audit.assessment_remediation r WHERE r.assessment_id = a.assessment_id)`;
const selectOpen = statement(
  "assessment.open",
  `SELECT ${COLUMNS} FROM audit.assessment a WHERE ${WAITS} ORDER BY a.date_ms LIMIT 1000`,
);
const selectRow = statement(
  "assessment.find",
  `SELECT ${COLUMNS}, ${WAITS} AS open FROM audit.assessment a WHERE a.assessment_id = $1`,
);
const insertRemediationRow = statement(
  "assessment.remedy",
  `INSERT INTO audit.assessment_remediation (assessment_id, recorded_at_ms, recorded_by, document_sha256)
   VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
);

export async function insertAssessment(tx: Transaction, row: Assessment): Promise<void> {
  const { assessmentId, kind, dateMs, recordedAtMs, recordedBy, passed, highFindings } = row;
  const { mediumFindings, lowFindings, documentSha256 } = row;
  await tx.query(
    insertRow(
      ...[assessmentId, kind, dateMs, recordedAtMs, recordedBy, passed],
      ...[highFindings, mediumFindings, lowFindings, Buffer.from(documentSha256)],
    ),
  );
}

/** When each kind took place last. */
export async function lastDates(db: Queryable): Promise<ReadonlyMap<AssessmentKindName, number>> {
  const { rows } = await db.query<{ kind: AssessmentKindName; dateMs: number }>(selectLast());
  return new Map(rows.map(({ kind, dateMs }) => [kind, dateMs]));
}

/** Assessments whose high or medium findings are not put right, the oldest first. */
export async function openAssessments(db: Queryable): Promise<Assessment[]> {
  return (await db.query<Row>(selectOpen())).rows;
}

export async function findAssessment(
  db: Queryable,
  assessmentId: string,
): Promise<(Assessment & { readonly open: boolean }) | undefined> {
  return (await db.query<Row & { open: boolean }>(selectRow(assessmentId))).rows[0];
}

/** False when it was put right before. */
export async function insertRemediation(
  tx: Transaction,
  assessmentId: string,
  recordedAtMs: number,
  recordedBy: string,
  documentSha256: Uint8Array,
): Promise<boolean> {
  const row = insertRemediationRow(assessmentId, recordedAtMs, recordedBy, Buffer.from(documentSha256));
  return (await tx.query(row)).rowCount === 1;
}
