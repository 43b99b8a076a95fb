import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

export interface IncidentRow {
  readonly incidentId: string;
  readonly kind: string;
  readonly drill: boolean;
  readonly detectedAtMs: number;
  readonly openedAtMs: number;
  readonly openedBy: string;
  readonly wrapped: Buffer;
  readonly summarySealed: Buffer;
  /** The highest level that was recorded. */
  readonly escalation: number;
  /** When the authority's receipt of the report came. */
  readonly receivedAtMs: number | null;
}

export interface EvidenceRow {
  readonly evidenceId: string;
  readonly incidentId: string;
  readonly frozenAtMs: number;
  readonly frozenBy: string;
  readonly entries: number;
  readonly digest: Buffer;
}

export interface ReportRow {
  readonly incidentId: string;
  readonly revision: number;
  readonly submittedAtMs: number;
  readonly submittedBy: string;
  readonly digest: Buffer;
  readonly documentSealed: Buffer;
  readonly keyId: string;
  readonly signature: Buffer;
}

export interface ReceiptRow {
  readonly incidentId: string;
  readonly revision: number;
  readonly receivedAtMs: number;
  readonly signed: boolean;
  readonly digest: Buffer;
  readonly answer: Buffer;
}

type Row<T> = { [K in keyof T]: T[K] };

const INCIDENT = `i.incident_id AS "incidentId", i.kind, i.drill, i.detected_at_ms::float8 AS "detectedAtMs",
  i.opened_at_ms::float8 AS "openedAtMs", i.opened_by AS "openedBy", i.wrapped, i.summary_sealed AS "summarySealed",
  coalesce((SELECT max(level) FROM audit.incident_escalation e WHERE e.incident_id = i.incident_id), 0)::int
    AS escalation,
  (SELECT received_at_ms::float8 FROM audit.incident_receipt r WHERE r.incident_id = i.incident_id AND r.revision = 1)
    AS "receivedAtMs"`;

const insertIncidentRow = statement(
  "incident.insert",
  `INSERT INTO audit.incident
     (incident_id, kind, drill, detected_at_ms, opened_at_ms, opened_by, wrapped, summary_sealed)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
);
const selectIncident = statement("incident.find", `SELECT ${INCIDENT} FROM audit.incident i WHERE i.incident_id = $1`);
const selectPage = statement(
  "incident.page",
  `SELECT ${INCIDENT} FROM audit.incident i WHERE i.incident_id < $1 ORDER BY i.incident_id DESC LIMIT $2`,
);
const selectRunning = statement(
  "incident.running",
  `SELECT ${INCIDENT} FROM audit.incident i
   WHERE NOT EXISTS (SELECT FROM audit.incident_receipt r WHERE r.incident_id = i.incident_id AND r.revision = 1)
   ORDER BY i.detected_at_ms LIMIT $1`,
);
const insertEscalationRow = statement(
  "incident.escalate",
  `INSERT INTO audit.incident_escalation (incident_id, level, reached_at_ms) VALUES ($1, $2, $3)
   ON CONFLICT DO NOTHING`,
);
const insertEvidenceRow = statement(
  "incident.freeze",
  `INSERT INTO audit.incident_evidence (evidence_id, incident_id, frozen_at_ms, frozen_by, entries, digest, bundle)
   VALUES ($1, $2, $3, $4, $5, $6, $7)`,
);
const EVIDENCE = `evidence_id AS "evidenceId", incident_id AS "incidentId", frozen_at_ms::float8 AS "frozenAtMs",
  frozen_by AS "frozenBy", entries, digest`;
const selectEvidence = statement(
  "incident.evidence",
  `SELECT ${EVIDENCE} FROM audit.incident_evidence WHERE incident_id = $1 ORDER BY evidence_id LIMIT 1000`,
);
const selectBundle = statement(
  "incident.bundle",
  `SELECT ${EVIDENCE}, bundle FROM audit.incident_evidence WHERE evidence_id = $1`,
);
const insertReportRow = statement(
  "incident.report",
  `INSERT INTO audit.incident_report
     (incident_id, revision, submitted_at_ms, submitted_by, digest, document_sealed, key_id, signature)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
);
const insertDeliveryRow = statement(
  "incident.deliver",
  `INSERT INTO audit.incident_delivery (incident_id, revision, next_attempt_at_ms) VALUES ($1, $2, $3)`,
);
const lockIncidentRow = statement(
  "incident.lock",
  `SELECT pg_advisory_xact_lock(hashtextextended('incident/' || $1, 0))`,
);
const countReports = statement(
  "incident.revisions",
  `SELECT count(*)::int AS revisions FROM audit.incident_report WHERE incident_id = $1`,
);
const REPORT = `p.incident_id AS "incidentId", p.revision, p.submitted_at_ms::float8 AS "submittedAtMs",
  p.submitted_by AS "submittedBy", p.digest, p.document_sealed AS "documentSealed", p.key_id AS "keyId", p.signature`;
