/** What a verification is, and what its callers may see of it. Pure. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { VerificationDecidedSchema, Verdict as WireVerdict } from "@fujie/api/fujie/trust/v1/evidence";
import {
  Outcome,
  type Receipt,
  VerificationSchema,
  PendingReason as WirePendingReason,
} from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import { isClaimElements } from "../claims/rules.ts";
import type { EvidenceRow } from "../evidence/mac.ts";
import type { PendingReason, Verdict } from "../evidence/rules.ts";

/** Who asks: an application, or the registry under its own reference. */
export type Requester = { readonly applicationId: string } | { readonly reference: string };

/** Everything about a verification that is not secret. */
export interface Verification {
  readonly verificationId: string;
  readonly applicationId: string | undefined;
  readonly reference: string | undefined;
  readonly state: "PENDING" | "VERIFIED" | "REJECTED" | "EXPIRED";
  readonly pendingReason: PendingReason | undefined;
  readonly level: number;
  readonly decidedAtMs: number | undefined;
}

const outcomes = {
  PENDING: Outcome.PENDING,
  VERIFIED: Outcome.VERIFIED,
  REJECTED: Outcome.REJECTED,
  EXPIRED: Outcome.EXPIRED,
} as const satisfies Record<Verification["state"], Outcome>;

const pendingReasons = {
  SOURCE_AWAY: WirePendingReason.SOURCE_AWAY,
  REVIEW: WirePendingReason.REVIEW,
} as const satisfies Record<PendingReason, WirePendingReason>;

const verdicts = {
  MATCH: WireVerdict.MATCH,
  MISMATCH: WireVerdict.MISMATCH,
  NO_RECORD: WireVerdict.NO_RECORD,
  // An element differs, if only in how it is written.
  VARIANT: WireVerdict.MISMATCH,
  UNAVAILABLE: WireVerdict.UNAVAILABLE,
  NOT_CHECKED: WireVerdict.NOT_CHECKED,
} as const satisfies Record<Verdict, WireVerdict>;

/** The result only (NI-10): nothing here depends on what a source said but the outcome. */
export function describeVerification(
  verification: Verification,
  receipt: Receipt | undefined,
): MessageInitShape<typeof VerificationSchema> {
  return { verificationId: verification.verificationId, ...describeResult(verification), ...(receipt && { receipt }) };
}

/** A decision with its evidence, for the registry alone. */
export function describeDecision(verification: Verification, evidence: readonly EvidenceRow[]) {
  return create(VerificationDecidedSchema, {
    verificationId: verification.verificationId,
    reference: verification.reference ?? "",
    ...describeResult(verification),
    evidence: evidence.map(({ evidenceId, sourceId, verdict, level, checkedAtMs }) => ({
      evidenceId,
      sourceId,
      verdict: verdicts[verdict],
      level,
      checkTime: timestampFromMs(checkedAtMs),
    })),
  });
}

function describeResult({ state, pendingReason, level, decidedAtMs }: Verification) {
  return {
    outcome: outcomes[state],
    level,
    pendingReason: state === "PENDING" ? pendingReasons[pendingReason ?? "SOURCE_AWAY"] : WirePendingReason.UNSPECIFIED,
    ...(decidedAtMs === undefined ? {} : { decideTime: timestampFromMs(decidedAtMs) }),
  };
}

/** Of the topics of applications. */
export const TOPIC_PREFIX = "application.";

/** The topic that only this application follows. */
export function topicOf(applicationId: string): string {
  return `${TOPIC_PREFIX}${applicationId}`;
}

/** What the feed keeps of a decision: its id. All else is read for whoever follows, at the time. */
export function decisionEvent(verificationId: string): Any {
  return anyPack(VerificationSchema, create(VerificationSchema, { verificationId }));
}

/** Under what the elements of a pending verification are sealed. */
export function elementsAad(verificationId: string): string {
  return `verification-elements:${verificationId}`;
}

export function saltAad(verificationId: string): string {
  return `verification-salt:${verificationId}`;
}

export function encodeElements(claim: ClaimElements): Uint8Array {
  return Buffer.from(JSON.stringify(claim));
}

/** Throws on bytes that `encodeElements` did not write. */
export function decodeElements(bytes: Uint8Array): ClaimElements {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  if (!isClaimElements(value)) throw new Error("sealed elements that are none of any type");
  return value;
}
