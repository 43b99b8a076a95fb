import { toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type PolicyService, PutPolicyRequestSchema } from "@fujie/api/fujie/trust/v1/policy";
import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { unknownKindsIn } from "../plan/policies.ts";
import { readPolicy } from "./rules.ts";
import { putPolicy, readStamp } from "./store.ts";

export function policyService(context: Pick<Context, "db" | "clock" | "ring" | "policy" | "log">) {
  const { db, clock, policy, log } = context;
  return {
    async putPolicy(request, call) {
      // A policy that cannot be read is refused before it could take the place of one that can.
      const known = await readStamp(db);
      const isNews = known === undefined || request.version > known.version;
      if (isNews) {
        readPolicy(request);
        for (const { policyId, kinds } of unknownKindsIn(request.claimPolicies)) {
          log.error(
            { policyId, kinds },
            "a policy speaks of kinds of source unknown here: nothing is verified under it",
          );
        }
      }
      const content = toBinary(PutPolicyRequestSchema, request);
      const stamp = await transaction(db, async (tx) => {
        const before = await readStamp(tx);
        await putPolicy(tx, { version: request.version, content, nowMs: clock.nowMs() });
        const after = await readStamp(tx);
        if (after === undefined) throw new Error("the policy was not kept");
        // A renewal tells nothing new; a new version is recorded.
        if (before?.version !== after.version) {
          const details = { version: String(after.version) };
          await recordEvent(context, tx, call, { type: "policy.applied", outcome: "SUCCESS", details });
        }
        return after;
      });
      policy.forget();
      return { version: BigInt(stamp.version), applyTime: timestampFromMs(stamp.appliedAtMs) };
    },
  } satisfies ServiceImpl<typeof PolicyService>;
}
