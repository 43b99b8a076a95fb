import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

/** A sealed document of the archive. It is readable as long as its subject's key exists. */
export interface ArchivedDocument {
  readonly documentId: string;
  readonly registrationId: string;
  readonly subjectId: string;
  readonly type: string;
  readonly mediaType: string;
  readonly sha256: Uint8Array;
  readonly contentSealed: Buffer;
  readonly operatorId: string;
  readonly archivedAt: Date;
}

const insertRow = statement(
  "document.insert",
  `INSERT INTO document (document_id, registration_id, subject_id, type, media_type, sha256, content_sealed,
     operator_id, archived_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
);
const countOfRegistration = statement(
  "document.count",
  `SELECT count(*)::integer AS found FROM document WHERE registration_id = $1 AND document_id = ANY ($2::uuid[])`,
);
const countAll = statement(
  "document.count-all",
  `SELECT count(*)::integer AS found FROM document WHERE registration_id = $1`,
);

const COLUMNS = `d.document_id AS "documentId", d.registration_id AS "registrationId", d.subject_id AS "subjectId",
  d.type, d.media_type AS "mediaType", d.sha256, d.operator_id AS "operatorId", d.archived_at AS "archivedAt"`;
const listOfAccount = statement(
  "document.of-account",
  `SELECT ${COLUMNS} FROM document d WHERE d.subject_id = $1 ORDER BY d.archived_at, d.document_id`,
);
const selectRow = statement(
  "document.find",
  `SELECT ${COLUMNS}, d.content_sealed AS "contentSealed" FROM document d WHERE d.document_id = $1`,
);

/** The account's documents without their bytes, oldest first. */
export async function listDocuments(
  db: Queryable,
  accountId: string,
): Promise<Omit<ArchivedDocument, "contentSealed">[]> {
  type Row = { [K in Exclude<keyof ArchivedDocument, "contentSealed">]: ArchivedDocument[K] };
  return (await db.query<Row>(listOfAccount(accountId))).rows;
}

export async function findDocument(db: Queryable, documentId: string): Promise<ArchivedDocument | undefined> {
  type Row = { [K in keyof ArchivedDocument]: ArchivedDocument[K] };
  return (await db.query<Row>(selectRow(documentId))).rows[0];
}

export async function insertDocument(tx: Transaction, document: ArchivedDocument): Promise<void> {
  const { documentId, registrationId, subjectId, type, mediaType, sha256, contentSealed } = document;
  const { operatorId, archivedAt } = document;
  const what = [type, mediaType, Buffer.from(sha256), contentSealed];
  await tx.query(insertRow(documentId, registrationId, subjectId, ...what, operatorId, archivedAt));
}

/** Whether every one of these documents, told once each, belongs to the registration. */
export async function areDocumentsOf(db: Queryable, registrationId: string, ids: readonly string[]): Promise<boolean> {
  const { rows } = await db.query<{ found: number }>(countOfRegistration(registrationId, ids));
  return rows[0]?.found === ids.length;
}

export async function countDocuments(db: Queryable, registrationId: string): Promise<number> {
  return (await db.query<{ found: number }>(countAll(registrationId))).rows[0]?.found ?? 0;
}
