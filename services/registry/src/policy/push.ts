/*
 * Tells the trust-gateway the whole policy: at once after a change, and every few seconds, because the gateway fails
 * closed when it is not renewed. Every replica does so; the version makes repetition harmless.
 */
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { type Database, type Transaction, transaction } from "@fujie/kit/db";
import { createNudge } from "@fujie/kit/timers";
import type { Application } from "../applications/application.ts";
import { pageApplications } from "../applications/store.ts";
import { describeBlock } from "../blocks/describe.ts";
import { RULES_MAX } from "../blocks/rules.ts";
import { pageBlocks } from "../blocks/store.ts";
import { readApproved, readCaps } from "../claim-policies/store.ts";
import { findWithdrawnGrants } from "../consents/store.ts";
import type { Context } from "../context.ts";
import { type MaintenanceRow, raisePolicyVersion, readMaintenance, readPolicyVersion, readSources } from "./store.ts";

const RENEW_MS = 5_000;
/** The gateway refuses everything until it is told: it has just started, or comes back. */
const RETRY_MS = 500;
const PUSH_TIMEOUT_MS = 4_000;
/** What one message to the gateway may hold (policy.proto). */
const APPLICATIONS_MAX = 10_000;
/** What was asked under an older evidence policy may be pending for so long. */
const POLICY_MEMORY_MS = 400 * 86_400_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

type Pushing = Pick<Context, "db" | "clock" | "timers" | "log" | "policy">;

/** Keeps the gateway told until disposed. */
export function startPolicyPush(context: Pushing): AsyncDisposable {
  const stop = new AbortController();
  const news = createNudge();
  const unlisten = context.db.listen("policy", news.nudge);
  const running = pushForEver(context, news, stop.signal);
  return {
    [Symbol.asyncDispose]: async () => {
      unlisten();
      stop.abort();
      await running;
    },
  };
}

async function pushForEver(context: Pushing, news: ReturnType<typeof createNudge>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = RENEW_MS;
    try {
      await pushPolicy(context, signal);
    } catch (error) {
      pauseMs = RETRY_MS;
      if (!signal.aborted) context.log.warn({ err: error }, "the policy was not taken");
    }
    await news.wait(pauseMs, context.timers, signal);
  }
}

/** Sends the policy as it is now. Throws when the gateway does not take it. */
export async function pushPolicy(context: Omit<Pushing, "timers" | "log">, signal?: AbortSignal): Promise<void> {
  const policy = await readPolicy(context.db, new Date(context.clock.nowMs()));
  const options = { timeoutMs: PUSH_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
  const inForce = Number((await context.policy.putPolicy(policy, options)).version);
  if (inForce <= Number(policy.version)) return;
  await raisePolicyVersion(context.db, inForce + 1);
  await context.policy.putPolicy({ ...policy, version: BigInt(inForce + 1) }, options);
}

/** The whole policy, read at one moment. */
async function readPolicy(db: Database, now: Date) {
  return transaction(
    db,
    async (tx) => {
      const applications = await pageApplications(tx, FIRST_ID, APPLICATIONS_MAX + 1);
      if (applications.length > APPLICATIONS_MAX) throw new Error("more applications than one policy can hold");
      return {
        version: BigInt(await readPolicyVersion(tx)),
        applications: applications.map(policyOf),
        sources: withMaintenance(await readSources(tx), await readMaintenance(tx, now)),
        withdrawnGrantIds: await findWithdrawnGrants(tx, now),
        blockRules: (await pageBlocks(tx, FIRST_ID, now, RULES_MAX)).map(describeBlock),
        claimPolicies: await readApproved(tx, new Date(now.getTime() - POLICY_MEMORY_MS)),
        ...(await capsOf(tx)),
      };
    },
    { isolation: "repeatable read", readOnly: true },
  );
}

async function capsOf(tx: Transaction) {
  const caps = await readCaps(tx);
  return caps === undefined ? {} : { caps };
}

function withMaintenance<Row extends { readonly sourceId: string }>(
  sources: readonly Row[],
  windows: readonly MaintenanceRow[],
) {
  const bySource = Map.groupBy(windows, ({ sourceId }) => sourceId);
  return sources.map((source) => ({
    ...source,
    maintenance: (bySource.get(source.sourceId) ?? []).map(({ start, end }) => ({
      startTime: timestampFromDate(start),
      endTime: timestampFromDate(end),
    })),
  }));
}

function policyOf({ applicationId, enabled, purposes, rateLimitPerSecond, dailyLimit, weight }: Application) {
  return {
    applicationId,
    enabled,
    rateLimitPerSecond,
    dailyLimit,
    weight,
    purposes: purposes.map(({ purpose, claimTypes, legalBases }) => ({
      purpose,
      claimTypes: claimTypes.map((type) => ClaimType[type]),
      legalBases: [...legalBases],
    })),
  };
}
