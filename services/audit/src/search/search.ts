import type { Queryable } from "@fujie/kit/db";
import { decodeEntry, type LogEntry } from "@fujie/transparency";
import { openRows } from "../log/openings.ts";
import { type ColumnConditions, findTypeNumbers, type SearchKey, searchWindow } from "./store.ts";

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
export const LOOKED_AT_MAX = 300;

/** At most `limit` entries with an index below `before`. May find fewer, or none, and still tell where to go on. */
export async function findEntries(
  db: Queryable,
  question: Question,
  before: number,
  limit: number,
  lookedAtMax: number = LOOKED_AT_MAX,
): Promise<Found> {
  const entries: FoundEntry[] = [];
  const types = await findTypeNumbers(db, question);
  let next = before;
  for (let lookedAt = 0; lookedAt < lookedAtMax; ) {
    // One more than is wanted tells, in the usual case, that there is another page.
    const window = Math.min(lookedAt === 0 ? limit + 1 : lookedAtMax, lookedAtMax - lookedAt);
    const rows = await searchWindow(db, { ...question, before: next, window }, types);
    const fitting = rows.flatMap(({ packed }) => (packed === null ? [] : [packed]));
    const more = fitting.splice(limit - entries.length).length > 0;
    for (const { index, preimage } of await openRows(db, Buffer.concat(fitting)))
      entries.push({ index, preimage, entry: decodeEntry(preimage) });
    if (more) return { entries, before: entries.at(-1)?.index ?? before };
    next = rows.at(-1)?.index ?? next;
    if (rows.length < window) return { entries, before: undefined };
    lookedAt += rows.length;
  }
  return { entries, before: next };
}
