/** Keeps the ledger of calls to sources: what it does by itself, and what is watched of it. */
import { type SweepTask, startSweeps } from "@fujie/kit/db";
import type { Runtime } from "@fujie/kit/runtime";
import type { Context } from "../context.ts";
import { clearingTasks } from "./reconcile.ts";
import { keepPrices, purgeUsage } from "./store.ts";
import { watchUnknownCalls } from "./unknown.ts";

const EVERY_MS = 5_000;
const BATCH_MAX = 1_000;
/** How long the figures that sources and applications settle by are kept. */
const KEEP_MS = 1_100 * 86_400_000;

type Keeping = Pick<Context, "db" | "clock" | "log" | "timers" | "policy" | "sources">;

/** Runs until the runtime ends. */
export function startLedger({ use, telemetry }: Pick<Runtime, "use" | "telemetry">, context: Keeping): void {
  const { db, clock, log, timers } = context;
  const unknown = watchUnknownCalls(context);
  const age = "Since the oldest call to a source of which nobody knows what became, in seconds";
  use(telemetry.observeGauge("fujie.usage.unknown.oldest.seconds", age, unknown.oldestSeconds));
  const tasks = {
    prices: keepPricesOnce(context),
    ...clearingTasks(context),
    "unknown calls": unknown.look,
    "old usage": (max: number) => purgeUsage(db, dayOf(clock.nowMs() - KEEP_MS), max),
  };
  use(startSweeps({ tasks, everyMs: EVERY_MS, batchMax: BATCH_MAX, log, timers }));
}

/** Puts down what the sources cost from this start on, as soon as the database is there. */
function keepPricesOnce({ db, clock, sources }: Pick<Context, "db" | "clock" | "sources">): SweepTask {
  let kept = false;
  return async () => {
    if (!kept) await keepPrices(db, sources.claims, clock.nowMs());
    kept = true;
    return 0;
  };
}

/** "YYYY-MM-DD" in UTC. */
function dayOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}
