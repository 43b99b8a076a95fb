/** How calls end in the ledger, and which days a question about usage may name. Pure. */
import { fieldError } from "@fujie/kit/errors";
import type { Sent } from "./book.ts";

export type CallEndState = "ANSWERED" | "SHARED" | "NOT_BILLED" | "UNKNOWN";

export interface CallEnd {
  readonly bizSeq: string;
  readonly end: CallEndState;
  /** How many checks the source bills for it; 0 unless it is answered. */
  readonly billed: number;
}

export interface Standing {
  /** What this process knows of its own call. */
  readonly sent: Sent["state"] | undefined;
  /** Whether the source's word is there. */
  readonly answered: boolean;
  /** Whether the question to the source has not ended: others may need it still, and it may be sent yet. */
  readonly asking: boolean;
  /** Whether nobody else can have asked under this bizSeq: it was made for this very attempt. */
  readonly fresh: boolean;
  /** Whether nobody will ask under it again. */
  readonly decided: boolean;
}

/** The end of a call, or undefined while it has none: it may still be asked under the same bizSeq. */
export function endOf({ sent, answered, asking, fresh, decided }: Standing): CallEndState | undefined {
  if (sent === "ANSWERED" || sent === "UNKNOWN") return sent;
  if (answered && fresh && sent === undefined) return "SHARED";
  if (!decided) return undefined;
  // Somebody who asked before, and died, may have been answered.
  return fresh && !asking ? "NOT_BILLED" : "UNKNOWN";
}

/** A check is looked for only once it cannot be on its way any more: then "never arrived" is for good. */
export const LOOK_AFTER_MS = 60_000;
const LOOK_CAP_MS = 3_600_000;
/** Sources keep answers for 24 hours (fujie.source.v1): later "never arrived" says nothing. */
export const LOOK_UNTIL_MS = 23 * 3_600_000;

/** When to look again after the `looks`-th time; undefined: no more, the two sides have to settle it by hand. */
export function nextLookMs(askedAtMs: number, looks: number, nowMs: number): number | undefined {
  const nextMs = nowMs + Math.min(LOOK_CAP_MS, LOOK_AFTER_MS * 2 ** Math.min(looks, 16));
  return nextMs <= askedAtMs + LOOK_UNTIL_MS ? nextMs : undefined;
}

const DAYS_MAX = 92;
const DAY_MS = 86_400_000;
const DATE = /^\d{4}-\d\d-\d\d$/;

export interface Days {
  /** "YYYY-MM-DD". */
  readonly start: string;
  /** The first day after. */
  readonly end: string;
}

/** Throws DATE_RANGE_INVALID naming the field. */
export function requireDays({ startDate, endDate }: { readonly startDate: string; readonly endDate: string }): Days {
  const startMs = requireDate("start_date", startDate);
  const endMs = requireDate("end_date", endDate);
  if (endMs <= startMs) throw fieldError("DATE_RANGE_INVALID", "end_date", "is not after the first day");
  if (endMs - startMs > DAYS_MAX * DAY_MS) {
    throw fieldError("DATE_RANGE_INVALID", "end_date", `is more than ${DAYS_MAX} days after the first`);
  }
  return { start: startDate, end: endDate };
}

function requireDate(field: string, text: string): number {
  const ms = DATE.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  const exists = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
  if (!exists) throw fieldError("DATE_RANGE_INVALID", field, "is no day like 2026-03-01");
  return ms;
}
