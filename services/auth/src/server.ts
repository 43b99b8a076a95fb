import { join } from "node:path";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { IdentityService } from "@fujie/api/fujie/auth/v1/identity";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { feedVerifier, followFeed } from "@fujie/kit/feed";
import type { FileKeyRing } from "@fujie/kit/keys";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type RunningServer } from "@fujie/kit/serve";
import { purgeChallenges, purgeChallengeUses } from "./challenges/store.ts";
import { purgeSecrets } from "./clients/store.ts";
import type { Config } from "./config.ts";
import type { Context } from "./context.ts";
import { createPasswordHasher, type HashingBounds } from "./credentials/hashing.ts";
import { credentialService } from "./credentials/rpc.ts";
import { createDirectory } from "./directory/directory.ts";
import { applyChange, CHANGES_TOPIC } from "./following/apply.ts";
import { identityService, sessionOwners } from "./identity/rpc.ts";
import { ringJwks } from "./openid/keys.ts";
import { createOpenidProvider } from "./openid/provider.ts";
import { purgeGrantOrganisations, purgeRecords } from "./openid/store.ts";
import { REVOCATIONS_TOPIC } from "./revocations/publish.ts";
import { purgeSessions } from "./sessions/store.ts";
import { type AttemptLimits, attemptLimits } from "./sign-in/throttle.ts";
import { createListener } from "./web/listener.ts";

export { type Config, readConfig, settings } from "./config.ts";

export const migrationsDir = join(import.meta.dirname, "../migrations");
const SCHEMA_AT_LEAST = 1;

/** What a test may put in place of the real thing. */
export interface Overrides extends RuntimeOverrides {
  readonly attemptLimits?: AttemptLimits;
  readonly hashing?: HashingBounds;
}

/** More than four heartbeats of the registry's feed. */
const STALE_AFTER_MS = 10_000;
/** Tokens live five minutes: an older revocation has nothing left to revoke. */
const REVOCATIONS_KEPT_MS = 15 * 60_000;

/** Serves auth until it is drained or closed. */
export async function startAuth(config: Config, overrides: Overrides = {}): Promise<RunningServer> {
  let ring: FileKeyRing | undefined;
  const jwks = overrides.jwks ?? ringJwks(() => ring);
  const runtime = await openRuntime({ service: "auth", config, overrides: { ...overrides, jwks } });
  ring = runtime.ring;
  try {
    return await serveAuth(runtime, config, overrides);
  } catch (error) {
    await runtime[Symbol.asyncDispose]();
    throw error;
  }
}

async function serveAuth(runtime: Runtime, config: Config, overrides: Overrides): Promise<RunningServer> {
  const { clock, db } = runtime;
  const context: Context = {
    clock,
    log: runtime.log,
    telemetry: runtime.telemetry,
    db,
    ring: runtime.ring,
    ephemeral: runtime.ephemeral,
    issuer: config.issuer,
    directory: createDirectory(runtime.peer("registry")(DirectoryService), clock),
    hasher: await createPasswordHasher(overrides.hashing),
    sessionLimits: { lifetimeMs: config.sessionLifetimeMs, idleMs: config.sessionIdleMs },
    attemptLimits: overrides.attemptLimits ?? attemptLimits,
    trustedProxies: config.trustedProxies,
    changesAreStale: () => clock.nowMs() - follower.freshAtMs() > STALE_AFTER_MS,
  };
  const follower = runtime.use(
    followFeed({
      client: runtime.peer("registry")(FeedService),
      topic: CHANGES_TOPIC,
      verifier: feedVerifier(runtime.bundle, "registry"),
      db,
      clock,
      timers: runtime.timers,
      log: runtime.log,
      apply: (tx, event, atMs) => applyChange(context, tx, event, atMs),
    }),
  );
  runtime.use(
    runtime.telemetry.observeGauge(
      "fujie.feed.lag",
      "Milliseconds since the followed feed was known to be complete",
      () => clock.nowMs() - follower.freshAtMs(),
      { topic: CHANGES_TOPIC },
    ),
  );
  const openid = createOpenidProvider(context);
  // A setting that the OpenID library refuses keeps the service from starting, not the first user from signing in.
  openid.current();
  return serve(runtime, {
    handlers: [
      handler(CredentialService, credentialService(context)),
      handler(IdentityService, identityService(context)),
    ],
    owners: { session: sessionOwners(context) },
    topics: {
      [REVOCATIONS_TOPIC]: { peers: ["auth", "registry", "trust-gateway", "audit"], keepMs: REVOCATIONS_KEPT_MS },
    },
    mountHttp: createListener({ ...context, openid }),
    schemaAtLeast: SCHEMA_AT_LEAST,
    purge: {
      "openid records": (max) => purgeRecords(db, clock.nowMs(), max),
      "grant organisations": (max) => purgeGrantOrganisations(db, clock.nowMs(), max),
      sessions: (max) => purgeSessions(db, clock.nowMs(), max),
      challenges: (max) => purgeChallenges(db, clock.nowMs(), max),
      "challenge uses": (max) => purgeChallengeUses(db, clock.nowMs(), max),
      "client secrets": (max) => purgeSecrets(db, clock.nowMs(), max),
    },
  });
}
