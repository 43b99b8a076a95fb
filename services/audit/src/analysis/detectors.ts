/**
 * Detectors of abnormal operations (SU-7.3.1c): pure functions over what one actor did day by day. A finding is a
 * reason to look, never a verdict.
 */
import type { ActorDay } from "./activity.ts";
import type { Thresholds } from "./thresholds.ts";

export const detectorNames = [
  "burst",
  "oddHours",
  "travel",
  "enumeration",
  "dormant",
  "purposeless",
  "bulkApproval",
] as const;
export type DetectorName = (typeof detectorNames)[number];

export interface Finding {
  readonly detector: DetectorName;
  readonly actor: string;
  readonly day: number;
  /** The numbers that it rests on. */
  readonly facts: Readonly<Record<string, number>>;
}

/** `days` are one actor's, in order, with those before the period as the past; findings are of `fromDay` and later. */
type Detector = (days: readonly ActorDay[], thresholds: Thresholds, fromDay: number) => Finding[];

export const detectors: Readonly<Record<DetectorName, Detector>> = {
  burst: (days, { burst }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity }) => {
      const acts = Math.max(...activity.acts);
      const past = days.filter((earlier) => earlier.day < day && earlier.day >= day - burst.pastDays);
      const hours = past.flatMap((earlier) => earlier.activity.acts.filter((count) => count > 0));
      const usual = hours.length >= burst.pastHours ? median(hours) : undefined;
      const limit = usual === undefined ? burst.actsWithoutPast : Math.max(burst.actsMin, usual * burst.timesMedian);
      return acts < limit ? [] : [{ detector: "burst", actor, day, facts: { acts, usual: usual ?? 0 } }];
    }),

  oddHours: (days, { oddHours }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity }) => {
      const isOdd = (hour: number): boolean => hour >= oddHours.fromHour || hour < oddHours.untilHour;
      const odd = sum(activity.privileged.filter((_, hour) => isOdd(hour)));
      const past = days.filter((earlier) => earlier.day < day).map((earlier) => earlier.activity.privileged);
      const before = sum(past.flat());
      const oddBefore = sum(past.flatMap((hours) => hours.filter((_, hour) => isOdd(hour))));
      const isUsual = before >= oddHours.actsMin && oddBefore / before >= oddHours.usualShare;
      return odd < oddHours.actsMin || isUsual ? [] : [{ detector: "oddHours", actor, day, facts: { acts: odd } }];
    }),

  travel: (days, { travel }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity: { signIns } }) => {
      const withinMs = travel.withinMinutes * 60_000;
      const networks = signIns.map(({ timeMs }, first) => {
        const together = signIns.slice(first).filter((other) => other.timeMs - timeMs < withinMs);
        return new Set(together.map(({ network }) => network)).size;
      });
      const most = Math.max(0, ...networks);
      return most < travel.networks ? [] : [{ detector: "travel", actor, day, facts: { networks: most } }];
    }),

  enumeration: (days, { enumeration }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity }) => {
      const { refused, refusedSubjects } = activity;
      const share = refused / Math.max(1, sum(activity.acts));
      const isSweep = refused >= enumeration.refused && share >= enumeration.share;
      if (refusedSubjects.length < enumeration.subjects && !isSweep) return [];
      return [{ detector: "enumeration", actor, day, facts: { refused, subjects: refusedSubjects.length } }];
    }),

  dormant: (days, { dormant }, fromDay) =>
    days.flatMap(({ actor, day, activity }, at) => {
      const previous = days[at - 1];
      if (day < fromDay || previous === undefined) return [];
      const [acts, privileged] = [sum(activity.acts), sum(activity.privileged)];
      const silent = day - previous.day;
      const isMuch = acts >= dormant.acts || privileged >= dormant.privileged;
      return silent < dormant.days || !isMuch ? [] : [{ detector: "dormant", actor, day, facts: { silent, acts } }];
    }),

  purposeless: (days, { purposeless }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity: { purposeless: reads } }) =>
      reads < purposeless.reads ? [] : [{ detector: "purposeless", actor, day, facts: { reads } }],
    ),

  bulkApproval: (days, { bulkApproval }, fromDay) =>
    inPeriod(days, fromDay).flatMap(({ actor, day, activity: { approvals } }) => {
      const most = Math.max(...approvals);
      return most < bulkApproval.perHour ? [] : [{ detector: "bulkApproval", actor, day, facts: { perHour: most } }];
    }),
};

/** What all detectors find of one actor. */
export function detect(days: readonly ActorDay[], thresholds: Thresholds, fromDay: number): Finding[] {
  return Object.values(detectors).flatMap((detector) => detector(days, thresholds, fromDay));
}

function inPeriod(days: readonly ActorDay[], fromDay: number): readonly ActorDay[] {
  return days.filter(({ day }) => day >= fromDay);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function median(counts: readonly number[]): number {
  const sorted = counts.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
