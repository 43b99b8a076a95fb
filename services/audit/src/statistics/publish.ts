import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { dayOf, dayStartMs, formatDay } from "../analysis/china-time.ts";
import { countUpToDate } from "../analysis/count.ts";
import { firstEntryMs } from "../analysis/store.ts";
import type { Context } from "../context.ts";
import { sha256 } from "../documents/signed.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import { composeStatistics } from "./rules.ts";
import { countsOf, insertStatistics, lastPublishedDay } from "./store.ts";

/** Events of the day's last minutes may still be on their way. */
const GRACE_MS = 2 * 60 * 60_000;
const COUNT_BATCH = 1_000;
const COUNT_BATCHES_MAX = 50;

/** Publishes at most `batchMax` days that are over, the oldest first; returns how many. What is published stays. */
export async function publishStatistics(
  context: Pick<Context, "db" | "ring" | "clock" | "subjectKeys">,
  batchMax: number,
): Promise<number> {
  const { db, clock } = context;
  const firstMs = await firstEntryMs(db);
  if (firstMs === undefined) return 0;
  const last = await lastPublishedDay(db);
  const from = last === undefined ? dayOf(firstMs) : last + 1;
  const until = Math.min(dayOf(clock.nowMs() - GRACE_MS), from + batchMax);
  if (from >= until || !(await countUpToDate(context, COUNT_BATCHES_MAX, COUNT_BATCH))) return 0;
  for (let day = from; day < until; day += 1) await publishDay(context, day);
  return until - from;
}

async function publishDay(context: Pick<Context, "db" | "ring" | "clock">, day: number): Promise<void> {
  const { db, clock } = context;
  if (clock.nowMs() < dayStartMs(day + 1)) throw new RangeError("a day is published when it is over");
  const { note } = await publishedCheckpoint(db);
  const document = composeStatistics(day, await countsOf(db, day), note);
  const digest = sha256(document);
  await transaction(db, async (tx) => {
    if (!(await insertStatistics(tx, { day, publishedAtMs: clock.nowMs(), digest, document }))) return;
    await recordEvent(
      context,
      tx,
      { service: "audit" },
      {
        type: "statistics.published",
        outcome: "SUCCESS",
        digest,
        details: { day: formatDay(day) },
      },
    );
  });
}
