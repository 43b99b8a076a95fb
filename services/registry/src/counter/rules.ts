import { fieldError } from "@fujie/kit/errors";
import type { VersionedDigest } from "@fujie/kit/keys";

export type DecisionName = "CONFIRM" | "REFUSE";

export interface SignedDecision {
  readonly registrationId: string;
  readonly decision: DecisionName;
  readonly documentIds: readonly string[];
  readonly decidedAt: Date;
}

/** The exact bytes that the operator signs (counter.proto, DecideRegistrationRequest.signature). */
export function decisionMessage({ registrationId, decision, documentIds, decidedAt }: SignedDecision): Uint8Array {
  const lines = ["fujie-counter-decision-v1", registrationId, decision, documentIds.join(","), decidedAt.getTime()];
  return Buffer.from(`${lines.join("\n")}\n`);
}

const DECISION_AGE_MS = 10 * 60_000;
/** The operator's clock may be ahead by this much. */
const CLOCK_SKEW_MS = 60_000;

/** Throws FIELD_INVALID when the decision is older than ten minutes, or of the future. */
export function requireRecent(decidedAt: Date, nowMs: number): void {
  const ageMs = nowMs - decidedAt.getTime();
  if (ageMs > DECISION_AGE_MS || ageMs < -CLOCK_SKEW_MS) {
    throw fieldError("FIELD_INVALID", "decide_time", "must be at most ten minutes ago");
  }
}

/** Whether two identifiers are one, by the digests of any key version that both have. */
export function isSameIdentifier(a: readonly VersionedDigest[], b: readonly VersionedDigest[]): boolean {
  return a.some((one) => b.some((other) => one.version === other.version && one.digest.equals(other.digest)));
}
