import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ExportEntriesRequest,
  RequestExportRequestSchema,
  RequestExportResponseSchema,
  type RetentionService,
} from "@fujie/api/fujie/audit/v1/retention";
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { writeOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import type { StoredEntry } from "../log/entry.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import { recordingRefusals } from "../refusals.ts";
import { approveExport, type ExportRow, findExport, finishExport, insertExport, readEntries } from "./store.ts";

type ExportContext = Pick<Context, "db" | "ring" | "clock">;
type ExportMethods = Pick<ServiceImpl<typeof RetentionService>, "requestExport" | "approveExport" | "exportEntries">;

const APPROVED_FOR_MS = 24 * 3_600_000;
/** A part stays below what a client receives: entries are small, sealed details at most 128 KiB. */
const PART_ENTRIES_MAX = 256;
const PART_BYTES_MAX = 1_048_576;

/** Bulk reading by four eyes: asked for, approved by another, then streamed; each step is an event of the log. */
export function exportMethods(context: ExportContext) {
  const { db, clock } = context;
  return {
    requestExport: (request, call) =>
      writeOnce(
        context,
        call,
        { request, requestSchema: RequestExportRequestSchema, responseSchema: RequestExportResponseSchema },
        async (tx) => {
          const { purpose, reason } = request;
          const [begin, end] = [Number(request.beginIndex), Number(request.endIndex)];
          if (purpose.trim() === "") throw fieldError("PURPOSE_REQUIRED", "purpose", "is empty");
          if (end <= begin) throw fieldError("FIELD_INVALID", "end_index", "is not after the first entry");
          if (end > (await publishedCheckpoint(db)).size)
            throw fieldError("FIELD_INVALID", "end_index", "is beyond the log");
          const exportId = uuidv7(clock.nowMs());
          const requestedBy = subjectOf(call).subject;
          await insertExport(tx, { exportId, begin, end, purpose, reason, requestedBy }, clock.nowMs());
          const details = { export_id: exportId, begin: String(begin), end: String(end) };
          await recordEvent(context, tx, call, { type: "export.requested", outcome: "PENDING", purpose, details });
          return create(RequestExportResponseSchema, { exportId });
        },
      ),

    approveExport: recordingRefusals(context, "export.approved", ({ exportId }, call) =>
      transaction(db, async (tx) => {
        const { subject } = subjectOf(call);
        const found = await findExport(tx, exportId);
        if (found === undefined) throw new DomainError("EXPORT_NOT_FOUND");
        if (found.requestedBy === subject) throw new DomainError("FOUR_EYES_REQUIRED");
        if (found.approvedBy !== null) throw new DomainError("EXPORT_DECIDED");
        const nowMs = clock.nowMs();
        await approveExport(tx, exportId, subject, nowMs);
        const { begin, end, purpose } = found;
        const details = { export_id: exportId, begin: String(begin), end: String(end) };
        await recordEvent(context, tx, call, { type: "export.approved", outcome: "SUCCESS", purpose, details });
        return {
          beginIndex: BigInt(begin),
          endIndex: BigInt(end),
          expireTime: timestampFromMs(nowMs + APPROVED_FOR_MS),
        };
      }),
    ),

    exportEntries: (request, call) => exportEntries(context, request, call),
  } satisfies ExportMethods;
}

async function* exportEntries(context: ExportContext, { exportId }: ExportEntriesRequest, call: HandlerContext) {
  const { db, clock } = context;
  const begun = recordingRefusals(context, "entries.exported", (id: string) => beginExport(context, id, call));
  const { begin, end } = await begun(exportId, call);
  const range = { beginIndex: BigInt(begin), endIndex: BigInt(end) };
  // Even when every entry has ended, the range is told.
  yield { ...range, entries: [] };
  for (let at = begin; at < end; ) {
    const entries = await readEntries(db, at, end, PART_ENTRIES_MAX);
    for (const part of partsOf(entries)) yield { ...range, entries: part.map(describeEntry) };
    at = (entries.at(-1)?.index ?? end) + 1;
  }
  await finishExport(db, exportId, clock.nowMs());
}

/** Whoever asked, or another who may: the approval is for the range. Recorded before the first entry leaves. */
async function beginExport(context: ExportContext, exportId: string, call: HandlerContext): Promise<ExportRow> {
  const { db, clock } = context;
  return transaction(db, async (tx) => {
    const found = await findExport(tx, exportId);
    if (found === undefined) throw new DomainError("EXPORT_NOT_FOUND");
    if (found.approvedAtMs === null || found.approvedAtMs + APPROVED_FOR_MS <= clock.nowMs())
      throw new DomainError("EXPORT_NOT_APPROVED");
    const { begin, end, purpose } = found;
    const details = { export_id: exportId, begin: String(begin), end: String(end) };
    await recordEvent(context, tx, call, { type: "entries.exported", outcome: "SUCCESS", purpose, details });
    return found;
  });
}

function* partsOf(entries: readonly StoredEntry[]): Generator<readonly StoredEntry[]> {
  let part: StoredEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const size = entry.preimage.length + (entry.details?.sealed.length ?? 0) + 128;
    if (part.length > 0 && bytes + size > PART_BYTES_MAX) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(entry);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

function describeEntry({ index, preimage, salt, details }: StoredEntry) {
  return {
    index: BigInt(index),
    preimage,
    salt,
    ...(details === undefined ? {} : { sealedDetails: details.sealed, detailsKeyId: details.keyId }),
  };
}
