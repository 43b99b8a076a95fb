import type { Reason } from "./reasons.ts";

/** One thing wrong with one field of a request, by its proto field path ("agreement.version"). */
export interface FieldViolation {
  readonly field: string;
  /** What is wrong, for developers. Never the value itself: it may be personal. */
  readonly description: string;
}

export interface DomainErrorDetails {
  readonly violations?: readonly FieldViolation[];
  /** When trying again may help, in milliseconds. Leaves as google.rpc.RetryInfo and Retry-After. */
  readonly retryDelayMs?: number;
  /** The subject of the quota or precondition that failed, for example "application" or "identifier". */
  readonly subject?: string;
  readonly cause?: unknown;
}

/**
 * The only error that leaves a service as itself: a reason of the catalogue (reasons.ts), which gives the canonical
 * code, the texts and whether a retry may help. Anything else that is thrown leaves as INTERNAL/INTERNAL.
 */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly reason: Reason;
  readonly violations: readonly FieldViolation[];
  readonly retryDelayMs: number | undefined;
  readonly subject: string | undefined;

  constructor(reason: Reason, details: DomainErrorDetails = {}) {
    super(reason, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.violations = details.violations ?? [];
    this.retryDelayMs = details.retryDelayMs;
    this.subject = details.subject;
  }
}

/** A request field that breaks a rule: the common case of DomainError. */
export function fieldError(reason: Reason, field: string, description: string): DomainError {
  return new DomainError(reason, { violations: [{ field, description }] });
}
