import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { compareWithSealed, type ToldNumbers } from "./store.ts";

/** Compares a service's numbers with the log; a difference that is new is an event of the log itself. */
export async function reconcile(
  context: Pick<Context, "db" | "ring" | "clock">,
  service: string,
  numbers: ToldNumbers,
): Promise<number> {
  return transaction(context.db, async (tx) => {
    const { missing, before } = await compareWithSealed(tx, service, numbers, context.clock.nowMs());
    if (missing !== before && missing !== 0)
      await recordEvent(
        context,
        tx,
        { service: "audit" },
        {
          type: "outbox.row-missing",
          outcome: "FAILED",
          details: { service, missing: String(missing) },
        },
      );
    return missing;
  });
}
