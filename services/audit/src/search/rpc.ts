import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { GetEntryRequest, ListEntriesRequest, LogService } from "@fujie/api/fujie/audit/v1/log";
import { openPage, pageSize, signPage, transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { subjectOf } from "@fujie/kit/serve";
import { formatProofBundle } from "@fujie/transparency";
import type { Context } from "../context.ts";
import { decodeDetails } from "../events/narrow-event.ts";
import { indexesOf } from "../events/store.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import { recordingRefusals } from "../refusals.ts";
import { countRead, isApprovedBulk } from "./bulk.ts";
import { readQuestion, requirePurpose } from "./question.ts";
import { readProvenEntry } from "./read-entry.ts";
import { findEntries } from "./search.ts";
import { summarise } from "./summary.ts";

type SearchMethods = Pick<ServiceImpl<typeof LogService>, "listEntries" | "getEntry">;
type SearchContext = Pick<Context, "db" | "ring" | "clock" | "tiles" | "subjectKeys" | "readEntriesPerHour">;

const pages = { default: 50, max: 200 } as const;

/**
 * What an audit administrator may read. Each reading is an event itself, on its way into the log before the answer; so
 * is each that was refused.
 */
export function searchMethods(context: SearchContext) {
  return {
    listEntries: recordingRefusals(context, "entries.listed", (request, call) => listEntries(context, request, call)),
    getEntry: recordingRefusals(context, "entry.read", (request, call) => getEntry(context, request, call)),
  } satisfies SearchMethods;
}

async function listEntries(context: SearchContext, request: ListEntriesRequest, call: HandlerContext) {
  const purpose = requirePurpose(request.purpose);
  const question = readQuestion(request);
  const limit = pageSize(request.pageSize, pages);
  const filter = ["ListEntries", subjectOf(call).subject, ...Object.values(question)];
  const [after] = openPage(request.pageToken, filter, context.ring) ?? [];
  const isBulk = await isApprovedBulk(context, request, call);
  const before = typeof after === "number" ? after : (await publishedCheckpoint(context.db)).size;

  const found = await findEntries(context.db, question, before, limit);
  const { key, value } = question;
  await recordRead(context, call, {
    type: "entries.listed",
    purpose,
    subject: key === "subject" && value.length <= 64 ? value : "",
    entries: isBulk ? 0 : Math.max(1, found.entries.length),
    details: {
      filter: key,
      value,
      found: String(found.entries.length),
      ...(isBulk ? { bulk_read_id: request.bulkReadId } : {}),
    },
  });
  return {
    entries: found.entries.map(({ index, preimage }) => summarise(index, preimage)),
    nextPageToken: found.before === undefined ? "" : signPage({ filter, cursor: [found.before] }, context.ring),
  };
}

async function getEntry(context: SearchContext, request: GetEntryRequest, call: HandlerContext) {
  const purpose = requirePurpose(request.purpose);
  const { size, note } = await publishedCheckpoint(context.db);
  const index = await indexOf(context, request);
  const { stored, entry, path } = await readProvenEntry(context, index, size);
  const sealed = stored.details;
  const details = sealed === undefined ? undefined : await context.subjectKeys.open(entry.eventId, sealed);
  await recordRead(context, call, {
    type: "entry.read",
    purpose,
    subject: entry.subject,
    entries: 1,
    details: { index: String(stored.index) },
  });
  return {
    summary: summarise(stored.index, stored.preimage),
    details: details === undefined ? {} : decodeDetails(details),
    preimage: stored.preimage,
    salt: stored.salt,
    proofBundle: formatProofBundle({ index: stored.index, path, checkpoint: note }),
  };
}

async function indexOf({ db }: SearchContext, { entry }: GetEntryRequest): Promise<number | undefined> {
  if (entry.case === "eventId") return (await indexesOf(db, [entry.value])).get(entry.value.toLowerCase());
  return entry.value === undefined ? undefined : Number(entry.value);
}

interface Read {
  readonly type: string;
  readonly purpose: string;
  readonly subject: string;
  /** What counts toward the hour's measure. */
  readonly entries: number;
  readonly details: Readonly<Record<string, string>>;
}

async function recordRead(context: SearchContext, call: HandlerContext, { entries, ...read }: Read): Promise<void> {
  await transaction(context.db, async (tx) => {
    if (entries > 0) await countRead(context, tx, call, entries);
    await recordEvent(context, tx, call, { ...read, outcome: "SUCCESS" });
  });
}
