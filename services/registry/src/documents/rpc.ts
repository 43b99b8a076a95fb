/** The archive of real-name evidence, read by account: with the role and a purpose, recorded each time (SZ-4.5). */
import { createHash } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ArchiveService, GetDocumentRequest, ListDocumentsRequest } from "@fujie/api/fujie/registry/v1/archive";
import { DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import { transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { findAccount } from "../accounts/store.ts";
import type { Context } from "../context.ts";
import { requireOperator } from "../operators/acting.ts";
import { recordingRefusals } from "../refusals.ts";
import { openForSubject } from "../subjects/vault.ts";
import { type ArchivedDocument, findDocument, listDocuments } from "./store.ts";

const SCOPE = "registry.archive.read";

export function archiveService(context: Context) {
  return {
    listDocuments: recordingRefusals(context, "document.listed", (request, call) => list(context, request, call)),
    getDocument: recordingRefusals(context, "document.read", (request, call) => get(context, request, call)),
  } satisfies ServiceImpl<typeof ArchiveService>;
}

async function list(context: Context, { accountId, purpose }: ListDocumentsRequest, call: HandlerContext) {
  await requireOperator(context, call, SCOPE);
  requirePurpose(purpose);
  return transaction(context.db, async (tx) => {
    if ((await findAccount(tx, accountId)) === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
    const documents = await listDocuments(tx, accountId);
    const details = { document_ids: documents.map(({ documentId }) => documentId).join(" ") };
    const event = { type: "document.listed", outcome: "SUCCESS", subject: accountId, purpose, details } as const;
    await recordEvent(context, tx, call, event);
    return { documents: documents.map(describe) };
  });
}

/** The record of the read commits before the bytes leave. */
async function get(context: Context, { documentId, purpose }: GetDocumentRequest, call: HandlerContext) {
  const { db, ring } = context;
  await requireOperator(context, call, SCOPE);
  requirePurpose(purpose);
  return transaction(db, async (tx) => {
    const document = await findDocument(tx, documentId);
    if (document === undefined) throw new DomainError("DOCUMENT_NOT_FOUND");
    const { subjectId: subject, contentSealed, sha256 } = document;
    const content = await openForSubject(tx, ring, subject, `document:${documentId}`, contentSealed);
    if (content === undefined) throw new DomainError("DOCUMENT_NOT_FOUND");
    if (!createHash("sha256").update(content).digest().equals(sha256)) {
      throw new Error(`document ${documentId} is not what was archived`);
    }
    const details = { document_id: documentId, registration_id: document.registrationId };
    const event = { type: "document.read", outcome: "SUCCESS", subject, purpose, details, digest: sha256 } as const;
    await recordEvent(context, tx, call, event);
    return { document: describe(document), content };
  });
}

function requirePurpose(purpose: string): void {
  if (purpose === "") throw fieldError("PURPOSE_REQUIRED", "purpose", "is empty");
}

function describe(document: Omit<ArchivedDocument, "contentSealed">) {
  const { documentId, registrationId, type, mediaType, sha256, operatorId, archivedAt } = document;
  return {
    documentId,
    registrationId,
    type: typeOf(type),
    mediaType,
    sha256: new Uint8Array(sha256),
    operatorId,
    archiveTime: timestampFromDate(archivedAt),
  };
}

function typeOf(name: string): DocumentType {
  if (name === "IDENTITY_DOCUMENT" || name === "PERSON_WITH_DOCUMENT") return DocumentType[name];
  return DocumentType.OTHER;
}
