import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type CollectEvidenceRequest,
  CollectEvidenceRequestSchema,
  type CollectEvidenceResponse,
  CollectEvidenceResponseSchema,
  type EvidenceService,
} from "@fujie/api/fujie/trust/v1/evidence";
import { once, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { caller, traceIdOf } from "@fujie/kit/serve";
import { verifyCertificate } from "../certificates/verify.ts";
import { narrowClaim } from "../claims/rules.ts";
import type { Context } from "../context.ts";
import { type Accepted, acceptQuestion, type Question } from "../verifications/accept.ts";
import { awaitDecision, recordingRefusals, settleForCaller } from "../verifications/answer.ts";
import { planNow } from "../verifications/plan.ts";
import { describeDecision } from "../verifications/rules.ts";
import { readEvidence } from "./store.ts";

/** The registry's own purpose at the sources: the real-name registration that the law asks for. */
export const REGISTRATION_PURPOSE = "real-name.registration";
/** A registration that the registry repeats within this time asks no source again. */
const REQUEST_KEEP_MS = 30 * 86_400_000;
/** Whatever a lawful source can vouch for. */
const LEVEL_LOWEST = 1;

export function evidenceService(context: Context) {
  return {
    collectEvidence: (request, call) => collectEvidence(context, request, call),
    verifyCertificate: (request, call) =>
      recordingRefusals(context, call, { type: "certificate.refused" }, () =>
        verifyCertificate(context, request, call),
      ),
  } satisfies ServiceImpl<typeof EvidenceService>;
}

async function collectEvidence(
  context: Context,
  request: CollectEvidenceRequest,
  call: HandlerContext,
): Promise<CollectEvidenceResponse> {
  const { db, ring, clock } = context;
  const event = { type: "verification.refused", purpose: REGISTRATION_PURPOSE };
  let fresh: { accepted: Accepted; question: Question } | undefined;
  const { decision } = await recordingRefusals(context, call, event, () =>
    transaction(db, (tx) =>
      once(
        tx,
        {
          caller: `peer:${caller(call).peer}`,
          method: call.method.name,
          requestId: request.requestId,
          requestSchema: CollectEvidenceRequestSchema,
          request,
          responseSchema: CollectEvidenceResponseSchema,
          keys: ring,
          clock,
          keepMs: REQUEST_KEEP_MS,
        },
        async () => {
          const question = await examine(context, request, traceIdOf(call));
          const accepted = await acceptQuestion(context, tx, question);
          const { verificationId } = accepted.row;
          await recordEvent(context, tx, call, {
            type: "verification.requested",
            outcome: "PENDING",
            purpose: REGISTRATION_PURPOSE,
            details: { verification_id: verificationId, claim_type: question.claim.type, ground: question.ground.code },
          });
          fresh = { accepted, question };
          return create(CollectEvidenceResponseSchema, { decision: { verificationId } });
        },
      ),
    ),
  );
  if (fresh !== undefined) await settleForCaller(context, fresh.accepted, fresh.question.plan, call);
  const kept = await awaitDecision(context, decision?.verificationId ?? "", call, fresh === undefined ? undefined : 0);
  const evidence = await readEvidence(db, ring, kept.verificationId);
  return create(CollectEvidenceResponseSchema, { decision: describeDecision(kept, evidence.rows) });
}

async function examine(context: Context, request: CollectEvidenceRequest, traceId: string): Promise<Question> {
  const { clock, environment } = context;
  const policy = await context.policy.current();
  const claim = narrowClaim(request.claim, { nowMs: clock.nowMs(), allowFictional: environment === "sandbox" });
  const plan = planNow(context, policy, { type: claim.type, level: LEVEL_LOWEST });
  if (plan === undefined) throw new DomainError("CLAIM_UNSUPPORTED");
  return {
    requester: { reference: request.reference },
    claim,
    purpose: REGISTRATION_PURPOSE,
    plan,
    ground: { code: "registry" },
    traceId,
  };
}
