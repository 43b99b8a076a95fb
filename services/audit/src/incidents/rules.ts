/*
 * SU-7.3.3: the managing authority is told within two hours of the detection.
 *
 *   detected ──60 min──▶ level 1 ──90──▶ level 2 ──110──▶ level 3 ──120──▶ level 4: missed, recorded, never hidden
 *       └── the receipt of revision 1 stops the clock
 */
import { DomainError, fieldError } from "@fujie/kit/errors";

const MINUTE_MS = 60_000;

/** The report has to be delivered before this is over. */
export const REPORT_WITHIN_MS = 120 * MINUTE_MS;

/** Minutes after the detection at which each level is reached, level 1 first; the last is the missed deadline. */
const ESCALATIONS_MS = [60, 90, 110, 120].map((minutes) => minutes * MINUTE_MS);
export const MISSED = ESCALATIONS_MS.length;

/** The level of an incident whose report is not delivered yet: 0 to 4. */
export function escalationAt(detectedAtMs: number, nowMs: number): number {
  return ESCALATIONS_MS.filter((afterMs) => nowMs - detectedAtMs >= afterMs).length;
}

/** Whether a report that came, or did not come yet, at that time is late. At 120:00 it is. */
export function isLate(detectedAtMs: number, atMs: number): boolean {
  return atMs - detectedAtMs >= REPORT_WITHIN_MS;
}

/** The time of detection to reckon from: as stated, never in the future. */
export function detectionMs(statedMs: number | undefined, nowMs: number): number {
  const detectedAtMs = statedMs ?? nowMs;
  if (!(detectedAtMs >= 0 && detectedAtMs <= nowMs))
    throw fieldError("INCIDENT_TIME_INVALID", "detect_time", "lies in the future");
  return detectedAtMs;
}

export interface ReportParts {
  readonly occurredAtMs: number | undefined;
  readonly scope: string;
  readonly harm: string;
  readonly measures: string;
  readonly rectification: string;
}

const texts = ["scope", "harm", "measures", "rectification"] as const;

/** Throws REPORT_INCOMPLETE that names every part that a report lacks, INCIDENT_TIME_INVALID. */
export function requireComplete(parts: ReportParts, nowMs: number): void {
  refuseMissing(
    [
      ...(parts.occurredAtMs === undefined ? ["occur_time"] : []),
      ...texts.filter((name) => parts[name].trim() === ""),
    ].map((name) => `parts.${name}`),
  );
  requirePast(parts, nowMs);
}

/** An amendment says why, and says something. */
export function requireAmendment(reason: string, parts: ReportParts, nowMs: number): void {
  const saysNothing = parts.occurredAtMs === undefined && texts.every((name) => parts[name].trim() === "");
  refuseMissing([...(reason.trim() === "" ? ["reason"] : []), ...(saysNothing ? ["parts"] : [])]);
  requirePast(parts, nowMs);
}

function refuseMissing(fields: readonly string[]): void {
  if (fields.length === 0) return;
  throw new DomainError("REPORT_INCOMPLETE", {
    violations: fields.map((field) => ({ field, description: "is missing" })),
  });
}

function requirePast({ occurredAtMs }: ReportParts, nowMs: number): void {
  if (occurredAtMs !== undefined && occurredAtMs > nowMs)
    throw fieldError("INCIDENT_TIME_INVALID", "parts.occur_time", "lies in the future");
}

export interface ReportHead {
  readonly incidentId: string;
  readonly revision: number;
  readonly kind: string;
  readonly drill: boolean;
  readonly detectedAtMs: number;
  readonly openedAtMs: number;
  readonly submittedAtMs: number;
  readonly logOrigin: string;
  /** SHA-256 of each frozen bundle of evidence. */
  readonly evidence: readonly Uint8Array[];
}

/** The document that is signed, sealed in the log and sent. */
export function composeReport(head: ReportHead, parts: ReportParts, reason = ""): Buffer {
  const { incidentId, revision, kind, drill, logOrigin } = head;
  const said = texts.filter((name) => parts[name].trim() !== "").map((name) => [name, parts[name]]);
  const document = {
    format: "fujie.audit.incident-report.v1",
    incidentId,
    revision,
    kind,
    drill,
    detectTime: iso(head.detectedAtMs),
    openTime: iso(head.openedAtMs),
    submitTime: iso(head.submittedAtMs),
    late: revision === 1 && isLate(head.detectedAtMs, head.submittedAtMs),
    ...(parts.occurredAtMs === undefined ? {} : { occurTime: iso(parts.occurredAtMs) }),
    ...Object.fromEntries(said),
    ...(reason === "" ? {} : { reason }),
    logOrigin,
    evidence: head.evidence.map((digest) => Buffer.from(digest).toString("hex")),
  };
  return Buffer.from(JSON.stringify(document));
}

const iso = (ms: number): string => new Date(ms).toISOString();
