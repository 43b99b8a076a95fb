import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import { type EvidenceRecord, evidenceMacInput } from "./rules.ts";

const insertRow = statement(
  "evidence.insert",
  `INSERT INTO evidence (subject_id, evidence_id, source_id, level, checked_at, mac) VALUES ($1, $2, $3, $4, $5, $6)
   ON CONFLICT (subject_id, evidence_id) DO NOTHING`,
);
const selectOfSubject = statement(
  "evidence.of-subject",
  `SELECT subject_id AS "subjectId", evidence_id AS "evidenceId", source_id AS "sourceId", level,
     checked_at AS "checkedAt", mac
   FROM evidence WHERE subject_id = $1 ORDER BY checked_at, evidence_id LIMIT 100`,
);

/** Keeps evidence with a MAC over it. The same evidence twice is once. */
export async function insertEvidence(
  tx: Transaction,
  ring: Pick<KeyRing, "hmac">,
  records: readonly EvidenceRecord[],
): Promise<void> {
  for (const record of records) {
    const { subjectId, evidenceId, sourceId, level, checkedAt } = record;
    const mac = ring.hmac("evidence", evidenceMacInput(record)).digest;
    await tx.query(insertRow(subjectId, evidenceId, sourceId, level, checkedAt, mac));
  }
}

/** The subject's evidence, oldest first. A row whose MAC does not fit was written by somebody else and counts nothing. */
export async function findEvidence(
  db: Queryable,
  ring: Pick<KeyRing, "hmacMatches">,
  subjectId: string,
): Promise<EvidenceRecord[]> {
  const { rows } = await db.query<{ [K in keyof EvidenceRecord]: EvidenceRecord[K] } & { mac: Buffer }>(
    selectOfSubject(subjectId),
  );
  return rows
    .filter(({ mac, ...record }) => ring.hmacMatches("evidence", evidenceMacInput(record), mac))
    .map(({ mac: _mac, ...record }) => record);
}
