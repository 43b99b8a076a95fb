import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  ClaimType,
  type VerificationService,
  type VerifyRequest,
  VerifyRequestSchema,
  VerifyResponseSchema,
} from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import { once, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { subjectOf, traceIdOf } from "@fujie/kit/serve";
import { type ClaimTypeName, identifierOf, narrowClaim } from "../claims/rules.ts";
import type { Context } from "../context.ts";
import { type Grant, readGrant } from "../grants/rules.ts";
import { type Policy, type PurposeRules, requireLegalBasis, requirePurpose } from "../policy/rules.ts";
import { takeApplicationQuota, takeIdentifierQuota } from "../quotas/take.ts";
import { type Accepted, acceptQuestion, type Question } from "./accept.ts";
import { awaitDecision, receiptOf, recordingRefusals, settleForCaller } from "./answer.ts";
import { planNow } from "./plan.ts";
import { describeVerification } from "./rules.ts";

/** Where the purpose sets no level: whatever a lawful source can vouch for. */
export const LEVEL_LOWEST = 1;

export function verificationService(context: Context) {
  const { db, ring, clock } = context;
  return {
    async verify(request, call) {
      const { application, clientId } = subjectOf(call);
      if (application === undefined) throw new DomainError("OBJECT_FORBIDDEN");
      let fresh: { accepted: Accepted; question: Question } | undefined;
      const event = { type: "verification.refused", purpose: request.purpose };
      const { verification } = await recordingRefusals(context, call, event, () =>
        transaction(db, (tx) =>
          once(
            tx,
            {
              caller: `application:${application}:${clientId}`,
              method: call.method.name,
              requestId: request.requestId,
              requestSchema: VerifyRequestSchema,
              request,
              responseSchema: VerifyResponseSchema,
              keys: ring,
              clock,
            },
            async () => {
              const question = await examine(context, request, application, traceIdOf(call));
              const accepted = await acceptQuestion(context, tx, question);
              const { verificationId } = accepted.row;
              await recordEvent(context, tx, call, {
                type: "verification.requested",
                outcome: "PENDING",
                subject: question.ground.grant?.accountId ?? "",
                purpose: request.purpose,
                details: {
                  verification_id: verificationId,
                  claim_type: question.claim.type,
                  ground: question.ground.code,
                },
              });
              fresh = { accepted, question };
              return create(VerifyResponseSchema, { verification: { verificationId } });
            },
          ),
        ),
      );
      if (fresh !== undefined) await settleForCaller(context, fresh.accepted, fresh.question.plan, call);
      // A repetition finds the first one's verification, and waits for it as that one does.
      const waitMs = fresh === undefined ? undefined : 0;
      const kept = await awaitDecision(context, verification?.verificationId ?? "", call, waitMs);
      return { verification: describeVerification(kept, receiptOf(context, kept)) };
    },

    async getVerification({ verificationId, waitMs }, call) {
      const kept = await awaitDecision(context, verificationId, call, waitMs);
      return { verification: describeVerification(kept, receiptOf(context, kept)) };
    },

    async listSources() {
      const policy = await context.policy.current();
      const claims = context.sources.claims.map((source) => ({
        sourceId: source.id,
        claimTypes: source.claimTypes.map((type) => wireTypes[type]),
        enabled: policy.enabledSources.has(source.id),
        available: source.isAvailable(),
        latencyP95Ms: source.p95Ms() ?? 0,
      }));
      const authorities = context.sources.authorities.map(({ id }) => ({
        sourceId: id,
        enabled: policy.enabledSources.has(id),
        // Its status services are asked anew for each certificate.
        available: true,
      }));
      return { sources: [...claims, ...authorities].toSorted((a, b) => (a.sourceId < b.sourceId ? -1 : 1)) };
    },
  } satisfies ServiceImpl<typeof VerificationService>;
}

const wireTypes = {
  PERSON_TWO_ELEMENT: ClaimType.PERSON_TWO_ELEMENT,
  LEGAL_PERSON: ClaimType.LEGAL_PERSON,
  LEGAL_REPRESENTATIVE: ClaimType.LEGAL_REPRESENTATIVE,
} as const satisfies Record<ClaimTypeName, ClaimType>;

/** Whether the application may ask this: policy, elements, purpose, ground, plan, caps. In this order; cheap first. */
async function examine(
  context: Context,
  request: VerifyRequest,
  applicationId: string,
  traceId: string,
): Promise<Question> {
  const { clock, environment } = context;
  const policy = await context.policy.current();
  const claim = narrowClaim(request.claim, { nowMs: clock.nowMs(), allowFictional: environment === "sandbox" });
  const { purpose } = request;
  const rules = requirePurpose(policy, { applicationId, purpose, claimType: claim.type });
  const { ratePerSecond } = rules.application;
  await takeApplicationQuota(context, { applicationId, ratePerSecond });
  const ground = examineGround(context, request, { applicationId, claim, policy, rules: rules.purpose });
  const plan = planNow(context, policy, { type: claim.type, level: request.level || LEVEL_LOWEST });
  if (plan === undefined) throw new DomainError("CLAIM_UNSUPPORTED");
  await takeIdentifierQuota(context, identifierOf(claim));
  return { requester: { applicationId }, claim, purpose, plan, ground, traceId };
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
      requireLegalBasis(rules, ground.value);
      return { code: `legal-basis:${ground.value}` };
    case undefined:
      throw new DomainError("CONSENT_REQUIRED");
  }
}
