import { fromBinary } from "@bufbuild/protobuf";
import { PutPolicyRequestSchema } from "@fujie/api/fujie/trust/v1/policy";
import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { isStale, type Policy, readPolicy } from "./rules.ts";
import { type PolicyStamp, readContent, readStamp } from "./store.ts";

/** The policy in force, as this process knows it. */
export interface PresentPolicy {
  /** Throws POLICY_STALE when there is none or nobody renewed it. */
  current(): Promise<Policy>;
  /** Reads it again at the next question: another version was taken. */
  forget(): void;
}

/** How long a replica may work with what it read: a withdrawal reaches all of them within this time. */
const REREAD_MS = 1_000;

export function presentPolicy({ db, clock }: { readonly db: Database; readonly clock: Clock }): PresentPolicy {
  let known: { readonly policy: Policy; readonly stamp: PolicyStamp } | undefined;
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  async function read(): Promise<void> {
    const startedMs = clock.nowMs();
    const stamp = await readStamp(db);
    if (stamp === undefined) known = undefined;
    else if (known?.policy.version === stamp.version) known = { policy: known.policy, stamp };
    else {
      const row = await readContent(db);
      known = row && { policy: readPolicy(fromBinary(PutPolicyRequestSchema, row.content)), stamp: row };
    }
    readAtMs = startedMs;
  }

  return {
    current: async () => {
      if (clock.nowMs() - readAtMs >= REREAD_MS) {
        reading ??= read().finally(() => {
          reading = undefined;
        });
        await reading;
      }
      if (known === undefined || isStale(known.stamp.renewedAtMs, clock.nowMs())) throw new DomainError("POLICY_STALE");
      return known.policy;
    },
    forget: () => {
      readAtMs = Number.NEGATIVE_INFINITY;
    },
  };
}
