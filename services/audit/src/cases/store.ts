import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { CaseScopeName } from "./rules.ts";

export interface CaseRow {
  readonly caseId: string;
  readonly openedAtMs: number;
  readonly openedBy: string;
  readonly authority: string;
  readonly documentNumber: string;
  readonly documentSha256: Buffer;
  readonly accountId: string;
  readonly scopes: readonly CaseScopeName[];
  readonly periodStartMs: number | null;
  readonly periodEndMs: number | null;
  readonly approved: boolean | null;
  readonly decidedAtMs: number | null;
  readonly decidedBy: string | null;
}

type Row = { [K in keyof CaseRow]: CaseRow[K] };

const CASE = `c.case_id AS "caseId", c.opened_at_ms::float8 AS "openedAtMs", c.opened_by AS "openedBy", c.authority,
  c.document_number AS "documentNumber", c.document_sha256 AS "documentSha256", c.account_id AS "accountId", c.scopes,
  c.period_start_ms::float8 AS "periodStartMs", c.period_end_ms::float8 AS "periodEndMs", d.approved,
  d.decided_at_ms::float8 AS "decidedAtMs", d.decided_by AS "decidedBy"
  FROM audit.assistance_case c LEFT JOIN audit.case_decision d USING (case_id)`;
const insertRow = statement(
  "case.insert",
  `INSERT INTO audit.assistance_case (case_id, opened_at_ms, opened_by, authority, document_number, document_sha256,
     wrapped, document_sealed, account_id, scopes, period_start_ms, period_end_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
);
const selectRow = statement("case.find", `SELECT ${CASE} WHERE c.case_id = $1`);
const selectPage = statement("case.page", `SELECT ${CASE} WHERE c.case_id < $1 ORDER BY c.case_id DESC LIMIT $2`);
const selectDocument = statement(
  "case.document",
  `SELECT wrapped, document_sealed AS "documentSealed" FROM audit.assistance_case WHERE case_id = $1`,
);
const insertDecisionRow = statement(
  "case.decide",
  `INSERT INTO audit.case_decision (case_id, decided_at_ms, decided_by, approved) VALUES ($1, $2, $3, $4)
   ON CONFLICT DO NOTHING`,
);
const insertReleaseRow = statement(
  "case.release",
  `INSERT INTO audit.case_release (release_id, case_id, released_at_ms, released_by, entries, digest)
   VALUES ($1, $2, $3, $4, $5, $6)`,
);

export interface SealedDocument {
  readonly wrapped: Buffer;
  readonly documentSealed: Buffer;
}

export async function insertCase(
  tx: Transaction,
  row: Omit<CaseRow, "approved" | "decidedAtMs" | "decidedBy">,
  { wrapped, documentSealed }: SealedDocument,
): Promise<void> {
  const { caseId, openedAtMs, openedBy, authority, documentNumber, documentSha256, accountId, scopes } = row;
  await tx.query(
    insertRow(
      ...[caseId, openedAtMs, openedBy, authority, documentNumber, documentSha256, wrapped, documentSealed],
      ...[accountId, scopes, row.periodStartMs, row.periodEndMs],
    ),
  );
}

export async function findCase(db: Queryable, caseId: string): Promise<CaseRow | undefined> {
  return (await db.query<Row>(selectRow(caseId))).rows[0];
}

/** Newest first, before the given id. */
export async function pageCases(db: Queryable, before: string, limit: number): Promise<CaseRow[]> {
  return (await db.query<Row>(selectPage(before, limit))).rows;
}

export async function findDocument(db: Queryable, caseId: string): Promise<SealedDocument | undefined> {
  return (await db.query<{ wrapped: Buffer; documentSealed: Buffer }>(selectDocument(caseId))).rows[0];
}

/** False when it was decided before. */
export async function insertDecision(
  tx: Transaction,
  caseId: string,
  decidedAtMs: number,
  decidedBy: string,
  approved: boolean,
): Promise<boolean> {
  return (await tx.query(insertDecisionRow(caseId, decidedAtMs, decidedBy, approved))).rowCount === 1;
}

export interface Release {
  readonly releaseId: string;
  readonly caseId: string;
  readonly releasedAtMs: number;
  readonly releasedBy: string;
  readonly entries: number;
  readonly digest: Buffer;
}

export async function insertRelease(tx: Transaction, release: Release): Promise<void> {
  const { releaseId, caseId, releasedAtMs, releasedBy, entries, digest } = release;
  await tx.query(insertReleaseRow(releaseId, caseId, releasedAtMs, releasedBy, entries, digest));
}
