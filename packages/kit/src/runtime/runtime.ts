/**
 * What every service opens before it serves, in the order in which each part needs the others:
 *
 *   identity, keys ─▶ telemetry, log ─▶ database ─▶ peers ─▶ revocations ─▶ tokens ─▶ relay
 *
 * Everything is closed again in the reverse order.
 */
import { anyUnpack, timestampMs } from "@bufbuild/protobuf/wkt";
import { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { ReconciliationService } from "@fujie/api/fujie/audit/v1/reconciliation";
import { RevocationKind, RevokedSchema } from "@fujie/api/fujie/auth/v1/events";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { connectPeer, type Peer } from "../clients/index.ts";
import { type Clock, systemClock } from "../clock/index.ts";
import type { CommonConfig } from "../config/index.ts";
import { type Database, openDatabase } from "../db/index.ts";
import { type Ephemeral, memoryEphemeral } from "../ephemeral/index.ts";
import { ephemeralFollow, feedVerifier } from "../feed/index.ts";
import { type FileKeyRing, type KeyBundle, loadKeyBundle, openFileKeyRing } from "../keys/index.ts";
import { createLogger, type Logger } from "../log/index.ts";
import { type Destination, type Relay, startReconciling, startRelay, type TellNumbers } from "../outbox/index.ts";
import { auditDestination } from "../record/index.ts";
import { startTelemetry, type Telemetry } from "../telemetry/index.ts";
import { systemTimers, type Timers } from "../timers/index.ts";
import { type Identity, loadIdentity } from "../tls/index.ts";
import {
  createRevocationList,
  createTokenVerifier,
  type JwksSource,
  type RevocationList,
  remoteJwks,
  type TokenVerifier,
} from "../tokens/index.ts";

export type PeerName = "auth" | "registry" | "trust-gateway" | "audit";

/** What a test may put in place of the real thing. */
export interface RuntimeOverrides {
  readonly clock?: Clock;
  readonly timers?: Timers;
  readonly log?: Logger;
  readonly jwks?: JwksSource;
  /** Given, auth's revocations are not followed. */
  readonly revocations?: RevocationList;
}

export interface RuntimeOptions {
  readonly service: PeerName;
  readonly config: CommonConfig;
  readonly overrides?: RuntimeOverrides | undefined;
  /** Destinations of the outbox beside "audit", which is there wherever FUJIE_PEER_AUDIT is set. */
  readonly destinations?: (runtime: Runtime) => Readonly<Record<string, Destination>>;
  /** Delivers to the audit log; by default the peer. Audit itself appends to its own log. */
  readonly auditDestination?: (runtime: Runtime) => Destination;
  /** Compares the outbox's numbers with the audit log; by default the peer does. */
  readonly tellNumbers?: TellNumbers;
}

export interface Runtime extends AsyncDisposable {
  readonly service: PeerName;
  readonly config: CommonConfig;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly telemetry: Telemetry;
  readonly identity: Identity;
  readonly ring: FileKeyRing;
  readonly bundle: KeyBundle;
  readonly db: Database;
  readonly ephemeral: Ephemeral;
  readonly revocations: RevocationList;
  readonly tokens: TokenVerifier;
  /** A peer that this service calls or follows; throws when its address is not configured. */
  peer(name: PeerName): Peer;
  /** Ties something to the service's life: it is closed before anything that was opened earlier. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T;
  /** Begins to deliver the outbox. `serve` calls it. */
  startRelay(): Relay;
}

const FILES_WATCH_MS = 10_000;
const TOKEN_CACHE_MAX = 50_000;
const EPHEMERAL_ENTRIES_MAX = 200_000;
const AUDIENCE = "urn:fujie:api";

export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { service, config, overrides = {} } = options;
  const { clock = systemClock, timers = systemTimers } = overrides;
  await using stack = new AsyncDisposableStack();

  const identity = stack.use(
    loadIdentity({ certFile: config.tlsCertFile, keyFile: config.tlsKeyFile, caFile: config.tlsCaFile }, { clock }),
  );
  const ring = stack.use(openFileKeyRing(config.keysDir, { service, clock, watchIntervalMs: FILES_WATCH_MS }));
  const bundle = stack.use(
    loadKeyBundle(config.keyBundleFile, config.keyBundleRootFile, { watchIntervalMs: FILES_WATCH_MS }),
  );
  const log = overrides.log ?? createLogger({ service, level: config.logLevel });
  const telemetry = stack.use(
    startTelemetry({
      service,
      environment: config.environment,
      ...(await openExporters(options)),
      traceRatio: config.traceRatio,
      clock,
    }),
  );
  const db = stack.use(openDatabase({ url: config.databaseUrl, poolMax: config.databasePoolMax, service, telemetry }));
  const ephemeral = stack.use(await openEphemeral(options, clock));
  const peers = new Map<PeerName, Peer>();
  const peer = (name: PeerName): Peer => {
    const known = peers.get(name);
    if (known !== undefined) return known;
    const opened = connectPeer({ target: targetOf(config, name), service: name, identity, telemetry });
    peers.set(name, opened);
    return opened;
  };
  stack.defer(() => {
    for (const opened of peers.values()) opened[Symbol.dispose]();
  });
  const revocations = overrides.revocations ?? createRevocationList({ clock });
  if (overrides.revocations === undefined) {
    stack.use(followRevocations({ bundle, log, timers }, peer("auth"), revocations));
  }
  stack.use(
    telemetry.observeGauge("fujie.identity.expires.in.seconds", "Until this service's certificate ends", () =>
      Math.round((identity.expiresAtMs - clock.nowMs()) / 1_000),
    ),
  );
  stack.use(
    telemetry.observeGauge("fujie.revocations.stale", "1 while privileged calls are refused for want of news", () =>
      revocations.isStale() ? 1 : 0,
    ),
  );
  const jwks = overrides.jwks ?? remoteJwks(config.jwksUrl ?? `${config.issuer}/jwks`, { clock });
  const tokens = createTokenVerifier({
    issuer: config.issuer,
    audience: AUDIENCE,
    jwks,
    revocations,
    clock,
    cacheMax: TOKEN_CACHE_MAX,
  });
  const owned = stack.move();
  const runtime: Runtime = {
    service,
    config,
    clock,
    timers,
    log,
    telemetry,
    identity,
    ring,
    bundle,
    db,
    ephemeral,
    revocations,
    tokens,
    peer,
    use: (resource) => owned.use(resource),
    startRelay: () => {
      const tell = options.tellNumbers ?? auditNumbers(runtime);
      owned.use(startReconciling({ db, tell, log, timers, telemetry }));
      return owned.use(
        startRelay({
          db,
          destinations: { ...auditLane(options, runtime), ...options.destinations?.(runtime) },
          batchMax: 256,
          log,
          clock,
          timers,
          telemetry,
        }),
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  return runtime;
}

function auditLane(options: RuntimeOptions, runtime: Runtime): Readonly<Record<string, Destination>> {
  if (options.auditDestination !== undefined) return { audit: options.auditDestination(runtime) };
  return { audit: auditDestination(runtime.peer("audit")(IngestService), runtime.ring) };
}

/** The relay's own peer, asked whether what was enqueued is sealed. */
function auditNumbers(runtime: Runtime): TellNumbers {
  return async ({ enqueued, waiting }, signal) => {
    const request = { enqueued: BigInt(enqueued), waiting: BigInt(waiting) };
    return Number((await runtime.peer("audit")(ReconciliationService).reconcile(request, { signal })).missing);
  };
}

// What only some installations have is loaded only there: a service starts in half a second less.

async function openEphemeral({ service, config }: RuntimeOptions, clock: Clock): Promise<Ephemeral> {
  if (config.redisUrl === undefined) return memoryEphemeral({ maxEntries: EPHEMERAL_ENTRIES_MAX, clock });
  const { redisEphemeral } = await import("../ephemeral/redis.ts");
  return redisEphemeral({ url: config.redisUrl, prefix: `fujie:${service}:` });
}

async function openExporters({ config }: RuntimeOptions) {
  if (config.otlpEndpoint === undefined) return {};
  const { otlpExporters } = await import("../telemetry/otlp-exporters.ts");
  return otlpExporters(config.otlpEndpoint);
}

function targetOf(config: CommonConfig, name: PeerName): string {
  const targets: Record<PeerName, string | undefined> = {
    auth: config.peerAuth,
    registry: config.peerRegistry,
    "trust-gateway": config.peerTrustGateway,
    audit: config.peerAudit,
  };
  const target = targets[name];
  if (target === undefined) throw new Error(`FUJIE_PEER_${name.toUpperCase().replace("-", "_")} is not set`);
  return target;
}

const revocationKinds = {
  [RevocationKind.SESSION]: "session",
  [RevocationKind.SUBJECT]: "subject",
  [RevocationKind.CLIENT]: "client",
} as const;

/** Follows auth's revocations into memory: the list is small, and what was missed while away comes again. */
function followRevocations(
  { bundle, log, timers }: { bundle: KeyBundle; log: Logger; timers: Timers },
  auth: Peer,
  revocations: RevocationList,
): AsyncDisposable {
  return ephemeralFollow({
    client: auth(FeedService),
    topic: "auth.revocations",
    verifier: feedVerifier(bundle, "auth"),
    onFresh: (atMs) => revocations.markFresh(atMs),
    log,
    timers,
    apply: (event, atMs) => {
      const revoked = anyUnpack(event, RevokedSchema);
      if (revoked === undefined || revoked.kind === RevocationKind.UNSPECIFIED) return;
      const revokedAtMs = revoked.time === undefined ? atMs : timestampMs(revoked.time);
      revocations.revoke({ kind: revocationKinds[revoked.kind], id: revoked.id, atMs: revokedAtMs });
    },
  });
}
