import type { DayCount } from "../analysis/activity.ts";
import { formatDay } from "../analysis/china-time.ts";

/** Counts below this could tell about single people: they are left out, and no total lets them be reckoned back. */
export const SUPPRESSED_BELOW = 10;

/** What people are told of: how they use the platform. */
const PUBLISHED_TYPES: ReadonlySet<string> = new Set([
  "account.cancelled",
  "case.log-released",
  "consent.granted",
  "consent.withdrawn",
  "identity.disclosed",
  "organisation.registered",
  "registration.confirmed",
  "registration.submitted",
  "session.refused",
  "session.started",
  "verification.decided",
]);

/** The document of a day: the same bytes whatever the order of the counts. */
export function composeStatistics(day: number, counts: readonly DayCount[], checkpoint: string): Buffer {
  const told = counts
    .filter(({ type, count }) => PUBLISHED_TYPES.has(type) && count >= SUPPRESSED_BELOW)
    .map(({ type, method, outcome, count }) => ({ type, ...(method === "" ? {} : { method }), outcome, count }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  const document = {
    format: "fujie.audit.statistics.v1",
    day: formatDay(day),
    timeZone: "Asia/Shanghai",
    suppressedBelow: SUPPRESSED_BELOW,
    counts: told,
    checkpoint,
  };
  return Buffer.from(JSON.stringify(document));
}
