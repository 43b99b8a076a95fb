/** What an evidence policy has to be: as the gateway reads it, so that none is approved that it would refuse. Pure. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ClaimPolicy } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { isSourceKind } from "@fujie/identity";
import { fieldError } from "@fujie/kit/errors";

function invalid(field: string, problem: string) {
  return fieldError("CLAIM_POLICY_INVALID", `policy.${field}`, problem);
}

/** From when until when. Validation has required the start. */
export function spanOf({ startTime, endTime }: ClaimPolicy): { readonly start: Date; readonly end: Date | null } {
  if (startTime === undefined) throw invalid("start_time", "is missing");
  return { start: timestampDate(startTime), end: endTime === undefined ? null : timestampDate(endTime) };
}

/** Throws CLAIM_POLICY_INVALID naming the field. A policy that has begun can be neither proposed nor approved. */
export function requireSoundPolicy(policy: ClaimPolicy, now: Date): void {
  const { claimType, voices, needed, reuseSeconds } = policy;
  const { start, end } = spanOf(policy);
  if (start < now) throw invalid("start_time", "is past");
  if (end !== null && end <= start) throw invalid("end_time", "is not after start_time");
  if (needed > voices.length) throw invalid("needed", "is more than there are voices");
  // A challenge is honoured once: what was shown by it says nothing of another one.
  if (claimType === ClaimType.CERTIFICATE_POSSESSION && reuseSeconds > 0)
    throw invalid("reuse_seconds", "is not 0 for a certificate's possession");
  const seen = new Set<string>();
  for (const [i, { source, rank }] of voices.entries()) {
    const name = `${source.case} ${source.value}`;
    if (source.case === "kind" && !isSourceKind(source.value))
      throw invalid(`voices[${i}].kind`, "is not one that there is");
    if (seen.has(name)) throw invalid(`voices[${i}]`, "has a voice already");
    if (rank > (voices[i - 1]?.rank ?? rank)) throw invalid(`voices[${i}].rank`, "is above the one before it");
    seen.add(name);
  }
}

export interface Span {
  readonly start: Date;
  readonly end: Date | null;
}

/**
 * How a policy joins the approved ones of its type: it begins where the last one ends, or ends the last one that has no
 * end. Returns whether it does the latter. Throws CLAIM_POLICY_INVALID.
 */
export function requireSuccessor(next: Span, last: Span | undefined): { readonly endsLast: boolean } {
  if (last === undefined) return { endsLast: false };
  if (last.end === null) {
    if (next.start <= last.start) throw invalid("start_time", "is not after the policy before it begins");
    return { endsLast: true };
  }
  if (next.start.getTime() !== last.end.getTime())
    throw invalid("start_time", "is not where the policy before it ends");
  return { endsLast: false };
}
