/** What audit does on its own, on whichever replica leads: counting, reports, statistics, clocks and deliveries. */
import { type SweepTask, startSweeps } from "@fujie/kit/db";
import type { Runtime } from "@fujie/kit/runtime";
import { dayOf, quarterBefore, quarterOf } from "./analysis/china-time.ts";
import { countEntries } from "./analysis/count.ts";
import { createReportSchedule } from "./analysis/report.ts";
import { purgeActorDays } from "./analysis/store.ts";
import { createCalendarWatch } from "./calendar/due.ts";
import type { Context } from "./context.ts";
import { createIncidentClock } from "./incidents/clock.ts";
import { deliverReports } from "./incidents/delivery.ts";
import { REPORT_WITHIN_MS } from "./incidents/rules.ts";
import { HOUR_MS } from "./search/bulk.ts";
import { purgeUses } from "./search/bulk-store.ts";
import { publishStatistics } from "./statistics/publish.ts";
import { moveKeys } from "./subjects/move-keys.ts";

const EVERY_MS = 5_000;
const BATCH_MAX = 1_000;

export interface Duties {
  /** Does once, now, what time does by itself. */
  perform(): Promise<void>;
}

export function startDuties(runtime: Pick<Runtime, "use" | "telemetry" | "timers">, context: Context): Duties {
  const { db, clock, log, sequencer } = context;
  const incidents = createIncidentClock(context);
  const reports = createReportSchedule(context);
  const calendar = createCalendarWatch(context);
  const tasks: Readonly<Record<string, SweepTask>> = {
    // First: nothing may hold up a clock.
    "incident clocks": () => incidents.tick(),
    "incident deliveries": (max) => deliverReports(context, max),
    counting: (max) => countEntries(context, max),
    "quarterly reports": () => reports.tick(),
    statistics: (max) => publishStatistics(context, Math.min(max, 31)),
    calendar: () => calendar.tick(),
    "counted reads": (max) => purgeUses(db, clock.nowMs() - HOUR_MS, max),
    "moved keys": (max) => moveKeys(context, max),
    "counted activity": (max) => purgeActorDays(db, dayOf(keptFromMs(clock.nowMs())), max),
  };
  const leading = (task: SweepTask): SweepTask => {
    return async (max) => (sequencer.isLeading() ? task(max) : 0);
  };
  const { use, telemetry, timers } = runtime;
  const guarded = Object.fromEntries(Object.entries(tasks).map(([name, task]) => [name, leading(task)]));
  use(startSweeps({ tasks: guarded, everyMs: EVERY_MS, batchMax: BATCH_MAX, log, timers }));

  // Who does not lead knows nothing new, and says that there is nothing.
  const gauge = (name: string, description: string, otherwise: number, read: () => number) =>
    use(telemetry.observeGauge(name, description, () => (sequencer.isLeading() ? read() : otherwise)));
  const fullSeconds = REPORT_WITHIN_MS / 1_000;
  gauge("fujie.audit.incident.remaining.seconds", "Until the next incident's report is due", fullSeconds, () =>
    incidents.remainingSeconds(),
  );
  gauge("fujie.audit.incident.overdue", "Incidents whose report is late", 0, () => incidents.overdue());
  gauge("fujie.audit.report.overdue", "Quarters whose analysis is missing", 0, () => reports.overdue());
  gauge("fujie.audit.assessment.overdue", "Tests, reviews and remediations that are overdue", 0, () =>
    calendar.overdue(),
  );
  return {
    async perform() {
      for (const task of Object.values(tasks)) await task(BATCH_MAX);
    },
  };
}

/** The analysis of a quarter looks back over the one before; the report of the last one may still be missing. */
function keptFromMs(nowMs: number): number {
  return quarterBefore(quarterBefore(quarterBefore(quarterOf(nowMs)))).startMs;
}
