/**
 * One question of an application, whether it came by Verify or in a batch: authorised, charged, recorded and answered
 * here, and nowhere else.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  ClaimType,
  type VerificationSchema,
  type VerifyRequest,
  VerifyRequestSchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { addressOf, deadlineOf, networkOf, subjectOf, traceIdOf } from "@fujie/kit/serve";
import { requireAnchored } from "../certificates/verify.ts";
import { proofOf } from "../claims/possession.ts";
import { capsOf, narrowClaim, requiresConsent } from "../claims/rules.ts";
import type { Context } from "../context.ts";
import { type Grant, readGrant } from "../grants/rules.ts";
import { requireNotBlocked } from "../policy/blocks.ts";
import { capsUnder, type Policy, type PurposeRules, requireLegalBasis, requirePurpose } from "../policy/rules.ts";
import { noticeEnumeration } from "../quotas/enumeration.ts";
import { takeApplicationQuota, takeCaps, takeNetworkQuota } from "../quotas/take.ts";
import type { Priority } from "../sources/fair-queue.ts";
import { acceptQuestion, type Question } from "./accept.ts";
import { describeForCaller, recordingRefusals } from "./answer.ts";
import { planNow } from "./plan.ts";
import { describeVerification, type Verification } from "./rules.ts";

/** Where the purpose sets no level: whatever a lawful source can vouch for. */
export const LEVEL_LOWEST = 1;

/** Answers a question of the calling application. @throws DomainError as Verify documents. */
export async function askVerification(
  context: Context,
  request: VerifyRequest,
  call: HandlerContext,
  priority: Priority,
): Promise<MessageInitShape<typeof VerificationSchema>> {
  const { ring, clock } = context;
  const { application, clientId } = subjectOf(call);
  if (application === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  const event = { type: "verification.refused", purpose: request.purpose };
  const repeatable = {
    caller: `application:${application}:${clientId}`,
    method: VERIFY,
    requestId: request.requestId,
    requestSchema: VerifyRequestSchema,
    request,
    responseSchema: VerifyResponseSchema,
    keys: ring,
    clock,
    idsOnly: true,
    answer: (verificationId: string) => create(VerifyResponseSchema, { verification: { verificationId } }),
    idOf: ({ verification }: VerifyResponse) => verification?.verificationId ?? "",
  };
  const asked = await recordingRefusals(context, call, event, () =>
    acceptQuestion(context, repeatable, call, () => examine(context, request, { application, priority, call })),
  );
  const { verification, receipt } = await describeForCaller(context, asked, call);
  requireLearnt(request, verification);
  return describeVerification(verification, receipt);
}

/**
 * A challenge does not live as long as a pending verification: who cannot be told at once is told why. Asking again
 * under the same request_id gives the answer as soon as there is one.
 */
function requireLearnt({ claim }: VerifyRequest, { state }: Pick<Verification, "state">): void {
  const isPossession = claim?.type === ClaimType.CERTIFICATE_POSSESSION;
  if (isPossession && state === "PENDING") throw new DomainError("CERTIFICATE_STATUS_UNKNOWN");
}

/** The request_id of a question is the same whether it comes alone or in a batch. */
const VERIFY = "Verify";

interface Asking {
  readonly application: string;
  readonly priority: Priority;
  readonly call: HandlerContext;
}

/** Whether the application may ask this: policy, elements, purpose, ground, plan, caps. In this order; cheap first. */
async function examine(
  context: Context,
  request: VerifyRequest,
  { application: applicationId, priority, call }: Asking,
): Promise<Question> {
  const { clock, environment } = context;
  const policy = await context.policy.current();
  const narrowing = { nowMs: clock.nowMs(), allowFictional: environment === "sandbox", applicationId };
  const claim = narrowClaim(request.claim, narrowing);
  const { purpose } = request;
  const rules = requirePurpose(policy, { applicationId, purpose, claimType: claim.type });
  requireNotBlocked(context, policy.blocks, { claim, applicationId, address: addressOf(call) });
  const counting = { ...context, caps: capsUnder(context.caps, policy.caps) };
  await takeNetworkQuota(counting, networkOf(call));
  const { ratePerSecond, dailyLimit } = rules.application;
  await takeApplicationQuota(context, { applicationId, ratePerSecond, dailyLimit });
  const ground = examineGround(context, request, { applicationId, claim, policy, rules: rules.purpose });
  if (claim.type === "CERTIFICATE_POSSESSION") await requireAnchored(context, proofOf(claim).certificates);
  const level = request.level || LEVEL_LOWEST;
  const asking = { requester: { applicationId }, claim, purpose, level, priority };
  const deadlineMs = deadlineOf(call);
  const plan = await planNow(context, policy, deadlineMs === undefined ? asking : { ...asking, deadlineMs });
  await takeCaps(counting, capsOf(claim));
  if ("citizenId" in claim) await watchForEnumeration(context, call, applicationId, claim.citizenId);
  return { requester: { applicationId }, claim, purpose, plan, ground, priority, traceId: traceIdOf(call) };
}

/** Tells the operators, and lets the question pass: what is suspected may be a school's roll. */
async function watchForEnumeration(
  context: Context,
  call: HandlerContext,
  applicationId: string,
  citizenId: string,
): Promise<void> {
  if (!(await noticeEnumeration(context, applicationId, citizenId))) return;
  context.alarms.enumeration();
  await transaction(context.db, (tx) =>
    recordEvent(context, tx, call, { type: "enumeration.suspected", outcome: "SUCCESS", applicationId }),
  );
}

function examineGround(
  { bundle, ring, clock }: Context,
  { ground, purpose }: VerifyRequest,
  asked: {
    readonly applicationId: string;
    readonly claim: ClaimElements;
    readonly policy: Policy;
    readonly rules: PurposeRules;
  },
): { code: string; grant?: Grant } {
  const { applicationId, claim, policy, rules } = asked;
  switch (ground.case) {
    case "consentGrant": {
      const nowMs = clock.nowMs();
      const question = { applicationId, purpose, claim, nowMs, withdrawn: policy.withdrawnGrants };
      const grant = readGrant(ground.value, question, { bundle, ring });
      return { code: `consent:${grant.grantId}`, grant };
    }
    case "legalBasis":
      if (requiresConsent(claim.type)) throw new DomainError("CONSENT_REQUIRED");
      requireLegalBasis(rules, ground.value);
      return { code: `legal-basis:${ground.value}` };
    case undefined:
      throw new DomainError("CONSENT_REQUIRED");
  }
}
