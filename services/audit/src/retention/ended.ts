import { createHash } from "node:crypto";
import { type Queryable, statement } from "@fujie/kit/db";
import type { EndedRange } from "./ended-range.ts";

export { DROPPED_TYPE } from "./ended-range.ts";

const findEnded = statement(
  "audit.range.ended",
  `SELECT begin_index::float8 AS begin, end_index::float8 AS end FROM audit.entry_range
   WHERE dropped_at_ms IS NOT NULL ORDER BY begin_index`,
);

/** What has ended, in order, neighbours as one. */
export async function readEndedRanges(db: Queryable): Promise<EndedRange[]> {
  const ranges: { begin: number; end: number }[] = [];
  for (const { begin, end } of (await db.query<{ begin: number; end: number }>(findEnded())).rows) {
    const last = ranges.at(-1);
    if (last?.end === begin) last.end = end;
    else ranges.push({ begin, end });
  }
  return ranges;
}

/**
 * SHA-256 of "fujie.audit.dropped.v1" and a line "begin end" for each range. It covers all that ever ended, so that the
 * newest record alone proves it: older records end themselves.
 */
export function digestOfEnded(ranges: readonly EndedRange[]): Uint8Array {
  const lines = ranges.map(({ begin, end }) => `${begin} ${end}\n`);
  return new Uint8Array(
    createHash("sha256")
      .update(`fujie.audit.dropped.v1\n${lines.join("")}`, "utf8")
      .digest(),
  );
}