const selectReports = statement(
  "incident.reports",
  `SELECT ${REPORT}, d.attempts FROM audit.incident_report p
   JOIN audit.incident_delivery d USING (incident_id, revision) WHERE p.incident_id = $1 ORDER BY p.revision`,
);
const selectReceipts = statement(
  "incident.receipts",
  `SELECT incident_id AS "incidentId", revision, received_at_ms::float8 AS "receivedAtMs", signed, digest, answer
   FROM audit.incident_receipt WHERE incident_id = $1`,
);
// An amendment never overtakes what it amends. The claim lasts until the time it sets for the next attempt.
const claimDeliveries = statement(
  "incident.claim-deliveries",
  `UPDATE audit.incident_delivery d SET attempts = attempts + 1, next_attempt_at_ms = $2
   WHERE (d.incident_id, d.revision) IN (
     SELECT incident_id, revision FROM audit.incident_delivery w WHERE NOT delivered AND next_attempt_at_ms <= $1
       AND NOT EXISTS (SELECT FROM audit.incident_delivery earlier WHERE earlier.incident_id = w.incident_id
         AND earlier.revision < w.revision AND NOT earlier.delivered)
     ORDER BY next_attempt_at_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
   RETURNING d.incident_id AS "incidentId", d.revision, d.attempts`,
);
const postponeDelivery = statement(
  "incident.postpone",
  `UPDATE audit.incident_delivery SET next_attempt_at_ms = $3 WHERE incident_id = $1 AND revision = $2`,
);
const finishDelivery = statement(
  "incident.delivered",
  `UPDATE audit.incident_delivery SET delivered = true WHERE incident_id = $1 AND revision = $2 AND NOT delivered`,
);
const insertReceiptRow = statement(
  "incident.receipt",
  `INSERT INTO audit.incident_receipt (incident_id, revision, received_at_ms, signed, digest, answer)
   VALUES ($1, $2, $3, $4, $5, $6)`,
);

export async function insertIncident(
  tx: Transaction,
  row: Omit<IncidentRow, "escalation" | "receivedAtMs">,
): Promise<void> {
  const { incidentId, kind, drill, detectedAtMs, openedAtMs, openedBy, wrapped, summarySealed } = row;
  await tx.query(
    insertIncidentRow(incidentId, kind, drill, detectedAtMs, openedAtMs, openedBy, wrapped, summarySealed),
  );
}

export async function findIncident(db: Queryable, incidentId: string): Promise<IncidentRow | undefined> {
  return (await db.query<Row<IncidentRow>>(selectIncident(incidentId))).rows[0];
}

/** Newest first, before the given id. */
export async function pageIncidents(db: Queryable, before: string, limit: number): Promise<IncidentRow[]> {
  return (await db.query<Row<IncidentRow>>(selectPage(before, limit))).rows;
}

/** Incidents whose clock runs: no receipt of their report yet. The oldest detection first. */
export async function runningIncidents(db: Queryable, limit: number): Promise<IncidentRow[]> {
  return (await db.query<Row<IncidentRow>>(selectRunning(limit))).rows;
}

/** False when the level was reached before. */
export async function insertEscalation(
  tx: Transaction,
  incidentId: string,
  level: number,
  atMs: number,
): Promise<boolean> {
  return (await tx.query(insertEscalationRow(incidentId, level, atMs))).rowCount === 1;
}

export async function insertEvidence(tx: Transaction, row: EvidenceRow, bundle: Buffer): Promise<void> {
  const { evidenceId, incidentId, frozenAtMs, frozenBy, entries, digest } = row;
  await tx.query(insertEvidenceRow(evidenceId, incidentId, frozenAtMs, frozenBy, entries, digest, bundle));
}

export async function evidenceOf(db: Queryable, incidentId: string): Promise<EvidenceRow[]> {
  return (await db.query<Row<EvidenceRow>>(selectEvidence(incidentId))).rows;
}

export async function findBundle(
  db: Queryable,
  evidenceId: string,
): Promise<(EvidenceRow & { readonly bundle: Buffer }) | undefined> {
  return (await db.query<Row<EvidenceRow> & { bundle: Buffer }>(selectBundle(evidenceId))).rows[0];
}

/** Lets one transaction at a time add a revision, and tells how many there are. */
export async function lockRevisions(tx: Transaction, incidentId: string): Promise<number> {
  await tx.query(lockIncidentRow(incidentId));
  return (await tx.query<{ revisions: number }>(countReports(incidentId))).rows[0]?.revisions ?? 0;
}

/** Keeps the report and puts its delivery on the list, due at once. */
export async function insertReport(tx: Transaction, row: ReportRow): Promise<void> {
  const { incidentId, revision, submittedAtMs, submittedBy, digest, documentSealed, keyId, signature } = row;
  await tx.query(
    insertReportRow(incidentId, revision, submittedAtMs, submittedBy, digest, documentSealed, keyId, signature),
  );
  await tx.query(insertDeliveryRow(incidentId, revision, submittedAtMs));
}

export async function reportsOf(
  db: Queryable,
  incidentId: string,
): Promise<(ReportRow & { readonly attempts: number })[]> {
  return (await db.query<Row<ReportRow> & { attempts: number }>(selectReports(incidentId))).rows;
}

export async function receiptsOf(db: Queryable, incidentId: string): Promise<ReceiptRow[]> {
  return (await db.query<Row<ReceiptRow>>(selectReceipts(incidentId))).rows;
}

export interface ClaimedDelivery {
  readonly incidentId: string;
  readonly revision: number;
  /** This one included. */
  readonly attempts: number;
}

/** Takes deliveries that are due; nobody else takes them before `untilMs`. */
export async function takeDeliveries(
  db: Queryable,
  nowMs: number,
  untilMs: number,
  limit: number,
): Promise<ClaimedDelivery[]> {
  return (await db.query<Row<ClaimedDelivery>>(claimDeliveries(nowMs, untilMs, limit))).rows;
}

export async function postpone(db: Queryable, { incidentId, revision }: ClaimedDelivery, atMs: number): Promise<void> {
  await db.query(postponeDelivery(incidentId, revision, atMs));
}

/** Keeps the proof of the delivery. False when it was delivered before. */
export async function insertReceipt(tx: Transaction, row: ReceiptRow): Promise<boolean> {
  const { incidentId, revision, receivedAtMs, signed, digest, answer } = row;
  if ((await tx.query(finishDelivery(incidentId, revision))).rowCount === 0) return false;
  await tx.query(insertReceiptRow(incidentId, revision, receivedAtMs, signed, digest, answer));
  return true;
}
