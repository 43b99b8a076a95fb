/*
 * The registry's questions to the trust-gateway. They are asked outside transactions, by mutual TLS alone, and are
 * idempotent by request id: whoever asks again after a crash gets the first answer and no second paid call.
 */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import type { CertificateProof } from "@fujie/api/fujie/trust/v1/certificate";
import type { VerificationDecided, VerifyCertificateResponse } from "@fujie/api/fujie/trust/v1/evidence";
import { Verdict } from "@fujie/api/fujie/trust/v1/evidence";
import { type ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { outgoing } from "@fujie/kit/clients";
import { DomainError } from "@fujie/kit/errors";
import { deadlineOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import type { EvidenceRecord } from "../evidence/rules.ts";

/** How long one question may take at most: the caller still has to be answered. */
const QUESTION_MS_MAX = 5_000;
/** Kept back of the caller's deadline for what follows the question. */
const ANSWER_MS = 500;

export interface Question {
  /** Derived from what the question is about, so that asking again is the same question. */
  readonly requestId: string;
  readonly reference: string;
  readonly claim: {
    readonly type: ClaimType;
    readonly citizenId?: string;
    readonly personName?: string;
    readonly uscc?: string;
    readonly organisationName?: string;
  };
}

/**
 * Asks the trust sources. Undefined when the gateway did not take the question: it has to be asked again.
 * A decision that is PENDING arrives later by the feed "trust.verifications".
 */
export async function collectEvidence(
  { evidence, log }: Pick<Context, "evidence" | "log">,
  question: Question,
  call?: HandlerContext,
): Promise<VerificationDecided | undefined> {
  try {
    const { decision } = await evidence.collectEvidence(question, callOptions(call));
    return decision;
  } catch (error) {
    log.warn({ err: error, reference: question.reference }, "the trust-gateway did not take a question");
    return undefined;
  }
}

/**
 * Whose certificate it is that signed `message` just now. Throws what EvidenceService.VerifyCertificate answers:
 * SIGNATURE_INVALID, CERTIFICATE_*, DEPENDENCY_UNAVAILABLE.
 */
export async function verifyCertificate(
  { evidence }: Pick<Context, "evidence">,
  message: Uint8Array,
  proof: CertificateProof | undefined,
  call?: HandlerContext,
): Promise<VerifyCertificateResponse> {
  return evidence.verifyCertificate({ message, ...(proof === undefined ? {} : { proof }) }, callOptions(call));
}

/** The citizen id of a natural person's certificate. Throws CERTIFICATE_IDENTITY_CONFLICT for an organisation's. */
export function citizenIdOf({ identifier }: VerifyCertificateResponse): string {
  if (identifier.case !== "citizenId") throw new DomainError("CERTIFICATE_IDENTITY_CONFLICT");
  return identifier.value;
}

/** What a decision says, in the registry's terms; undefined while it is pending. EXPIRED: no source ever answered. */
export function verdictOf({ outcome }: VerificationDecided): "VERIFIED" | "REJECTED" | "EXPIRED" | undefined {
  if (outcome === Outcome.VERIFIED) return "VERIFIED";
  if (outcome === Outcome.EXPIRED) return "EXPIRED";
  return outcome === Outcome.REJECTED ? "REJECTED" : undefined;
}

/** The sources that agreed, as evidence about the subject. */
export function evidenceOf(decision: VerificationDecided, subjectId: string): EvidenceRecord[] {
  return decision.evidence
    .filter(({ verdict, checkTime }) => verdict === Verdict.MATCH && checkTime !== undefined)
    .map(({ evidenceId, sourceId, level, checkTime }) => ({
      subjectId,
      evidenceId,
      sourceId,
      level,
      checkedAt: new Date(checkTime === undefined ? 0 : timestampMs(checkTime)),
    }));
}

/** The trace and the cancellation of the caller's call go along, his token does not: the registry asks for itself. */
function callOptions(call: HandlerContext | undefined): CallOptions {
  if (call === undefined) return { timeoutMs: QUESTION_MS_MAX };
  const { headers: _token, ...carried } = outgoing(call);
  const left = (deadlineOf(call) ?? Number.POSITIVE_INFINITY) - ANSWER_MS;
  return { ...carried, timeoutMs: Math.max(1, Math.min(QUESTION_MS_MAX, left)) };
}
