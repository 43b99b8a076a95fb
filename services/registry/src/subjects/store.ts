import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { VersionedDigest } from "@fujie/kit/keys";

export type IdentifierKind = "citizen-id" | "uscc" | "login-name";

export interface SealedSubject {
  readonly subjectId: string;
  readonly kind: "person" | "organisation";
  readonly identifierSealed: Buffer;
  readonly nameSealed: Buffer;
  readonly loginNameSealed: Buffer | null;
  readonly wrapped: Buffer;
}

const insertSubjectRow = statement(
  "subject.insert",
  `INSERT INTO subject (subject_id, kind, identifier_sealed, name_sealed, login_name_sealed)
   VALUES ($1, $2, $3, $4, $5)`,
);
const insertKey = statement("subject.insert-key", `INSERT INTO subject_key (subject_id, wrapped) VALUES ($1, $2)`);
const selectSubjects = statement(
  "subject.find",
  `SELECT subject_id AS "subjectId", kind, identifier_sealed AS "identifierSealed", name_sealed AS "nameSealed",
     login_name_sealed AS "loginNameSealed", wrapped
   FROM subject JOIN subject_key USING (subject_id) WHERE subject_id = ANY ($1::uuid[])`,
);
const insertDigests = statement(
  "subject.claim",
  `INSERT INTO identifier_digest (kind, version, digest, subject_id)
   SELECT $1, version, digest, $4 FROM unnest($2::integer[], $3::bytea[]) AS d (version, digest)
   ON CONFLICT (kind, version, digest) DO NOTHING`,
);
const selectByDigests = statement(
  "subject.by-digest",
  `SELECT subject_id AS "subjectId" FROM identifier_digest
   WHERE kind = $1 AND (version, digest) IN (SELECT * FROM unnest($2::integer[], $3::bytea[])) LIMIT 1`,
);
const deleteDigests = statement("subject.release", `DELETE FROM identifier_digest WHERE subject_id = $1`);
const deletePairwise = statement("subject.forget-pairwise", `DELETE FROM pairwise_subject WHERE subject_id = $1`);
const scheduleErasure = statement("subject.schedule-erasure", `UPDATE subject SET erase_at = $2 WHERE subject_id = $1`);
const eraseDue = statement(
  "subject.erase",
  `WITH due AS (
     SELECT subject_id FROM subject WHERE erase_at <= $1 ORDER BY erase_at LIMIT $2 FOR UPDATE SKIP LOCKED
   ), forgotten AS (
     DELETE FROM subject_key k USING due WHERE k.subject_id = due.subject_id
   ), shredded AS (
     DELETE FROM document d USING due WHERE d.subject_id = due.subject_id
   )
   UPDATE subject s SET erase_at = NULL FROM due WHERE s.subject_id = due.subject_id RETURNING s.subject_id`,
);
const insertPairwise = statement(
  "subject.insert-pairwise",
  `INSERT INTO pairwise_subject (subject_id, sector, pairwise_id) VALUES ($1, $2, $3)
   ON CONFLICT (subject_id, sector) DO NOTHING`,
);
const selectPairwise = statement(
  "subject.find-pairwise",
  `SELECT pairwise_id AS "pairwiseId" FROM pairwise_subject WHERE subject_id = $1 AND sector = $2`,
);
const lockDigest = statement(
  "subject.lock-identifier",
  `SELECT pg_advisory_xact_lock(hashtextextended('identifier/' || encode($1, 'hex'), 0))`,
);

export async function insertSubject(tx: Transaction, subject: SealedSubject): Promise<void> {
  const { subjectId, kind, identifierSealed, nameSealed, loginNameSealed, wrapped } = subject;
  await tx.query(insertSubjectRow(subjectId, kind, identifierSealed, nameSealed, loginNameSealed));
  await tx.query(insertKey(subjectId, wrapped));
}

/** Those of the subjects whose key still exists. */
export async function findSubjects(db: Queryable, ids: readonly string[]): Promise<SealedSubject[]> {
  return (await db.query<{ [K in keyof SealedSubject]: SealedSubject[K] }>(selectSubjects(ids))).rows;
}

/** Takes the identifier's one slot in every live key version. False when somebody holds it. */
export async function claimIdentifier(
  tx: Transaction,
  kind: IdentifierKind,
  digests: readonly VersionedDigest[],
  subjectId: string,
): Promise<boolean> {
  const { rowCount } = await tx.query(insertDigests(kind, ...columnsOf(digests), subjectId));
  return rowCount === digests.length;
}

export async function findSubjectByDigest(
  db: Queryable,
  kind: IdentifierKind,
  digests: readonly VersionedDigest[],
): Promise<string | undefined> {
  const { rows } = await db.query<{ subjectId: string }>(selectByDigests(kind, ...columnsOf(digests)));
  return rows[0]?.subjectId;
}

/** Gives the subject's identifiers and pairwise ids free. The account or organisation must have ended before. */
export async function releaseIdentifiers(tx: Transaction, subjectId: string): Promise<void> {
  await tx.query(deleteDigests(subjectId));
  await tx.query(deletePairwise(subjectId));
}

export async function eraseSubjectAt(tx: Transaction, subjectId: string, at: Date): Promise<void> {
  await tx.query(scheduleErasure(subjectId, at));
}

/** Destroys the keys, and with them the archive, of at most `batchMax` subjects whose time is over; says whose. */
export async function eraseDueSubjects(tx: Transaction, now: Date, batchMax: number): Promise<string[]> {
  return (await tx.query<{ subject_id: string }>(eraseDue(now, batchMax))).rows.map((row) => row.subject_id);
}

/** Keeps the candidate as the subject's pairwise id in the sector, unless it has one already; returns the one kept. */
export async function keepPairwiseId(
  tx: Transaction,
  subjectId: string,
  sector: string,
  candidate: string,
): Promise<string> {
  await tx.query(insertPairwise(subjectId, sector, candidate));
  const { rows } = await tx.query<{ pairwiseId: string }>(selectPairwise(subjectId, sector));
  if (rows[0] === undefined) throw new Error("a pairwise id vanished");
  return rows[0].pairwiseId;
}

/** Lets one transaction at a time decide about an identifier, so that two that each know a part don't deadlock. */
export async function lockIdentifier(tx: Transaction, digests: readonly VersionedDigest[]): Promise<void> {
  const oldest = digests.at(-1);
  if (oldest !== undefined) await tx.query(lockDigest(oldest.digest));
}

/** Digests as two parallel columns, for unnest. */
export function columnsOf(digests: readonly VersionedDigest[]): [versions: number[], digests: Buffer[]] {
  return [digests.map(({ version }) => version), digests.map(({ digest }) => digest)];
}
