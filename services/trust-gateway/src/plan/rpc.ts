import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { ClaimType, PlanReason, type VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import type { Context } from "../context.ts";
import type { Policy } from "../policy/rules.ts";
import type { GuardedSource } from "../sources/guard.ts";
import { candidatesAt, DEADLINE_MS, maintenanceOf, termsOf } from "../verifications/plan.ts";
import { claimTypeOf, policyAt } from "./policies.ts";
import { explainPlan, type PlanReasonName } from "./rules.ts";

const LEVEL_LOWEST = 1;
/** Within this time "then" is now: breakers and quotas count. */
const NOW_MS = 1_000;

const reasons = {
  CHEAPEST: PlanReason.CHEAPEST,
  REQUIRED: PlanReason.REQUIRED,
  NOT_NEEDED: PlanReason.NOT_NEEDED,
  SUSPENDED: PlanReason.SUSPENDED,
  MAINTENANCE: PlanReason.MAINTENANCE,
  UNAVAILABLE: PlanReason.UNAVAILABLE,
  LEVEL_TOO_LOW: PlanReason.LEVEL_TOO_LOW,
  NOT_LAWFUL: PlanReason.NOT_LAWFUL,
  QUOTA: PlanReason.QUOTA,
} as const satisfies Record<PlanReasonName, PlanReason>;

type Planning = Pick<Context, "policy" | "sources" | "clock">;

/** Tells what Verify would do, by the same planner. */
export function explainPlanMethods(context: Planning) {
  return {
    async explainPlan({ claimType, level, eventTime }) {
      const policy = await context.policy.current();
      const nowMs = context.clock.nowMs();
      const timeMs = eventTime === undefined ? nowMs : timestampMs(eventTime);
      const type = claimTypeOf(claimType);
      const rules = policyAt(policy.claimPolicies, type, timeMs);
      const elsewhen = Math.abs(timeMs - nowMs) >= NOW_MS;
      const candidates = candidatesAt(context, policy, { claimType: type, timeMs, elsewhen });
      const wanted = { claimType: type, level: level || LEVEL_LOWEST, deadlineMs: DEADLINE_MS };
      const plan = rules && explainPlan(rules, wanted, candidates);
      if (plan === undefined) throw new DomainError("CLAIM_UNSUPPORTED");
      return { ...plan, sources: plan.sources.map((source) => ({ ...source, reason: reasons[source.reason] })) };
    },
  } satisfies Pick<ServiceImpl<typeof VerificationService>, "explainPlan">;
}

/** A source's live state, as ListSources tells it. */
export function describeSource(source: GuardedSource, policy: Policy) {
  return {
    sourceId: source.id,
    claimTypes: source.claimTypes.map((type) => ClaimType[type]),
    claimTypesNotOffered: source.notOffered().map((type) => ClaimType[type]),
    level: source.level,
    enabled: policy.enabledSources.has(source.id),
    available: source.hindrance(termsOf(policy.sources.get(source.id))) === undefined,
    latencyP95Ms: source.p95Ms() ?? 0,
    priceFen: source.priceFen,
    maintenance: maintenanceOf(source, policy).map(({ startMs, endMs }) => ({
      startTime: timestampFromMs(startMs),
      endTime: timestampFromMs(endMs),
    })),
  };
}
