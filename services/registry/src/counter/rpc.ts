import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ArchiveDocumentRequest,
  ArchiveDocumentRequestSchema,
  ArchiveDocumentResponseSchema,
  type CounterService,
  DocumentType,
  type FindRegistrationsRequest,
} from "@fujie/api/fujie/registry/v1/counter";
import { RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import type { Context } from "../context.ts";
import { beginsLike } from "../documents/rules.ts";
import { countDocuments, insertDocument } from "../documents/store.ts";
import { requireOperator } from "../operators/acting.ts";
import { recordingRefusals } from "../refusals.ts";
import { dayInChina, isOpen, readCitizenId } from "../registrations/rules.ts";
import { findOpenRegistrations, lockRegistration } from "../registrations/store.ts";
import { identifierDigests, openIdentities, sealForSubject } from "../subjects/vault.ts";
import { decideRegistration } from "./decide.ts";
import { issueAgain } from "./issue.ts";

const SCOPE = "registry.counter";
const FOUND_MAX = 20;
/** Per registration: enough for any check, too few to fill a disk. */
const DOCUMENTS_MAX = 20;

export function counterService(context: Context) {
  return {
    findRegistrations: recordingRefusals(context, "counter.searched", (request, call) =>
      findRegistrations(context, request, call),
    ),
    archiveDocument: recordingRefusals(context, "document.archived", (request, call) =>
      archiveDocument(context, request, call),
    ),
    decideRegistration: recordingRefusals(context, "registration.decided", (request, call) =>
      decideRegistration(context, request, call),
    ),
    issueEnrolment: recordingRefusals(context, "enrolment.issued", (request, call) =>
      issueAgain(context, request, call),
    ),
  } satisfies ServiceImpl<typeof CounterService>;
}

async function findRegistrations(context: Context, request: FindRegistrationsRequest, call: HandlerContext) {
  const { db, ring, clock, environment } = context;
  const operator = await requireOperator(context, call, SCOPE);
  const options = { today: dayInChina(clock.nowMs()), allowFictional: environment === "sandbox" };
  const digests = identifierDigests(ring, "citizen-id", readCitizenId(request.citizenId, options).number);
  const found = await findOpenRegistrations(db, digests, new Date(clock.nowMs()), FOUND_MAX);
  const accountIds = found.map(({ accountId }) => accountId);
  const identities = await openIdentities(db, ring, accountIds);
  await transaction(db, (tx) =>
    recordEvent(context, tx, call, {
      type: "counter.searched",
      outcome: "SUCCESS",
      actor: operator.operatorId,
      details: { registration_ids: found.map(({ registrationId }) => registrationId).join(",") },
    }),
  );
  const registrations = found.reverse().map(({ registrationId, accountId, state, createdAt, expireAt }) => ({
    registrationId,
    name: identities.get(accountId)?.name ?? "",
    loginName: identities.get(accountId)?.loginName ?? "",
    state: RegistrationState[state],
    createTime: timestampFromDate(createdAt),
    expireTime: timestampFromDate(expireAt),
  }));
  return { registrations };
}

async function archiveDocument(context: Context, request: ArchiveDocumentRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  const { registrationId, content, mediaType, sha256, type } = request;
  const operator = await requireOperator(context, call, SCOPE);
  if (!createHash("sha256").update(content).digest().equals(sha256)) {
    throw fieldError("DOCUMENT_DIGEST_MISMATCH", "sha256", "is not the digest of content");
  }
  if (!beginsLike(mediaType, content)) {
    throw fieldError("DOCUMENT_TYPE_INVALID", "content", "does not begin like its media_type");
  }
  return transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: ArchiveDocumentRequestSchema, responseSchema: ArchiveDocumentResponseSchema },
      async () => {
        const now = new Date(clock.nowMs());
        const registration = await lockRegistration(tx, registrationId);
        if (registration === undefined) throw new DomainError("REGISTRATION_NOT_FOUND");
        if (!isOpen(registration, now)) throw new DomainError("REGISTRATION_STATE_INVALID");
        if ((await countDocuments(tx, registrationId)) >= DOCUMENTS_MAX) throw new DomainError("QUOTA_EXCEEDED");
        const documentId = uuidv7(now.getTime());
        const subjectId = registration.accountId;
        const contentSealed = await sealForSubject(tx, ring, subjectId, `document:${documentId}`, content);
        if (contentSealed === undefined) throw new DomainError("REGISTRATION_STATE_INVALID");
        const { operatorId } = operator;
        const kind = { type: DocumentType[type], mediaType, sha256 };
        const archivedAt = now;
        await insertDocument(tx, {
          documentId,
          registrationId,
          subjectId,
          ...kind,
          contentSealed,
          operatorId,
          archivedAt,
        });
        await recordEvent(context, tx, call, {
          type: "document.archived",
          outcome: "SUCCESS",
          subject: subjectId,
          // The digest is in the log too, so that nobody can put another document in this one's place.
          details: {
            document_id: documentId,
            registration_id: registrationId,
            document_type: DocumentType[type],
            sha256: Buffer.from(sha256).toString("hex"),
          },
        });
        return create(ArchiveDocumentResponseSchema, { documentId });
      },
    ),
  );
}
