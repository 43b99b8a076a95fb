import type { Queryable } from "@fujie/kit/db";
import { decodeEntry, type LogEntry } from "@fujie/transparency";
import { type ColumnConditions, type SearchKey, searchWindow } from "./store.ts";

export interface Question extends ColumnConditions {
  readonly key: SearchKey;
  readonly value: string;
}

export interface FoundEntry {
  readonly index: number;
  readonly preimage: Uint8Array;
  readonly entry: LogEntry;
}

export interface Found {
  /** Newest first. */
  readonly entries: readonly FoundEntry[];
  /** Where to go on: only entries before this index; undefined when that was all. */
  readonly before: number | undefined;
}

export const noConditions: Omit<Question, "key" | "value"> = {
  startMs: 0,
  endMs: Number.MAX_SAFE_INTEGER,
  traceId: "",
  subject: "",
  actor: "",
  applicationId: "",
  type: "",
  typePrefix: "",
  outcome: "",
};

/** What one request looks through at most: bounds its time, however rare what is sought. */
export const LOOKED_AT_MAX = 500;

/** At most `limit` entries with an index below `before`. May find fewer, or none, and still tell where to go on. */
export async function findEntries(
  db: Queryable,
  question: Question,
  before: number,
  limit: number,
  lookedAtMax: number = LOOKED_AT_MAX,
): Promise<Found> {
  const entries: FoundEntry[] = [];
  let next = before;
  for (let lookedAt = 0; lookedAt < lookedAtMax; ) {
    // One more than is wanted tells, in the usual case, that there is another page.
    const window = Math.min(lookedAt === 0 ? limit + 1 : lookedAtMax, lookedAtMax - lookedAt);
    const rows = await searchWindow(db, { ...question, before: next, window });
    for (const { index, preimage } of rows) {
      const entry = preimage === null ? undefined : decodeEntry(preimage);
      if (preimage !== null && entry !== undefined && fits(entry, question)) {
        if (entries.length === limit) return { entries, before: next };
        entries.push({ index, preimage, entry });
      }
      next = index;
    }
    if (rows.length < window) return { entries, before: undefined };
    lookedAt += rows.length;
  }
  return { entries, before: next };
}

function fits({ outcome }: LogEntry, question: Question): boolean {
  return question.outcome === "" || question.outcome === outcome;
}
