import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { DROPPED_TYPE, digestOfEnded, readEndedRanges } from "./ended.ts";
import { monthsBeforeMs } from "./rules.ts";
import { dropPartition, findClosedPartitions } from "./store.ts";

export interface RetentionPolicy {
  /** Whole months that entries are kept, the current one not counted. */
  readonly months: number;
  readonly exportedOnly: boolean;
}

/** A partition that must stay (too young, held, not exported) is asked about again this much later. */
const RETRY_MS = 3_600_000;

/**
 * Ends the partitions that are past their time, one at a call, and gives how many. The database has the last word; what
 * ended is an event of the log, in the same transaction.
 */
export function createRetentionSweep(
  context: Pick<Context, "db" | "ring" | "clock" | "log">,
  { months, exportedOnly }: RetentionPolicy,
): () => Promise<number> {
  const { db, clock, log } = context;
  const notBeforeMs = new Map<number, number>();

  async function end(begin: number, until: number, keepAfterMs: number): Promise<void> {
    await transaction(db, async (tx) => {
      await dropPartition(tx, begin, { keepAfterMs, exportedOnly });
      await recordEvent(
        context,
        tx,
        { service: "audit" },
        {
          type: DROPPED_TYPE,
          outcome: "SUCCESS",
          digest: digestOfEnded(await readEndedRanges(tx)),
          details: { begin: String(begin), end: String(until) },
        },
      );
    });
    log.info({ begin, end: until }, "entries ended with their partition");
  }

  return async () => {
    const nowMs = clock.nowMs();
    const keepAfterMs = monthsBeforeMs(nowMs, months);
    for (const { begin, end: until } of await findClosedPartitions(db, keepAfterMs)) {
      if ((notBeforeMs.get(begin) ?? 0) > nowMs) continue;
      try {
        await end(begin, until, keepAfterMs);
        return 1;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        notBeforeMs.set(begin, nowMs + RETRY_MS);
        log.info({ begin, problem: error.message }, "a partition must stay");
      }
    }
    return 0;
  };
}

/** The guarded function's "no". */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && "code" in error && error.code === "42501";
}
