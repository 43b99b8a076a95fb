import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { escalationAt, isLate, MISSED, REPORT_WITHIN_MS } from "./rules.ts";
import { type IncidentRow, insertEscalation, runningIncidents } from "./store.ts";

/** What the metrics tell of the incidents whose clock runs. */
export interface IncidentClock {
  /** Seconds until the next deadline; that of a fresh incident while there is none. Negative once it is missed. */
  remainingSeconds(): number;
  /** Incidents whose report is late. */
  overdue(): number;
  /** Records every level that was reached since the last time, and looks at the clocks. Runs every few seconds. */
  tick(): Promise<number>;
}

/** Far more than can run at once; those detected first come first. */
const RUNNING_MAX = 1_000;

export function createIncidentClock(context: Pick<Context, "db" | "ring" | "clock">): IncidentClock {
  const { db, clock } = context;
  let deadlineMs: number | undefined;
  let overdue = 0;
  return {
    remainingSeconds: () => Math.floor(((deadlineMs ?? clock.nowMs() + REPORT_WITHIN_MS) - clock.nowMs()) / 1_000),
    overdue: () => overdue,
    async tick() {
      const running = await runningIncidents(db, RUNNING_MAX);
      for (const incident of running) await escalate(context, incident);
      const [first] = running;
      deadlineMs = first === undefined ? undefined : first.detectedAtMs + REPORT_WITHIN_MS;
      overdue = running.filter(({ detectedAtMs }) => isLate(detectedAtMs, clock.nowMs())).length;
      return 0;
    },
  };
}

/** Records the levels that the incident has reached, each once, however many replicas look. */
async function escalate(context: Pick<Context, "db" | "ring" | "clock">, incident: IncidentRow): Promise<void> {
  const { incidentId, detectedAtMs, drill } = incident;
  const nowMs = context.clock.nowMs();
  for (let level = incident.escalation + 1; level <= escalationAt(detectedAtMs, nowMs); level += 1) {
    await transaction(context.db, async (tx) => {
      if (!(await insertEscalation(tx, incidentId, level, nowMs))) return;
      const missed = level === MISSED;
      await recordEvent(
        context,
        tx,
        { service: "audit" },
        {
          type: missed ? "incident.deadline-missed" : "incident.escalated",
          outcome: missed ? "FAILED" : "PENDING",
          details: { incident_id: incidentId, level: String(level), drill: String(drill) },
        },
      );
    });
  }
}
