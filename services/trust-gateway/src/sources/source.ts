/** What a trust source is to the gateway: the one small interface that every adapter implements. */
import type { ClaimElements } from "@fujie/identity";
import type { ClaimTypeName } from "../claims/rules.ts";

export type SourceKind = "population-base" | "legal-person-base" | "partner";

/** One question to one source. Repeating it under the same bizSeq is the same question, and paid once. */
export interface Check {
  /** 32 lower-case hexadecimal characters. */
  readonly bizSeq: string;
  /** 32 random bytes for sources that sign their answers. */
  readonly nonce: Uint8Array;
  readonly claim: ClaimElements;
  readonly purpose: string;
  /** When it was asked for the first time: no answer can be older. */
  readonly askedAtMs: number;
}

export interface Answer {
  readonly verdict: "MATCH" | "MISMATCH" | "NO_RECORD";
  /** At which level of assurance, 1 to 3. */
  readonly level: number;
  readonly checkedAtMs: number;
}

export interface MaintenanceWindow {
  readonly startMs: number;
  readonly endMs: number;
}

/** What is known of a source without asking it. */
export interface SourceFacts {
  readonly id: string;
  readonly kind: SourceKind;
  readonly claimTypes: readonly ClaimTypeName[];
  /** The highest level of its answers. */
  readonly level: number;
  /** Of one check, in hundredths of a yuan. */
  readonly priceFen: number;
  readonly usualLatencyMs: number;
}

export interface Source extends SourceFacts, Disposable {
  /** Asks once. Throws SourceError for everything that is not an answer. */
  check(check: Check, signal: AbortSignal): Promise<Answer>;
  /** What became of a check whose answer was lost; undefined: it never arrived and was not paid. Throws SourceError. */
  findOutcome(check: Check, signal: AbortSignal): Promise<Answer | undefined>;
  /** The maintenance that the source announces, where it does. Throws SourceError. */
  describe?(signal: AbortSignal): Promise<readonly MaintenanceWindow[]>;
}

export type SourceFault =
  /** It says that it did not take the check: not paid. */
  | "AWAY"
  /** The answer was lost: it may have been paid. */
  | "UNKNOWN"
  /** Over its quota: not paid, and no fault of its availability. */
  | "LIMITED"
  /** It does not accept the question, or its answer is not acceptable: asking again is no use. */
  | "REFUSED";

/** Why there is no answer. The message names the fault's kind and never an element. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  readonly fault: SourceFault;
  readonly retryAfterMs: number | undefined;

  constructor(
    fault: SourceFault,
    what: string,
    details: { readonly retryAfterMs?: number; readonly cause?: unknown } = {},
  ) {
    super(`${fault}: ${what}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.fault = fault;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** How far a source's clock may differ from ours. */
export const CLOCK_SKEW_MS = 60_000;
/** An answer that comes at once may not be older than this (fujie.source.v1.Assertion.check_time). */
export const ANSWER_AGE_MAX_MS = 5 * 60_000;

/**
 * Whether a source can have looked at that moment: not in the future, and not before it was asked; the answer to a
 * check that is asked for the first time is fresh by that too.
 */
export function isPlausibleCheckTime(checkedAtMs: number, askedAtMs: number, nowMs: number): boolean {
  return checkedAtMs <= nowMs + CLOCK_SKEW_MS && checkedAtMs >= Math.min(askedAtMs, nowMs) - CLOCK_SKEW_MS;
}
