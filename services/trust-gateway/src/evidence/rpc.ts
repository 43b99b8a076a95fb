import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type CollectEvidenceRequest,
  CollectEvidenceRequestSchema,
  type CollectEvidenceResponse,
  CollectEvidenceResponseSchema,
  type EvidenceService,
} from "@fujie/api/fujie/trust/v1/evidence";
import { caller, traceIdOf } from "@fujie/kit/serve";
import { verifyCertificate } from "../certificates/verify.ts";
import { narrowClaim } from "../claims/rules.ts";
import type { Context } from "../context.ts";
import { requireNotBlocked } from "../policy/blocks.ts";
import { acceptQuestion, type Question } from "../verifications/accept.ts";
import { describeForCaller, recordingRefusals } from "../verifications/answer.ts";
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
  const repeatable = {
    caller: `peer:${caller(call).peer}`,
    method: call.method.name,
    requestId: request.requestId,
    requestSchema: CollectEvidenceRequestSchema,
    request,
    responseSchema: CollectEvidenceResponseSchema,
    keys: ring,
    clock,
    keepMs: REQUEST_KEEP_MS,
    idsOnly: true,
    answer: (verificationId: string) => create(CollectEvidenceResponseSchema, { decision: { verificationId } }),
    idOf: ({ decision }: CollectEvidenceResponse) => decision?.verificationId ?? "",
  };
  const asked = await recordingRefusals(context, call, event, () =>
    acceptQuestion(context, repeatable, call, () => examine(context, request, traceIdOf(call))),
  );
  const { verification } = await describeForCaller(context, asked, call);
  const evidence = await readEvidence(db, ring, verification.verificationId);
  return create(CollectEvidenceResponseSchema, { decision: describeDecision(verification, evidence.rows) });
}

async function examine(context: Context, request: CollectEvidenceRequest, traceId: string): Promise<Question> {
  const { clock, environment } = context;
  const policy = await context.policy.current();
  const claim = narrowClaim(request.claim, { nowMs: clock.nowMs(), allowFictional: environment === "sandbox" });
  requireNotBlocked(context, policy.blocks, { claim });
  const asking = {
    requester: { reference: request.reference },
    claim,
    purpose: REGISTRATION_PURPOSE,
    priority: "interactive",
  } as const;
  const plan = await planNow(context, policy, { ...asking, level: LEVEL_LOWEST });
  return { ...asking, plan, ground: { code: "registry" }, traceId };
}
