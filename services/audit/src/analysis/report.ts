import type { HandlerContext } from "@connectrpc/connect";
import { transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { sha256 } from "../documents/signed.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import type { ActorDay } from "./activity.ts";
import { dayOf, formatDay, parseQuarter, type Quarter, quarterBefore, quarterOf } from "./china-time.ts";
import { countUpToDate } from "./count.ts";
import { detect, type Finding } from "./detectors.ts";
import {
  findReport,
  firstEntryMs,
  insertReport,
  listReports,
  pageActorDays,
  type ReportRow,
  totalsOf,
} from "./store.ts";
import { THRESHOLDS_VERSION, thresholds } from "./thresholds.ts";

export type ReportContext = Pick<Context, "db" | "ring" | "clock" | "subjectKeys" | "logOrigin">;

/** Late events of a quarter may still come in for a day before its report is made by itself. */
const GRACE_MS = 24 * 60 * 60_000;
/** After this a missing report is overdue. */
export const OVERDUE_MS = 7 * GRACE_MS;
const BATCH = 1_000;
const BATCHES_MAX = 500;
const PAGE = 2_000;
const FINDINGS_MAX = 10_000;
const QUARTERS_MAX = 8;

/**
 * The report of a quarter, made now unless there is one. By whom: a caller, or nobody when it is made by itself.
 * @throws DomainError QUARTER_INVALID, ANALYSIS_BEHIND
 */
export async function createReport(
  context: ReportContext,
  name: string,
  call: HandlerContext | undefined,
  createdBy: string,
): Promise<ReportRow & { readonly document: Buffer }> {
  const { db, clock } = context;
  const quarter = parseQuarter(name);
  const firstMs = await firstEntryMs(db);
  if (quarter === undefined || quarter.endMs > clock.nowMs() || firstMs === undefined || quarter.endMs <= firstMs)
    throw fieldError("QUARTER_INVALID", "quarter", "has not ended, or lies before the log");
  const existing = await findReport(db, name);
  if (existing !== undefined) return existing;
  if (!(await countUpToDate(context, BATCHES_MAX, BATCH))) throw new DomainError("ANALYSIS_BEHIND");
  const { findings, document } = await composeReport(context, quarter);
  const row: ReportRow = {
    quarter: name,
    createdAtMs: clock.nowMs(),
    createdBy,
    thresholdsVersion: THRESHOLDS_VERSION,
    findings,
    digest: sha256(document),
  };
  await transaction(db, async (tx) => {
    if (!(await insertReport(tx, row, document))) return;
    await recordEvent(context, tx, call ?? { service: "audit" }, {
      type: "report.created",
      outcome: "SUCCESS",
      digest: row.digest,
      details: { quarter: name, findings: String(findings) },
    });
  });
  // Two at once: the first one's counts.
  return (await findReport(db, name)) ?? { ...row, document };
}

async function composeReport({ db, clock, logOrigin }: ReportContext, quarter: Quarter) {
  const fromDay = dayOf(quarter.startMs);
  const untilDay = dayOf(quarter.endMs);
  const { size, note } = await publishedCheckpoint(db);
  const findings: Finding[] = [];
  let found = 0;
  for await (const days of actorHistories(db, { fromDay: dayOf(quarterBefore(quarter).startMs), untilDay })) {
    const ofActor = detect(days, thresholds[THRESHOLDS_VERSION], fromDay);
    found += ofActor.length;
    findings.push(...ofActor.slice(0, FINDINGS_MAX - findings.length));
  }
  const document = {
    format: "fujie.audit.analysis.v1",
    quarter: quarter.name,
    createTime: new Date(clock.nowMs()).toISOString(),
    thresholdsVersion: THRESHOLDS_VERSION,
    thresholds: thresholds[THRESHOLDS_VERSION],
    logOrigin,
    logSize: size,
    checkpoint: note,
    events: Object.fromEntries((await totalsOf(db, fromDay, untilDay)).map(({ type, count }) => [type, count])),
    findingsFound: found,
    findings: findings.map(({ day, ...finding }) => ({ ...finding, day: formatDay(day) })),
  };
  return { findings: found, document: Buffer.from(JSON.stringify(document)) };
}

/** Each actor's days, one actor at a time: bounded by what one can do in half a year. */
async function* actorHistories(
  db: Context["db"],
  period: { readonly fromDay: number; readonly untilDay: number },
): AsyncGenerator<readonly ActorDay[]> {
  let after: Pick<ActorDay, "actor" | "day"> = { actor: "", day: -1 };
  let days: ActorDay[] = [];
  for (;;) {
    const page = await pageActorDays(db, after, period, PAGE);
    for (const day of page) {
      if (days[0] !== undefined && days[0].actor !== day.actor) {
        yield days;
        days = [];
      }
      days.push(day);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    after = last;
  }
  if (days.length > 0) yield days;
}

/** Quarters that have ended and have no report, the newest first; of the last two years. */
export async function missingQuarters({ db, clock }: Pick<ReportContext, "db" | "clock">): Promise<Quarter[]> {
  const firstMs = await firstEntryMs(db);
  if (firstMs === undefined) return [];
  const reported = new Set((await listReports(db)).map(({ quarter }) => quarter));
  const ended: Quarter[] = [];
  let quarter = quarterBefore(quarterOf(clock.nowMs()));
  while (quarter.endMs > firstMs && ended.length < QUARTERS_MAX) {
    ended.push(quarter);
    quarter = quarterBefore(quarter);
  }
  return ended.filter(({ name }) => !reported.has(name));
}

export interface ReportSchedule {
  /** Quarters whose report is missing a week after their end. */
  overdue(): number;
  /** Makes the reports that are due. */
  tick(): Promise<number>;
}

export function createReportSchedule(context: ReportContext): ReportSchedule {
  let overdue = 0;
  return {
    overdue: () => overdue,
    async tick() {
      const count = (quarters: readonly Quarter[], afterMs: number) =>
        quarters.filter(({ endMs }) => context.clock.nowMs() >= endMs + afterMs);
      overdue = count(await missingQuarters(context), OVERDUE_MS).length;
      for (const { name } of count(await missingQuarters(context), GRACE_MS)) {
        await createReport(context, name, undefined, "audit");
      }
      overdue = count(await missingQuarters(context), OVERDUE_MS).length;
      return 0;
    },
  };
}
