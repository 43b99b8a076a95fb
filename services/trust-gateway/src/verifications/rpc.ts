import type { ServiceImpl } from "@connectrpc/connect";
import type { VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import type { Feed } from "@fujie/kit/feed";
import type { Context } from "../context.ts";
import { describeSource, explainPlanMethods } from "../plan/rpc.ts";
import { getReceipt } from "../receipts/rpc.ts";
import { awaitDecision, receiptOf } from "./answer.ts";
import { askVerification } from "./ask.ts";
import { batchVerify } from "./batch.ts";
import { describeVerification } from "./rules.ts";
import { watchVerifications } from "./watch.ts";

export function verificationMethods(context: Context, feed: Pick<Feed, "follow">) {
  return {
    async verify(request, call) {
      return { verification: await askVerification(context, request, call, "interactive") };
    },

    batchVerify: (questions, call) => batchVerify(context, questions, call),

    async getVerification({ verificationId, waitMs }, call) {
      const kept = await awaitDecision(context, verificationId, call, waitMs);
      return { verification: describeVerification(kept, receiptOf(context, kept)) };
    },

    watchVerifications: (request, call) => watchVerifications(context, feed, request, call),

    getReceipt: (request, call) => getReceipt(context, request, call),

    ...explainPlanMethods(context),

    async listSources() {
      const policy = await context.policy.current();
      const claims = context.sources.claims.map((source) => describeSource(source, policy));
      // Those that only vouch for registrations.
      const others = context.sources.authorities.filter(({ id }) =>
        context.sources.claims.every((each) => each.id !== id),
      );
      const authorities = others.map(({ id }) => ({
        sourceId: id,
        enabled: policy.enabledSources.has(id),
        // Its status services are asked anew for each certificate.
        available: true,
        maintenance: [],
      }));
      return { sources: [...claims, ...authorities].toSorted((a, b) => (a.sourceId < b.sourceId ? -1 : 1)) };
    },
  } satisfies ServiceImpl<typeof VerificationService>;
}
