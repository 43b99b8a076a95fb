/** SU-7.3.2: what has to take place how often, and how long its findings may stay open. */

const DAY_MS = 24 * 60 * 60_000;

export const assessmentKinds = ["VULNERABILITY_SCAN", "PENETRATION_TEST", "RIGHTS_REVIEW", "RISK_ASSESSMENT"] as const;
export type AssessmentKindName = (typeof assessmentKinds)[number];

const PERIODS_MS: Readonly<Record<AssessmentKindName, number>> = {
  VULNERABILITY_SCAN: 92 * DAY_MS,
  PENETRATION_TEST: 92 * DAY_MS,
  RIGHTS_REVIEW: 92 * DAY_MS,
  RISK_ASSESSMENT: 366 * DAY_MS,
};

/** Findings of high or medium risk are put right within this. */
const REMEDY_WITHIN_MS = 30 * DAY_MS;

/** When the kind is due: after the last one, or after the platform's beginning when there was none. */
export function dueMs(kind: AssessmentKindName, lastMs: number | undefined, beginningMs: number): number {
  return (lastMs ?? beginningMs) + PERIODS_MS[kind];
}

export function remedyDueMs(dateMs: number): number {
  return dateMs + REMEDY_WITHIN_MS;
}

export interface Findings {
  readonly highFindings: number;
  readonly mediumFindings: number;
}

/** Whether something has to be put right: low risk may stay. */
export function hasOpenFindings({ highFindings, mediumFindings }: Findings): boolean {
  return highFindings + mediumFindings > 0;
}
