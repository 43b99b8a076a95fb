import { createHash } from "node:crypto";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { GetEntryRequest, ListEntriesRequest, LogService } from "@fujie/api/fujie/audit/v1/log";
import { openPage, pageSize, signPage, transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { subjectOf } from "@fujie/kit/serve";
import {
  decodeEntry,
  entryLeafHash,
  equalHashes,
  formatProofBundle,
  type LogEntry,
  proveInclusionFromTiles,
} from "@fujie/transparency";
import type { Context } from "../context.ts";
import { decodeDetails } from "../events/narrow-event.ts";
import { findStoredEntry, indexesOf } from "../events/store.ts";
import type { StoredEntry } from "../log/entry.ts";
import { publishedCheckpoint, readLeafHash } from "../proofs/published-log.ts";
import { type SearchKey, searchEntries } from "./store.ts";
import { summarise } from "./summary.ts";

type SearchMethods = Pick<ServiceImpl<typeof LogService>, "listEntries" | "getEntry">;
type SearchContext = Pick<Context, "db" | "ring" | "clock" | "tiles" | "subjectKeys">;

const pages = { default: 50, max: 200 } as const;

/** What an audit administrator may read. Each reading is an event itself, on its way into the log before the answer. */
export function searchMethods(context: SearchContext) {
  return {
    async listEntries(request, call) {
      const purpose = requirePurpose(request.purpose);
      const { key, value } = readFilter(request);
      const startMs = boundMs(request.startTime, 0);
      const endMs = boundMs(request.endTime, Number.MAX_SAFE_INTEGER);
      const limit = pageSize(request.pageSize, pages);
      const filter = ["ListEntries", subjectOf(call).subject, key, value, startMs, endMs];
      const [after] = openPage(request.pageToken, filter, context.ring) ?? [];
      const before = typeof after === "number" ? after : (await publishedCheckpoint(context.db)).size;

      // One more than asked for tells whether there is another page.
      const found = await searchEntries(context.db, { key, value, before, startMs, endMs, limit: limit + 1 });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      await recordRead(context, call, {
        type: "entries.listed",
        purpose,
        subject: key === "subject" && value.length <= 64 ? value : "",
        details: { filter: key, value, found: String(page.length) },
      });
      return {
        entries: page.map(({ index, preimage }) => summarise(index, preimage)),
        nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.index] }, context.ring),
      };
    },

    async getEntry(request, call) {
      const purpose = requirePurpose(request.purpose);
      const { size, note } = await publishedCheckpoint(context.db);
      const stored = await findEntry(context, request, size);
      const entry = decodeEntry(stored.preimage);
      await requireUndamaged(context, stored, entry, size);
      const path = await proveInclusionFromTiles(stored.index, size, context.tiles);
      const sealed = stored.details;
      const details = sealed === undefined ? undefined : await context.subjectKeys.open(entry.eventId, sealed);
      await recordRead(context, call, {
        type: "entry.read",
        purpose,
        subject: entry.subject,
        details: { index: String(stored.index) },
      });
      return {
        summary: summarise(stored.index, stored.preimage),
        details: details === undefined ? {} : decodeDetails(details),
        preimage: stored.preimage,
        salt: stored.salt,
        proofBundle: formatProofBundle({ index: stored.index, path, checkpoint: note }),
      };
    },
  } satisfies SearchMethods;
}

function requirePurpose(purpose: string): string {
  if (purpose.trim() === "") throw fieldError("PURPOSE_REQUIRED", "purpose", "is empty");
  return purpose;
}

function readFilter({ filter }: ListEntriesRequest): { key: SearchKey; value: string } {
  if (filter.case === undefined) throw fieldError("FIELD_INVALID", "filter", "is missing");
  return { key: filter.case, value: filter.value };
}

function boundMs(time: Timestamp | undefined, absent: number): number {
  return time === undefined ? absent : Math.ceil(timestampMs(time));
}

async function findEntry({ db }: SearchContext, { entry }: GetEntryRequest, size: number): Promise<StoredEntry> {
  const index =
    entry.case === "eventId"
      ? (await indexesOf(db, [entry.value])).get(entry.value.toLowerCase())
      : Number(entry.value ?? size);
  // What no published checkpoint covers cannot be proven yet, so it is not there yet.
  const stored = index === undefined || index >= size ? undefined : await findStoredEntry(db, index);
  if (stored === undefined) throw new DomainError("ENTRY_NOT_FOUND");
  return stored;
}

/** An entry that was changed in the database is a fault of ours, never an answer. */
async function requireUndamaged(
  { tiles }: SearchContext,
  { index, preimage, salt, details }: StoredEntry,
  entry: LogEntry,
  size: number,
): Promise<void> {
  if (!equalHashes(entryLeafHash(preimage, salt), await readLeafHash(tiles, index, size)))
    throw new Error(`entry ${index} is not what its leaf binds`);
  const digest = details === undefined ? Buffer.of() : createHash("sha256").update(details.sealed).digest();
  if (!equalHashes(digest, entry.detailsSha256)) throw new Error(`the details of entry ${index} were changed`);
}

interface Read {
  readonly type: string;
  readonly purpose: string;
  readonly subject: string;
  readonly details: Readonly<Record<string, string>>;
}

async function recordRead({ db, clock, ring }: SearchContext, call: HandlerContext, read: Read): Promise<void> {
  await transaction(db, (tx) => recordEvent({ clock, ring }, tx, call, { ...read, outcome: "SUCCESS" }));
}
