/**
 * The gateway as it runs, on a Postgres of its own, over mutual TLS, with the sandbox's real sources around it and a
 * hand-written audit log on a real socket. Time stands still until a test lets it pass.
 */
import { generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { create, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { ConsentGrantSchema, SignedConsentGrantSchema } from "@fujie/api/fujie/trust/v1/consent";
import { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import {
  type ApplicationPolicySchema,
  type BlockRuleSchema,
  type CapsSchema,
  type ClaimPolicySchema,
  PolicyService,
  type SourcePolicySchema,
} from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType, VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { keepObserved, startCollector, testDatabase } from "@fujie/embedded/testing";
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { connectPeer, type Peer } from "@fujie/kit/clients";
import { type Database, migrate, openDatabase, roleOf } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { type FileKeyRing, type KeyBundle, loadKeyBundle, openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { type RunningServer, startServer } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { type ManualTime, manualTime } from "@fujie/kit/timers";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList, staticJwks } from "@fujie/kit/tokens";
import {
  type Sandbox,
  type SandboxClient,
  type SourceId,
  sandboxClient,
  sourceIds,
  startSandbox,
} from "@fujie/sandbox";
import { signedGrantBytes } from "../src/grants/rules.ts";
import { migrationsDir, type Overrides, readGatewayConfig, startTrustGateway } from "../src/server.ts";
import { auditLog } from "./audit-log.ts";

export const ISSUER = "https://auth.fujie.test";
export const APPLICATION = "application-1";
export const PURPOSE = "housing-fund.withdrawal";
export const LEGAL_BASIS = "social-insurance-law.58";
const LOOPBACK = { host: "127.0.0.1", port: 0 };
const POLICY_EVERY_MS = 10_000;

/** The registry's policy but for its version. */
export interface Policy {
  readonly applications: readonly MessageInitShape<typeof ApplicationPolicySchema>[];
  readonly sources: readonly MessageInitShape<typeof SourcePolicySchema>[];
  readonly withdrawnGrantIds: readonly string[];
  readonly claimPolicies?: readonly MessageInitShape<typeof ClaimPolicySchema>[];
  readonly blockRules?: readonly MessageInitShape<typeof BlockRuleSchema>[];
  readonly caps?: MessageInitShape<typeof CapsSchema>;
}

/** A second replica: another process of the same gateway, but for the process. */
export interface Replica extends AsyncDisposable {
  readonly gateway: RunningServer;
  client<Service extends DescService>(service: Service): Client<Service>;
}

export interface World extends AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly control: SandboxClient;
  /** How long the sources take: until this resolves, or whatever `take` makes of the time that they are steered to. */
  readonly latency: { hold: Promise<void>; take?: (ms: number) => Promise<void> };
  readonly time: ManualTime;
  readonly events: Event[];
  readonly logged: string[];
  /** As the gateway's runtime role, and as the superuser. */
  readonly db: Database;
  readonly admin: Database;
  readonly bundle: KeyBundle;
  readonly registryRing: FileKeyRing;
  readonly caFile: string;
  /** What the gateway's environment is, for processes of their own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly gateway: RunningServer;
  readonly evidence: Client<typeof EvidenceService>;
  readonly verifications: Client<typeof VerificationService>;
  /** As the registry, at the gateway of any port. */
  registryAt(port: number): Peer;
  client<Service extends DescService>(service: Service): Client<Service>;
  as(application?: string, scope?: string): CallOptions;
  mintToken(claims: Readonly<Record<string, unknown>>): string;
  /** The tokens' public key, for gateways in processes of their own. */
  readonly jwk: JsonWebKey;
  policy: Policy;
  /** Takes `policy` as it stands as a new version. */
  putPolicy(change?: Partial<Policy>): Promise<void>;
  /** A grant of the registry for these elements; `change` alters what it says, `forge` what is signed with. */
  grantFor(
    claim: ClaimElements,
    change?: MessageInitShape<typeof ConsentGrantSchema>,
    forge?: Forgery,
  ): Promise<string>;
  /** Lets time pass, the policy being renewed, until the promise has settled. */
  passing<Result>(promise: Promise<Result>): Promise<Result>;
  /**
   * Lets the sources behave again, and time pass until each is known to be back. Their counters begin anew after that,
   * and nobody asks them for what earlier tests left pending.
   */
  heal(...sourceIds: readonly SourceId[]): Promise<void>;
  /** Lets time pass until the condition holds. */
  until(holds: () => boolean | Promise<boolean>, what: string): Promise<void>;
  restart(settings?: Readonly<Record<string, string>>, overrides?: Partial<Overrides>): Promise<void>;
  /** Starts a second replica on the same database. */
  another(): Promise<Replica>;
  stop(): Promise<void>;
}

export interface Forgery {
  readonly signature?: Uint8Array;
  readonly keyId?: string;
  readonly use?: "consent" | "feed";
}

export async function startWorld(
  settings: Readonly<Record<string, string>> = {},
  time: ManualTime = manualTime(Date.now()),
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "fujie-trust-gateway-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const { clock } = time;
  const latency: World["latency"] = { hold: Promise.resolve() };
  const ca = await createLocalCa(join(dir, "tls"));
  const issue = async (name: string) => ({ ...(await ca.issueService(name)), caFile: ca.caFile });
  const [database, sandbox] = await Promise.all([
    testDatabase(),
    startSandbox({
      httpAddress: "127.0.0.1:0",
      grpcAddress: "127.0.0.1:0",
      dir: join(dir, "sandbox"),
      tls: await issue("sandbox"),
      clock,
      sleep: (ms) => latency.take?.(ms) ?? latency.hold,
    }),
  ]);
  stack.use(database);
  stack.use(sandbox);
  const collector = stack.use(await startCollector());
  const logged: string[] = [];
  stack.defer(() => keepObserved("log", logged.join("")));
  const log = createLogger({
    service: "trust-gateway",
    level: "debug",
    destination: { write: (line: string) => void logged.push(line) },
  });
  await migrate({ url: database.ownerUrl, dir: migrationsDir, runtimeRole: roleOf(database.runtimeUrl), log });
  const services = ["auth", "registry", "trust-gateway", "audit"];
  const keys = provisionKeys({ rootDir: join(dir, "keys"), services, clock });
  const bundle = stack.use(loadKeyBundle(keys.bundleFile, keys.bundleRootFile));
  const registryRing = stack.use(openFileKeyRing(keys.keysDir("registry"), { service: "registry", clock }));
  const auditRing = stack.use(openFileKeyRing(keys.keysDir("audit"), { service: "audit", clock }));
  const db = stack.use(openDatabase({ url: database.runtimeUrl, poolMax: 4, service: "test" }));
  const admin = stack.use(openDatabase({ url: database.url, poolMax: 2, service: "test-admin" }));
  const signer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...signer.publicKey.export({ format: "jwk" }), kid: "test", alg: "ES256", use: "sig" };
  const revocations = { ...createRevocationList({ clock }), isStale: () => false };

  const events: Event[] = [];
  const telemetry = stack.use(startTelemetry({ service: "audit", environment: "sandbox", traceRatio: 0 }));
  const audit = stack.use(
    await startServer({
      service: "audit",
      environment: "sandbox",
      grpc: { address: LOOPBACK, tls: stack.use(loadIdentity(await issue("audit"))) },
      http: { address: LOOPBACK },
      admin: { address: LOOPBACK },
      handlers: auditLog(auditRing, events),
      tokens: { verify: () => Promise.reject(new DomainError("TOKEN_INVALID")) },
      revocations,
      telemetry,
      log,
      clock,
    }),
  );

  const own = await issue("trust-gateway");
  const environment = {
    FUJIE_ENVIRONMENT: "sandbox",
    FUJIE_GRPC_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_ADDRESS: "127.0.0.1:0",
    FUJIE_ADMIN_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_TLS: "false",
    FUJIE_TLS_CERT_FILE: own.certFile,
    FUJIE_TLS_KEY_FILE: own.keyFile,
    FUJIE_TLS_CA_FILE: own.caFile,
    FUJIE_DATABASE_URL: database.runtimeUrl,
    FUJIE_ISSUER: ISSUER,
    FUJIE_KEYS_DIR: keys.keysDir("trust-gateway"),
    FUJIE_KEY_BUNDLE_FILE: keys.bundleFile,
    FUJIE_KEY_BUNDLE_ROOT_FILE: keys.bundleRootFile,
    FUJIE_PEER_AUDIT: `dns:///127.0.0.1:${audit.grpcPort}`,
    // Nobody is there: revocations are the test's own.
    FUJIE_PEER_AUTH: "dns:///127.0.0.1:1",
    FUJIE_SOURCES_FILE: sandbox.sourcesFile,
    FUJIE_SOURCE_TIMEOUT_MS: "400",
    FUJIE_SOURCE_BREAK_MS: "20",
    FUJIE_DRAIN_TIMEOUT_MS: "500",
    FUJIE_OTLP_ENDPOINT: collector.endpoint,
    FUJIE_TRACE_RATIO: "1",
    ...settings,
  };
  const overrides = { clock, timers: time.timers, log, jwks: staticJwks({ keys: [jwk] }), revocations };
  const start = (more: Readonly<Record<string, string>>, others: Partial<Overrides>) =>
    startTrustGateway(readGatewayConfig({ ...environment, ...more }), { ...overrides, ...others });
  let gateway = await start({}, {});
  const registryIdentity = stack.use(loadIdentity(await issue("registry")));
  const registryAt = (port: number) =>
    connectPeer({ target: `127.0.0.1:${port}`, service: "trust-gateway", identity: registryIdentity });
  let registry = registryAt(gateway.grpcPort);
  let stopped = false;
  const stop = async () => {
    registry[Symbol.dispose]();
    if (!stopped) await gateway.close();
    stopped = true;
  };
  stack.defer(stop);
  const owned = stack.move();

  let version = 0n;
  let renewedAtMs = clock.nowMs();
  const renew = async () => {
    renewedAtMs = clock.nowMs();
    const { applications, sources, withdrawnGrantIds, claimPolicies = [], blockRules = [], caps } = world.policy;
    await registry(PolicyService).putPolicy({
      version,
      applications: [...applications],
      sources: [...sources],
      withdrawnGrantIds: [...withdrawnGrantIds],
      claimPolicies: [...claimPolicies],
      blockRules: [...blockRules],
      ...(caps === undefined ? {} : { caps }),
    });
  };
  // A little time, and turns of the event loop for whoever it woke. It passes no faster than the database answers: on a
  // slow machine, too, what is being written is written before the deadlines of those who wait for it.
  const step = async () => {
    time.advance(50);
    for (let i = 0; i < 5; i += 1) await turn();
    await admin.query({ text: "SELECT 1", values: [] });
    if (clock.nowMs() - renewedAtMs >= POLICY_EVERY_MS) await renew();
  };
  const world: World = {
    sandbox,
    control: sandboxClient(sandbox.httpUrl),
    latency,
    time,
    events,
    logged,
    db,
    admin,
    bundle,
    registryRing,
    caFile: ca.caFile,
    environment,
    get gateway() {
      return gateway;
    },
    get evidence() {
      return registry(EvidenceService);
    },
    get verifications() {
      return registry(VerificationService);
    },
    registryAt,
    client: (service) => registry(service),
    as: (application = APPLICATION, scope = "trust.verify") => ({
      headers: { authorization: `Bearer ${world.mintToken({ app: application, scope })}` },
    }),
    jwk,
    mintToken: (claims) => signToken(signer.privateKey, claims, clock.nowMs()),
    policy: defaultPolicy(),
    async putPolicy(change = {}) {
      world.policy = { ...world.policy, ...change };
      version += 1n;
      await renew();
    },
    async grantFor(claim, change = {}, { signature, keyId, use = "consent" } = {}) {
      const hmac = registryRing.hmac("consent-elements", canonicalElements(claim));
      const grant = toBinary(
        ConsentGrantSchema,
        create(ConsentGrantSchema, {
          grantId: randomUUID(),
          applicationId: APPLICATION,
          purpose: PURPOSE,
          claimType: ClaimType[claim.type],
          elementsHmac: new Uint8Array(hmac.digest),
          hmacKeyVersion: hmac.version,
          grantTime: timestampFromMs(clock.nowMs()),
          expireTime: timestampFromMs(clock.nowMs() + 600_000),
          accountId: "account-1",
          ...change,
        }),
      );
      const signed = await registryRing.sign(use, signedGrantBytes(grant));
      const message = create(SignedConsentGrantSchema, {
        grant,
        signature: new Uint8Array(signature ?? signed.signature),
        keyId: keyId ?? signed.keyId,
      });
      return Buffer.from(toBinary(SignedConsentGrantSchema, message)).toString("base64url");
    },
    async passing(promise) {
      let open = true;
      const ended = promise.finally(() => {
        open = false;
      });
      ended.catch(() => {});
      while (open) await step();
      return ended;
    },
    async heal(...sourceIds) {
      const reset = () => Promise.all(sourceIds.map((id) => world.control.reset(id)));
      const healed = new Set<string>(sourceIds);
      await reset();
      await world.until(async () => {
        const { sources } = await world.verifications.listSources({}, world.as(undefined, "trust.sources.read"));
        return sources.every(({ sourceId, available }) => available || !healed.has(sourceId));
      }, "the sources are back");
      const forget = () => admin.query({ text: "DELETE FROM trust.verification WHERE state = 'PENDING'", values: [] });
      // Whoever decides one at this moment takes the rows in another order: Postgres may end this one.
      await forget().catch(forget);
      await reset();
    },
    async until(holds, what) {
      const deadline = performance.now() + 30_000;
      while (!(await holds())) {
        if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
        await step();
      }
    },
    async restart(more = {}, others = {}) {
      await stop();
      stopped = false;
      gateway = await start(more, others);
      registry = registryAt(gateway.grpcPort);
    },
    async another() {
      const second = await start({}, {});
      const peer = registryAt(second.grpcPort);
      return {
        gateway: second,
        client: (service) => peer(service),
        [Symbol.asyncDispose]: async () => {
          peer[Symbol.dispose]();
          await second.close();
        },
      };
    },
    stop,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  await world.putPolicy();
  return world;
}

function defaultPolicy(): Policy {
  const purposes = [
    {
      purpose: PURPOSE,
      claimTypes: [ClaimType.PERSON_TWO_ELEMENT, ClaimType.LEGAL_PERSON, ClaimType.LEGAL_REPRESENTATIVE],
      legalBases: [LEGAL_BASIS],
    },
    { purpose: "greeting", claimTypes: [ClaimType.LEGAL_PERSON], legalBases: [] },
  ];
  return {
    applications: [
      { applicationId: APPLICATION, enabled: true, purposes, rateLimitPerSecond: 10_000 },
      { applicationId: "application-2", enabled: true, purposes, rateLimitPerSecond: 10_000 },
      { applicationId: "suspended", enabled: false, purposes },
    ],
    sources: sourceIds.map((sourceId) => ({ sourceId, enabled: true })),
    withdrawnGrantIds: [],
  };
}

function signToken(key: KeyObject, claims: Readonly<Record<string, unknown>>, nowMs: number): string {
  const nowSeconds = Math.floor(nowMs / 1000);
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = encode({ alg: "ES256", typ: "at+jwt", kid: "test" });
  const body = encode({
    iss: ISSUER,
    aud: "urn:fujie:api",
    iat: nowSeconds,
    exp: nowSeconds + 300,
    jti: randomUUID(),
    sub: "client-1",
    client_id: "client-1",
    kind: "application",
    ...claims,
  });
  const signature = sign("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" });
  return `${head}.${body}.${signature.toString("base64url")}`;
}

/** The reason with which a call was refused, or "accepted". */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "accepted";
  } catch (error) {
    return error instanceof DomainError ? error.reason : String(error);
  }
}
