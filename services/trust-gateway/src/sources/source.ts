/** What a trust source is to the gateway: the one small interface that every adapter implements. */
import type { ClaimElements, SourceKind } from "@fujie/identity";
import type { ClaimTypeName } from "../claims/rules.ts";

export type { SourceKind } from "@fujie/identity";

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
  /** For faces: the least similarity that the policy takes for a match, in thousandths; absent: the source's own. */
  readonly faceThreshold?: number;
}

export interface Answer {
  readonly verdict: "MATCH" | "MISMATCH" | "NO_RECORD";
  /** At which level of assurance, 1 to 3. */
  readonly level: number;
  readonly checkedAtMs: number;
  /** For faces: the similarity found, in thousandths. */
  readonly similarity?: number;
  /** The record's name may be another spelling of the claim's (private-use characters): a person decides. */
  readonly variant?: boolean;
  /** How many checks the source bills for it; one where it is absent. */
  readonly billed?: number;
}

/** A face that is less alike than the policy asks for is no match; what the source does not call one never becomes one. */
export function judgeSimilarity(answer: Answer, { faceThreshold = 0 }: Pick<Check, "faceThreshold">): Answer {
  const enough = (answer.similarity ?? 0) >= faceThreshold;
  return answer.verdict === "MATCH" && !enough ? { ...answer, verdict: "MISMATCH" } : answer;
}

export interface MaintenanceWindow {
  readonly startMs: number;
  readonly endMs: number;
}

/** What a source says of itself. */
export interface Announcement {
  readonly maintenance: readonly MaintenanceWindow[];
  /** The claim types that it answers, and the highest level of its answers, where it says so. */
  readonly claimTypes?: readonly ClaimTypeName[];
  readonly level?: number;
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

/** One address of a source. All addresses of a source know what each of them answered: a bizSeq is one check at all. */
export interface Replica {
  /** Asks once. Throws SourceError for everything that is not an answer. */
  check(check: Check, signal: AbortSignal): Promise<Answer>;
  /** What became of a check whose answer was lost; undefined: it never arrived and was not paid. Throws SourceError. */
  findOutcome(check: Check, signal: AbortSignal): Promise<Answer | undefined>;
}

export interface Source extends SourceFacts, Replica, Disposable {
  /** Each of its addresses, where it has several; the source itself asks the first. */
  readonly replicas?: readonly Replica[];
  /** Whether it answered the check, and so bills it; false: it never arrived. Throws SourceError. */
  wasAnswered(bizSeq: string, signal: AbortSignal): Promise<boolean>;
  /** What the source says of itself, where it does. Throws SourceError. */
  describe?(signal: AbortSignal): Promise<Announcement>;
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
  /** Whether the source answered, and bills, a part of what it was asked. */
  readonly partlyAnswered: boolean;

  constructor(
    fault: SourceFault,
    what: string,
    details: { readonly retryAfterMs?: number; readonly partlyAnswered?: boolean; readonly cause?: unknown } = {},
  ) {
    super(`${fault}: ${what}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.fault = fault;
    this.retryAfterMs = details.retryAfterMs;
    this.partlyAnswered = details.partlyAnswered === true;
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
