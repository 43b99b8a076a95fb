import type { RequestListener } from "node:http";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { purgeRequests, type SweepTask, schemaReadiness, startSweeps } from "../db/index.ts";
import { type Feed, type FeedTopic, feedService, purgeFeed } from "../feed/index.ts";
import { recordRefusal } from "../record/index.ts";
import {
  caller,
  type FindOwners,
  type Forbidden,
  type Handler,
  handler,
  type Limits,
  type ReadinessCheck,
  type RunningServer,
  startServer,
} from "../serve/index.ts";
import type { Runtime } from "./runtime.ts";

/** A topic with the time that its events are kept for followers that were away; 7 days by default. */
export interface ServedTopic extends FeedTopic {
  readonly keepMs?: number;
}

/** What a service serves. */
export interface Serving {
  /** What answers calls; a function where methods follow the service's own feed. */
  readonly handlers: readonly Handler[] | ((feed: Pick<Feed, "follow">) => readonly Handler[]);
  readonly owners?: Readonly<Record<string, FindOwners>>;
  /** Feed topics that the service offers. */
  readonly topics?: Readonly<Record<string, ServedTopic>>;
  readonly mountHttp?: RequestListener;
  /** The database schema that this release needs at least. */
  readonly schemaAtLeast: number;
  readonly ready?: readonly ReadinessCheck[];
  readonly limits?: Partial<Limits>;
  /** What else expires, by name: removed in bounded batches. */
  readonly purge?: Readonly<Record<string, SweepTask>>;
}

const FEED_KEEP_MS = 7 * 24 * 3_600_000;
const PURGE_EVERY_MS = 60_000;
const PURGE_BATCH_MAX = 1_000;

/**
 * Serves on the addresses of the settings and starts the outbox's relay. Disposing the server drains it first, then
 * closes the whole runtime.
 */
export async function serve(runtime: Runtime, serving: Serving): Promise<RunningServer> {
  const { config, identity, db, ring, clock, timers, log, telemetry, tokens, revocations } = runtime;
  const feed = runtime.use(
    feedService({
      db,
      topics: serving.topics ?? {},
      ring,
      peerOf: (call) => caller(call).peer,
      clock,
      log,
      timers,
    }),
  );
  runtime.startRelay();
  runtime.use(
    startSweeps({
      tasks: {
        requests: (max) => purgeRequests(db, clock.nowMs(), max),
        ...feedPurges(runtime, serving.topics ?? {}),
        ...serving.purge,
      },
      everyMs: PURGE_EVERY_MS,
      batchMax: PURGE_BATCH_MAX,
      log,
      timers,
    }),
  );
  const handlers = typeof serving.handlers === "function" ? serving.handlers(feed) : serving.handlers;
  const server = await startServer({
    service: runtime.service,
    environment: config.environment,
    grpc: { address: config.grpcAddress, tls: identity },
    http: {
      address: config.httpAddress,
      tls: config.httpTls ? identity : undefined,
      allowedOrigins: config.httpAllowedOrigins ?? [],
    },
    admin: { address: config.adminAddress },
    handlers: [...handlers, handler(FeedService, feed.impl)],
    owners: serving.owners ?? {},
    tokens,
    revocations,
    telemetry,
    log,
    clock,
    ready: [schemaReadiness(db, serving.schemaAtLeast), ...(serving.ready ?? [])],
    ...(serving.mountHttp === undefined ? {} : { mountHttp: serving.mountHttp }),
    ...(serving.limits === undefined ? {} : { limits: serving.limits }),
    trustedProxies: config.proxyNetworks,
    onForbidden: (forbidden) => recordForbidden(runtime, forbidden),
    drainTimeoutMs: config.drainTimeoutMs,
  });
  const drain = async () => {
    await server.drain();
    await runtime[Symbol.asyncDispose]();
  };
  const close = async () => {
    await server.close();
    await runtime[Symbol.asyncDispose]();
  };
  return { ...server, drain, close, [Symbol.asyncDispose]: close };
}

function feedPurges({ db, clock }: Runtime, topics: Readonly<Record<string, ServedTopic>>): Record<string, SweepTask> {
  return Object.fromEntries(
    Object.entries(topics).map(([topic, { keepMs = FEED_KEEP_MS }]) => [
      `feed ${topic}`,
      (max) => purgeFeed(db, topic, clock.nowMs() - keepMs, max),
    ]),
  );
}

/** At most so many refusals a second go into the audit log: a flood of them is one fact, and metrics count the rest. */
const FORBIDDEN_RATE = { ratePerSecond: 20, burst: 100 };

/** Puts into the audit log who tried what without the right to it. Never holds up the answer. */
function recordForbidden(runtime: Runtime, { method, reason, token, traceId }: Forbidden): void {
  const record = async () => {
    const { allowed } = await runtime.ephemeral.takeToken("forbidden", FORBIDDEN_RATE);
    if (!allowed) return;
    const origin = { service: runtime.service, traceId };
    await recordRefusal(runtime, origin, {
      type: "call.forbidden",
      reason,
      actor: token.subject,
      applicationId: token.application ?? "",
      organisationId: token.organisation ?? "",
      details: { method },
    });
  };
  record().catch((error: unknown) => runtime.log.warn({ error, method }, "a refusal was not recorded"));
}
