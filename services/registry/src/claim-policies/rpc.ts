import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ClaimPolicyService,
  type DecideClaimPolicyRequest,
  type ListClaimPoliciesRequest,
  type ProposeClaimPolicyRequest,
  ProposeClaimPolicyRequestSchema,
  ProposeClaimPolicyResponseSchema,
  type SetCapsRequest,
} from "@fujie/api/fujie/registry/v1/sources";
import { openPage, pageSize, signPage, transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import type { Context } from "../context.ts";
import { requireOperator } from "../operators/acting.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { requireSoundPolicy, requireSuccessor, spanOf } from "./rules.ts";
import { decidePolicy, endPolicy, findLast, insertPolicy, lockPolicy, pagePolicies, setCaps } from "./store.ts";

const PROPOSE = "registry.policies.propose";
const APPROVE = "registry.policies.approve";

export function claimPolicyService(context: Context) {
  return {
    proposeClaimPolicy: recordingRefusals(context, "claim-policy.proposed", (request, call) =>
      propose(context, request, call),
    ),
    decideClaimPolicy: recordingRefusals(context, "claim-policy.approved", (request, call) =>
      decide(context, request, call),
    ),
    listClaimPolicies: (request, call) => list(context, request, call),
    setCaps: recordingRefusals(context, "caps.set", (request, call) => set(context, request, call)),
  } satisfies ServiceImpl<typeof ClaimPolicyService>;
}

async function propose(context: Context, request: ProposeClaimPolicyRequest, call: HandlerContext) {
  const { operatorId } = await requireOperator(context, call, PROPOSE);
  const { policy } = request;
  if (policy === undefined) throw fieldError("CLAIM_POLICY_INVALID", "policy", "is missing");
  requireSoundPolicy(policy, new Date(context.clock.nowMs()));
  const schemas = { requestSchema: ProposeClaimPolicyRequestSchema, responseSchema: ProposeClaimPolicyResponseSchema };
  return transaction(context.db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      if (!(await insertPolicy(tx, policy, spanOf(policy), operatorId))) {
        throw fieldError("CLAIM_POLICY_INVALID", "policy.policy_id", "is taken");
      }
      const details = { policy_id: policy.policyId };
      await recordEvent(context, tx, call, { type: "claim-policy.proposed", outcome: "PENDING", details });
      return create(ProposeClaimPolicyResponseSchema, {});
    }),
  );
}

async function decide(context: Context, { policyId, approved }: DecideClaimPolicyRequest, call: HandlerContext) {
  const { operatorId } = await requireOperator(context, call, APPROVE);
  await transaction(context.db, async (tx) => {
    const kept = await lockPolicy(tx, policyId);
    if (kept === undefined) throw new DomainError("PROPOSAL_NOT_FOUND");
    const { policy, state, proposedBy } = kept;
    const span = spanOf(policy);
    const hasBegun = span.start < new Date(context.clock.nowMs());
    if (state !== "PROPOSED" || (approved && hasBegun)) throw new DomainError("PROPOSAL_STATE_INVALID");
    if (proposedBy === operatorId) throw new DomainError("FOUR_EYES_REQUIRED");
    if (approved) {
      const last = await findLast(tx, policy.claimType);
      if (last !== undefined && requireSuccessor(span, last).endsLast) await endPolicy(tx, last.policyId, span.start);
      await bumpPolicy(tx);
    }
    await decidePolicy(tx, policyId, approved ? "APPROVED" : "REFUSED", operatorId);
    const type = approved ? "claim-policy.approved" : "claim-policy.refused";
    await recordEvent(context, tx, call, { type, outcome: "SUCCESS", details: { policy_id: policyId } });
  });
  return {};
}

async function list(context: Context, request: ListClaimPoliciesRequest, call: HandlerContext) {
  const { db, ring } = context;
  await requireOperator(context, call, "trust.sources.read");
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["claim-policies"];
  const [after = ""] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pagePolicies(db, String(after), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    policies: page.map(({ policy, state, proposedBy }) => ({ policy, approved: state === "APPROVED", proposedBy })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.policy.policyId] }, ring),
  };
}

async function set(context: Context, { caps }: SetCapsRequest, call: HandlerContext) {
  await requireOperator(context, call, APPROVE);
  const { perIdentifierPerDay = 0, perNetworkPerMinute = 0 } = caps ?? {};
  await transaction(context.db, async (tx) => {
    await setCaps(tx, { perIdentifierPerDay, perNetworkPerMinute });
    await bumpPolicy(tx);
    const details = { identifier_day: String(perIdentifierPerDay), network_minute: String(perNetworkPerMinute) };
    await recordEvent(context, tx, call, { type: "caps.set", outcome: "SUCCESS", details });
  });
  return {};
}
