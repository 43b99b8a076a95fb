import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { bumpPolicy } from "../policy/store.ts";
import { suspendEndedSources } from "./store.ts";

/** Suspends sources whose agreement has ended (SZ-11.1), at most `batchMax`. Returns how many. */
export async function suspendEnded(context: Context, batchMax: number): Promise<number> {
  return transaction(context.db, async (tx) => {
    const ended = await suspendEndedSources(tx, new Date(context.clock.nowMs()), batchMax);
    for (const sourceId of ended) {
      const details = { source_id: sourceId, because: "agreement-ended" };
      await recordEvent(
        context,
        tx,
        { service: "registry" },
        { type: "source.suspended", outcome: "SUCCESS", details },
      );
    }
    if (ended.length > 0) await bumpPolicy(tx);
    return ended.length;
  });
}
