import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ListEntriesRequest,
  ListEntriesRequestSchema,
  type LogService,
  RequestBulkReadRequestSchema,
  RequestBulkReadResponseSchema,
} from "@fujie/api/fujie/audit/v1/log";
import { isUuid, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { writeOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { recordingRefusals } from "../refusals.ts";
import { addUse, approveBulkRead, type BulkRead, findBulkRead, insertBulkRead, lockUse } from "./bulk-store.ts";
import { questionBytes, readQuestion, requirePurpose } from "./question.ts";

export const HOUR_MS = 60 * 60_000;

type BulkContext = Pick<Context, "db" | "ring" | "clock">;
type BulkMethods = Pick<ServiceImpl<typeof LogService>, "requestBulkRead" | "getBulkRead" | "approveBulkRead">;

export function bulkMethods(context: BulkContext) {
  const { db, clock } = context;
  return {
    requestBulkRead: (request, call) =>
      writeOnce(
        context,
        call,
        { request, requestSchema: RequestBulkReadRequestSchema, responseSchema: RequestBulkReadResponseSchema },
        async (tx) => {
          if (request.question === undefined) throw fieldError("FIELD_INVALID", "question", "is missing");
          const purpose = requirePurpose(request.question.purpose);
          readQuestion(request.question);
          const bulkReadId = uuidv7(clock.nowMs());
          const question = questionBytes(request.question);
          const row = { bulkReadId, requestedBy: subjectOf(call).subject, reason: request.reason, question };
          await insertBulkRead(tx, row, clock.nowMs());
          await recordEvent(context, tx, call, {
            type: "bulk-read.requested",
            outcome: "PENDING",
            purpose,
            details: { bulk_read_id: bulkReadId },
          });
          return create(RequestBulkReadResponseSchema, { bulkReadId });
        },
      ),

    async getBulkRead({ bulkReadId }) {
      const { requestedBy, reason, question, approvedBy, expiresAtMs } = await requireBulkRead(db, bulkReadId);
      return {
        requestedBy,
        reason,
        question: fromBinary(ListEntriesRequestSchema, question),
        approvedBy: approvedBy ?? "",
        ...(expiresAtMs === null ? {} : { expireTime: timestampFromMs(expiresAtMs) }),
      };
    },

    approveBulkRead: recordingRefusals(context, "bulk-read.approved", async ({ bulkReadId }, call) => {
      const { subject } = subjectOf(call);
      const { requestedBy } = await requireBulkRead(db, bulkReadId);
      if (requestedBy === subject) throw new DomainError("FOUR_EYES_REQUIRED");
      const expiresAtMs = clock.nowMs() + HOUR_MS;
      await transaction(db, async (tx) => {
        if (!(await approveBulkRead(tx, bulkReadId, subject, expiresAtMs))) throw new DomainError("BULK_READ_DECIDED");
        await recordEvent(context, tx, call, {
          type: "bulk-read.approved",
          outcome: "SUCCESS",
          details: { bulk_read_id: bulkReadId, requested_by: requestedBy },
        });
      });
      return { expireTime: timestampFromMs(expiresAtMs) };
    }),
  } satisfies BulkMethods;
}

async function requireBulkRead(db: Context["db"], bulkReadId: string): Promise<BulkRead> {
  const found = await findBulkRead(db, bulkReadId);
  if (found === undefined) throw new DomainError("BULK_READ_NOT_FOUND");
  return found;
}

/**
 * Whether the caller's page belongs to a bulk read that somebody else approved less than an hour ago, for this person
 * and this very question. False without one.
 * @throws DomainError BULK_READ_MISMATCH
 */
export async function isApprovedBulk(
  { db, clock }: BulkContext,
  request: ListEntriesRequest,
  call: HandlerContext,
): Promise<boolean> {
  const { bulkReadId } = request;
  if (bulkReadId === "") return false;
  const found = isUuid(bulkReadId) ? await findBulkRead(db, bulkReadId) : undefined;
  const fits =
    found?.requestedBy === subjectOf(call).subject &&
    found.question.equals(questionBytes(request)) &&
    (found.expiresAtMs ?? 0) > clock.nowMs();
  if (!fits) throw new DomainError("BULK_READ_MISMATCH");
  return true;
}

/** Counts what the caller reads. Throws BULK_READ_APPROVAL_REQUIRED when it exceeds the hour's measure. */
export async function countRead(
  { clock, readEntriesPerHour }: Pick<Context, "clock" | "readEntriesPerHour">,
  tx: Transaction,
  call: HandlerContext,
  entries: number,
): Promise<void> {
  const { subject } = subjectOf(call);
  const nowMs = clock.nowMs();
  const counted = Math.max(1, entries);
  const used = await lockUse(tx, subject, nowMs - HOUR_MS);
  if (used + counted > readEntriesPerHour) {
    throw new DomainError("BULK_READ_APPROVAL_REQUIRED", { subject: "entries" });
  }
  await addUse(tx, subject, nowMs, counted);
}
