import { firstEntryMs } from "../analysis/store.ts";
import type { Context } from "../context.ts";
import { type AssessmentKindName, assessmentKinds, dueMs, remedyDueMs } from "./rules.ts";
import { type Assessment, lastDates, openAssessments } from "./store.ts";

export interface Due {
  readonly kind: AssessmentKindName;
  readonly lastMs: number | undefined;
  readonly dueMs: number;
  readonly overdue: boolean;
}

export interface Waiting {
  readonly assessment: Assessment;
  readonly dueMs: number;
  readonly overdue: boolean;
}

export interface Calendar {
  readonly due: readonly Due[];
  readonly waiting: readonly Waiting[];
}

/** What is due and what is overdue now. The log's first entry is taken for the platform's beginning. */
export async function readCalendar({ db, clock }: Pick<Context, "db" | "clock">): Promise<Calendar> {
  const nowMs = clock.nowMs();
  const beginningMs = (await firstEntryMs(db)) ?? nowMs;
  const last = await lastDates(db);
  const due = assessmentKinds.map((kind) => {
    const lastMs = last.get(kind);
    const byMs = dueMs(kind, lastMs, beginningMs);
    return { kind, lastMs, dueMs: byMs, overdue: nowMs >= byMs };
  });
  const waiting = (await openAssessments(db)).map((assessment) => {
    const byMs = remedyDueMs(assessment.dateMs);
    return { assessment, dueMs: byMs, overdue: nowMs >= byMs };
  });
  return { due, waiting };
}

export interface CalendarWatch {
  /** What is overdue, kinds and open findings together. */
  overdue(): number;
  tick(): Promise<number>;
}

export function createCalendarWatch(context: Pick<Context, "db" | "clock">): CalendarWatch {
  let overdue = 0;
  return {
    overdue: () => overdue,
    async tick() {
      const { due, waiting } = await readCalendar(context);
      overdue = [...due, ...waiting].filter((each) => each.overdue).length;
      return 0;
    },
  };
}
