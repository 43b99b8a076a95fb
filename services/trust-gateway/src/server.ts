import { fileURLToPath } from "node:url";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { UsageService } from "@fujie/api/fujie/trust/v1/usage";
import { VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { isUuid } from "@fujie/kit/db";
import { purgeFeeds } from "@fujie/kit/feed";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type RunningServer } from "@fujie/kit/serve";
import { raiseCrlNumbers, readCrlNumbers } from "./certificates/store.ts";
import type { Config } from "./config.ts";
import type { Alarms, Context } from "./context.ts";
import { evidenceService } from "./evidence/rpc.ts";
import { purgeEvidence } from "./evidence/store.ts";
import { purgeGrantUses } from "./grants/store.ts";
import { presentPolicy } from "./policy/present.ts";
import { policyService } from "./policy/rpc.ts";
import { sourceTerms } from "./policy/rules.ts";
import { observeExpiry } from "./sources/certificate-authority/expiry.ts";
import { createCoalescer } from "./sources/coalesce.ts";
import { readSourcesFile } from "./sources/file.ts";
import { openSources } from "./sources/index.ts";
import { meterSource } from "./sources/meter.ts";
import { createCallBook } from "./usage/book.ts";
import { startLedger } from "./usage/ledger.ts";
import { usageService } from "./usage/rpc.ts";
import { createDecisions } from "./verifications/decisions.ts";
import { verificationMethods } from "./verifications/rpc.ts";
import { TOPIC_PREFIX } from "./verifications/rules.ts";
import { createRunningTasks } from "./verifications/running.ts";
import { eraseOldSalts, findOwner, purgeVerifications } from "./verifications/store.ts";
import { startSweeper } from "./verifications/sweep.ts";
import { createWriter, FEED_TOPIC } from "./verifications/writer.ts";

export { type Config, readGatewayConfig } from "./config.ts";

export const SERVICE = "trust-gateway";
export const migrationsDir = fileURLToPath(new URL("../migrations", import.meta.url));
const SCHEMA_AT_LEAST = 4;

const DAY_MS = 86_400_000;
const FEED_KEEP_MS = 7 * DAY_MS;
/** Longer than asking every source takes; where it is not, a second asker repeats the same bizSeq, which harms nobody. */
const LEASE_MS = 15_000;
const RETRY_BASE_MS = 100;
const BREAKER_WINDOW_MS = 10_000;
const BREAKER_CALLS_MIN = 20;

export type Overrides = RuntimeOverrides;

/** Starts the gateway: sources, sweeper, listeners. Disposing it drains and closes everything. */
export async function startTrustGateway(config: Config, overrides: Overrides = {}): Promise<RunningServer> {
  await using opening = new AsyncDisposableStack();
  const runtime = opening.use(await openRuntime({ service: SERVICE, config, overrides }));
  const stopping = new AbortController();
  const context = openContext(runtime, config, stopping.signal);
  const { db, clock } = context;
  const server = await serve(runtime, {
    handlers: (feed) => [
      handler(VerificationService, verificationMethods(context, feed)),
      handler(EvidenceService, evidenceService(context)),
      handler(PolicyService, policyService(context)),
      handler(UsageService, usageService(context)),
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
      "feeds of applications": (max) => purgeFeeds(db, TOPIC_PREFIX, clock.nowMs() - FEED_KEEP_MS, max),
    },
  });
  runtime.use(startSweeper(context, { everyMs: config.pendingSweepMs, batchMax: config.pendingBatchMax }));
  startLedger(runtime, context);
  // Closed first: what waits to ask a source again would hold up the rest.
  runtime.use({ [Symbol.dispose]: () => stopping.abort() });
  opening.move();
  return server;
}

function openContext(runtime: Runtime, config: Config, stopping: AbortSignal): Context {
  const { clock, timers, log, db, ring, bundle, ephemeral, identity, telemetry, peer } = runtime;
  const policy = presentPolicy({ db, clock });
  const calls = createCallBook({ clock });
  const sources = runtime.use(
    openSources(readSourcesFile(config.sourcesFile, config.environment), {
      clock,
      timers,
      identity,
      stopping,
      log,
      around: calls.around,
      ephemeral,
      terms: async (sourceId) => sourceTerms(await policy.current(), sourceId),
      meter: (source) => meterSource(source, telemetry),
      allowHosts: config.egressAllowHosts?.split(",") ?? [],
      allowFictional: config.environment === "sandbox",
      crlNumbers: {
        read: (issuers) => readCrlNumbers(db, issuers),
        raise: (numbers) => raiseCrlNumbers(db, numbers),
      },
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
  const profiles = sources.authorities.map(({ profile }) => profile);
  runtime.use(observeExpiry(profiles, telemetry, clock));
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
    coalescer: createCoalescer(),
    calls,
    policy,
    auditLog: peer("audit")(LogService),
    alarms: openAlarms(telemetry),
    writer: createWriter({ db, ring, clock }),
    decisions: createDecisions(timers),
    tasks: runtime.use(createRunningTasks(log)),
    caps: {
      applicationRatePerSecond: config.applicationRatePerSecond,
      perIdentifierPerDay: config.identifierPerDayMax,
      perNetworkPerMinute: config.networkPerMinuteMax,
    },
    periods: {
      leaseMs: LEASE_MS,
      retryBaseMs: config.pendingRetryBaseMs,
      retryCapMs: config.pendingRetryMaxMs,
      pendingKeepMs: config.pendingKeepDays * DAY_MS,
      reviewKeepMs: config.reviewKeepDays * DAY_MS,
      keepMs: config.verificationKeepDays * DAY_MS,
      saltKeepMs: config.receiptSaltKeepMs,
    },
  };
}

function openAlarms({ meter }: Runtime["telemetry"]): Alarms {
  const description = "Applications that were seen walking through neighbouring identifiers";
  const suspected = meter.createCounter("fujie.enumeration.suspected", { description });
  return { enumeration: () => suspected.add(1) };
}
