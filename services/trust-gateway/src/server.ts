import { fileURLToPath } from "node:url";
import { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { isUuid } from "@fujie/kit/db";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type RunningServer } from "@fujie/kit/serve";
import type { Config } from "./config.ts";
import type { Context } from "./context.ts";
import { evidenceService } from "./evidence/rpc.ts";
import { purgeEvidence } from "./evidence/store.ts";
import { purgeGrantUses } from "./grants/store.ts";
import { type ClaimRules, defaultClaimRules } from "./plan/rules.ts";
import { presentPolicy } from "./policy/present.ts";
import { policyService } from "./policy/rpc.ts";
import { createReceiptSigner } from "./receipts/signer.ts";
import { createCoalescer } from "./sources/coalesce.ts";
import { readSourcesFile } from "./sources/file.ts";
import { openSources } from "./sources/index.ts";
import { meterSource } from "./sources/meter.ts";
import { createDecisions } from "./verifications/decisions.ts";
import { verificationService } from "./verifications/rpc.ts";
import { createRunningTasks } from "./verifications/running.ts";
import { FEED_TOPIC } from "./verifications/settle.ts";
import { eraseOldSalts, findOwner, purgeVerifications } from "./verifications/store.ts";
import { startSweeper } from "./verifications/sweep.ts";

export { type Config, readGatewayConfig } from "./config.ts";

export const SERVICE = "trust-gateway";
export const migrationsDir = fileURLToPath(new URL("../migrations", import.meta.url));
const SCHEMA_AT_LEAST = 1;

const DAY_MS = 86_400_000;
/** Longer than asking every source with all its retries can take. */
const LEASE_MS = 60_000;
const RETRY_BASE_MS = 100;
const BREAKER_WINDOW_MS = 10_000;
const BREAKER_CALLS_MIN = 20;

export interface Overrides extends RuntimeOverrides {
  /** Who may speak for which claim; the default where absent. */
  readonly claimRules?: ClaimRules;
}

/** Starts the gateway: sources, sweeper, listeners. Disposing it drains and closes everything. */
export async function startTrustGateway(config: Config, overrides: Overrides = {}): Promise<RunningServer> {
  await using opening = new AsyncDisposableStack();
  const runtime = opening.use(await openRuntime({ service: SERVICE, config, overrides }));
  const stopping = new AbortController();
  const context = openContext(runtime, config, overrides, stopping.signal);
  const { db, clock } = context;
  const server = await serve(runtime, {
    handlers: [
      handler(VerificationService, verificationService(context)),
      handler(EvidenceService, evidenceService(context)),
      handler(PolicyService, policyService(context)),
    ],
    owners: {
      verification: async (id) => {
        const application = isUuid(id) ? await findOwner(db, id) : undefined;
        return application === undefined ? undefined : { applications: [application] };
      },
    },
    topics: { [FEED_TOPIC]: { peers: ["registry"] } },
    schemaAtLeast: SCHEMA_AT_LEAST,
    purge: {
      grants: (max) => purgeGrantUses(db, clock.nowMs(), max),
      salts: (max) => eraseOldSalts(db, clock.nowMs(), max),
      verifications: (max) => purgeVerifications(db, clock.nowMs(), max),
      evidence: (max) => purgeEvidence(db, clock.nowMs(), max),
    },
  });
  runtime.use(startSweeper(context, { everyMs: config.pendingSweepMs, batchMax: config.pendingBatchMax }));
  // Closed first: what waits to ask a source again would hold up the rest.
  runtime.use({ [Symbol.dispose]: () => stopping.abort() });
  opening.move();
  return server;
}

function openContext(
  runtime: Runtime,
  config: Config,
  { claimRules = defaultClaimRules }: Overrides,
  stopping: AbortSignal,
): Context {
  const { clock, timers, log, db, ring, bundle, ephemeral, identity, telemetry } = runtime;
  const sources = runtime.use(
    openSources(readSourcesFile(config.sourcesFile, config.environment), {
      clock,
      timers,
      identity,
      stopping,
      meter: (source) => meterSource(source, telemetry),
      allowHosts: config.egressAllowHosts?.split(",") ?? [],
      limits: {
        concurrencyMax: config.sourceConcurrencyMax,
        queueMax: config.sourceQueueMax,
        timeoutMs: config.sourceTimeoutMs,
        attemptsMax: config.sourceAttemptsMax,
        retryBaseMs: RETRY_BASE_MS,
        breakerWindowMs: BREAKER_WINDOW_MS,
        breakerCallsMin: BREAKER_CALLS_MIN,
        breakMs: config.sourceBreakMs,
      },
    }),
  );
  return {
    environment: config.environment,
    clock,
    timers,
    log,
    db,
    ring,
    bundle,
    ephemeral,
    sources,
    claimRules,
    coalescer: createCoalescer(),
    policy: presentPolicy({ db, clock }),
    receipts: createReceiptSigner(ring),
    decisions: createDecisions(timers),
    tasks: runtime.use(createRunningTasks(log)),
    caps: {
      applicationRatePerSecond: config.applicationRatePerSecond,
      perIdentifierPerDay: config.identifierPerDayMax,
    },
    periods: {
      leaseMs: LEASE_MS,
      retryBaseMs: config.pendingRetryBaseMs,
      retryCapMs: config.pendingRetryMaxMs,
      keepMs: config.verificationKeepDays * DAY_MS,
      saltKeepMs: config.receiptSaltKeepMs,
    },
  };
}
