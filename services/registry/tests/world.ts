/**
 * The registry as it runs, on a Postgres of its own, over mutual TLS, with hand-written neighbours on real sockets: a
 * trust-gateway whose answers the test sets, and an audit log that remembers. Time stands still until it is moved.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client } from "@connectrpc/connect";
import { type AssistanceCaseSchema, CaseService } from "@fujie/api/fujie/audit/v1/cases";
import { Outcome as AuditOutcome, type Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import {
  type CollectEvidenceRequest,
  EvidenceService,
  Verdict,
  type VerificationDecided,
  VerificationDecidedSchema,
} from "@fujie/api/fujie/trust/v1/evidence";
import { PolicyService, type PutPolicyRequest } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { testDatabase } from "@fujie/embedded/testing";
import { citizenIdCheckCharacter, organisationCodeCheckCharacter, usccCheckCharacter } from "@fujie/identity";
import { connectPeer } from "@fujie/kit/clients";
import { type Database, migrate, openDatabase, roleOf, transaction } from "@fujie/kit/db";
import { DomainError, type Reason } from "@fujie/kit/errors";
import { feedService, publish } from "@fujie/kit/feed";
import { type KeyBundle, type KeyRing, loadKeyBundle, openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { caller, type Handler, handler, type RunningServer, startServer } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { type ManualTime, manualTime } from "@fujie/kit/timers";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList, staticJwks } from "@fujie/kit/tokens";
import { readRegistryConfig } from "../src/config.ts";
import { migrationsDir, type RunningRegistry, startRegistry } from "../src/server.ts";

export const ISSUER = "https://auth.fujie.test";
const LOOPBACK = { host: "127.0.0.1", port: 0 };
const SERVICES = ["auth", "registry", "trust-gateway", "audit"];

/** Whom a test certificate names, and how the gateway judges it. */
export interface TestCertificate {
  readonly caId: string;
  readonly citizenId?: string;
  readonly uscc?: string;
  /** What the gateway finds wrong with it. */
  readonly refused?: Reason;
}

export interface Gateway {
  /** How the bases answer; VERIFIED unless a test says otherwise. A throw is a gateway that is away. */
  answer: (request: CollectEvidenceRequest) => "VERIFIED" | "REJECTED" | "PENDING";
  /** Questions as they came, repetitions included. */
  readonly questions: CollectEvidenceRequest[];
  readonly policies: PutPolicyRequest[];
  /** The policy version that the gateway claims to have; 0: the one it was sent. */
  policyVersion: bigint;
  /** Decides a pending question: the event goes out on the gateway's feed. */
  decide(reference: string, outcome: "VERIFIED" | "REJECTED"): Promise<void>;
}

export interface World extends AsyncDisposable {
  readonly registry: RunningRegistry;
  readonly gateway: Gateway;
  readonly events: Event[];
  /** Audit's assistance cases, by id; "away" makes audit fail. */
  readonly cases: Map<string, MessageInitShape<typeof AssistanceCaseSchema> | "away">;
  readonly time: ManualTime;
  /** As the registry's runtime role. */
  readonly db: Database;
  /** As the database's superuser. */
  readonly admin: Database;
  readonly ceremonyFile: string;
  /** Everybody's public keys, and the gateway's own secrets. */
  readonly bundle: KeyBundle;
  readonly gatewayRing: KeyRing;
  readonly grpcTarget: string;
  readonly caFile: string;
  /** Clients that come as a service by mutual TLS. */
  peer<Service extends DescService>(service: Service, name?: string): Client<Service>;
  /** The options of a call with a token. */
  as(claims: Claims): CallOptions;
  mintToken(claims: Claims): string;
  /** Lets a little time pass: for what the registry does on its own. */
  pass(ms: number): Promise<void>;
  restart(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Waits until the audit log has an event of the type (about the subject), and returns the newest. */
  recorded(type: string, outcome?: keyof typeof AuditOutcome, subject?: string): Promise<Event>;
}

export interface Claims {
  readonly sub: string;
  readonly kind: "person" | "operator" | "application";
  readonly scope: string;
  readonly level?: number;
  readonly app?: string;
  readonly org?: string;
  readonly role?: string;
  readonly sid?: string;
  readonly client_id?: string;
  /** Seconds since the subject authenticated. */
  readonly age?: number;
}

export async function startWorld(settings: Readonly<Record<string, string>> = {}): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "fujie-registry-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const database = stack.use(await testDatabase());
  const log = createLogger({ service: "registry", level: "error" });
  await migrate({
    url: database.ownerUrl,
    dir: migrationsDir,
    runtimeRole: roleOf(database.runtimeUrl),
    log: createLogger({ service: "registry", level: "error" }),
  });
  const time = manualTime(Date.now());
  const { clock } = time;
  const ca = await createLocalCa(join(dir, "tls"));
  const keys = provisionKeys({ rootDir: join(dir, "keys"), services: SERVICES, clock });
  const telemetry = stack.use(await startTelemetry({ service: "neighbours", environment: "sandbox", traceRatio: 0 }));
  const db = stack.use(openDatabase({ url: database.runtimeUrl, poolMax: 4, service: "test" }));
  const admin = stack.use(openDatabase({ url: database.url, poolMax: 2, service: "test-admin" }));

  const signer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...signer.publicKey.export({ format: "jwk" }), kid: "test", alg: "ES256", use: "sig" };
  const revocations = { ...createRevocationList({ clock }), isStale: () => false };
  const tokens = { verify: () => Promise.reject(new DomainError("TOKEN_INVALID")) };

  const serveNeighbour = async (service: string, handlers: readonly Handler[]): Promise<RunningServer> => {
    const identity = stack.use(loadIdentity(await ca.issueService(service)));
    const listeners = {
      grpc: { address: LOOPBACK, tls: identity },
      http: { address: LOOPBACK },
      admin: { address: LOOPBACK },
    };
    const environment = "sandbox" as const;
    return stack.use(
      await startServer({ service, environment, ...listeners, handlers, tokens, revocations, telemetry, log, clock }),
    );
  };

  const events: Event[] = [];
  const ingest = handler(IngestService, {
    appendEvents: ({ events: batch }) => {
      const known = new Set(events.map(({ eventId }) => eventId));
      events.push(...batch.filter(({ eventId }) => !known.has(eventId)));
      return { indexes: batch.map((_, i) => BigInt(i)) };
    },
    async *streamEvents() {},
  });
  const cases: World["cases"] = new Map();
  const unserved = () => Promise.reject(new DomainError("METHOD_UNKNOWN"));
  const assistance = handler(CaseService, {
    getCase: ({ caseId }) => {
      const found = cases.get(caseId);
      if (found === undefined) throw new DomainError("CASE_NOT_FOUND");
      if (found === "away") throw new DomainError("DEPENDENCY_UNAVAILABLE");
      return { case: found };
    },
    openCase: unserved,
    decideCase: unserved,
    listCases: unserved,
    getCaseDocument: unserved,
    releaseLog: unserved,
  });
  const audit = await serveNeighbour("audit", [ingest, assistance]);

  const gateway = createGateway(time, db);
  const gatewayRing = stack.use(openFileKeyRing(keys.keysDir("trust-gateway"), { service: "trust-gateway", clock }));
  const gatewayFeed = stack.use(
    feedService({
      db,
      topics: { "trust.verifications": { peers: ["registry"] } },
      ring: gatewayRing,
      peerOf: (call) => caller(call).peer,
      clock,
      log,
    }),
  );
  const gatewayServer = await serveNeighbour("trust-gateway", [
    ...gateway.handlers,
    handler(FeedService, gatewayFeed.impl),
  ]);

  const bundle = stack.use(loadKeyBundle(keys.bundleFile, keys.bundleRootFile));
  const ceremonyFile = join(dir, "ceremony.txt");
  const files = await ca.issueService("registry");
  const environment = (more: Readonly<Record<string, string>>): Record<string, string> => ({
    FUJIE_ENVIRONMENT: "sandbox",
    FUJIE_GRPC_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_ADDRESS: "127.0.0.1:0",
    FUJIE_ADMIN_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_TLS: "false",
    FUJIE_TLS_CERT_FILE: files.certFile,
    FUJIE_TLS_KEY_FILE: files.keyFile,
    FUJIE_TLS_CA_FILE: ca.caFile,
    FUJIE_DATABASE_URL: database.runtimeUrl,
    FUJIE_ISSUER: ISSUER,
    FUJIE_KEYS_DIR: keys.keysDir("registry"),
    FUJIE_KEY_BUNDLE_FILE: keys.bundleFile,
    FUJIE_KEY_BUNDLE_ROOT_FILE: keys.bundleRootFile,
    FUJIE_PEER_AUDIT: `dns:///127.0.0.1:${audit.grpcPort}`,
    FUJIE_PEER_TRUST_GATEWAY: `dns:///127.0.0.1:${gatewayServer.grpcPort}`,
    FUJIE_ENABLED_SOURCES: "population-base,legal-person-base",
    FUJIE_CEREMONY_FILE: ceremonyFile,
    FUJIE_DRAIN_TIMEOUT_MS: "500",
    ...settings,
    ...more,
  });
  const overrides = { clock, timers: time.timers, log, jwks: staticJwks({ keys: [jwk] }), revocations };
  const start = async (more: Readonly<Record<string, string>>) => {
    const started = await startRegistry(readRegistryConfig(environment(more)), overrides);
    await started.sweep();
    return started;
  };
  let registry = await start({});
  const connections = new Map<string, ReturnType<typeof connectPeer>>();
  const identities = new Map(
    await Promise.all(
      ["auth", "audit"].map(async (name) => [name, stack.use(loadIdentity(await ca.issueService(name)))] as const),
    ),
  );
  const disconnect = (): void => {
    for (const connection of connections.values()) connection[Symbol.dispose]();
    connections.clear();
  };
  stack.defer(() => registry.close());
  stack.defer(disconnect);
  const owned = stack.move();

  // The database waits as long, so that what runs on its own meets the time that it expects.
  const pass = async (ms: number): Promise<void> => {
    await admin.query({ text: `SELECT pg_sleep($1::float8 / 1000)`, values: [ms] });
    time.advance(ms);
  };
  const mintToken = (claims: Claims): string => signToken(signer.privateKey, claims, clock.nowMs());
  return {
    get registry() {
      return registry;
    },
    gateway: gateway.gateway,
    events,
    cases,
    time,
    db,
    admin,
    ceremonyFile,
    bundle,
    gatewayRing,
    get grpcTarget() {
      return `127.0.0.1:${registry.grpcPort}`;
    },
    caFile: ca.caFile,
    peer(service, name = "auth") {
      const known = connections.get(name);
      const target = `127.0.0.1:${registry.grpcPort}`;
      const opened = known ?? connectPeer({ target, service: "registry", identity: identities.get(name) });
      connections.set(name, opened);
      return opened(service);
    },
    as: (claims) => ({ headers: { authorization: `Bearer ${mintToken(claims)}` } }),
    mintToken,
    async restart(more = {}) {
      disconnect();
      await registry.close();
      registry = await start(more);
    },
    async recorded(type, outcome = "SUCCESS", subject = undefined) {
      const isWanted = (event: Event): boolean =>
        event.type === type &&
        event.outcome === AuditOutcome[outcome] &&
        (subject === undefined || event.subject === subject);
      for (;;) {
        const found = events.findLast(isWanted);
        if (found !== undefined) return found;
        await pass(20);
      }
    },
    pass,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function createGateway({ clock }: ManualTime, db: Database): { gateway: Gateway; handlers: Handler[] } {
  const state: Gateway = {
    answer: () => "VERIFIED",
    questions: [],
    policies: [],
    policyVersion: 0n,
    async decide(reference, outcome) {
      const event = anyPack(VerificationDecidedSchema, decisionOf(reference, outcome, clock.nowMs()));
      await transaction(db, (tx) => publish(tx, "trust.verifications", event));
    },
  };
  const evidence = handler(EvidenceService, {
    collectEvidence: (request) => {
      state.questions.push(request);
      const source = request.claim?.type === ClaimType.PERSON_TWO_ELEMENT ? "population-base" : "legal-person-base";
      return { decision: decisionOf(request.reference, state.answer(request), clock.nowMs(), source) };
    },
    verifyCertificate: ({ message, proof }) => {
      const { certificates: [certificate = new Uint8Array()] = [], signature = new Uint8Array() } = proof ?? {};
      const { caId, citizenId, uscc, refused }: TestCertificate = JSON.parse(Buffer.from(certificate).toString());
      if (refused !== undefined) throw new DomainError(refused);
      if (!signatureOf(certificate, message).equals(signature)) throw new DomainError("SIGNATURE_INVALID");
      const fingerprint = createHash("sha256").update(certificate).digest();
      if (uscc !== undefined) return { caId, fingerprint, identifier: { case: "uscc" as const, value: uscc } };
      return { caId, fingerprint, identifier: { case: "citizenId" as const, value: citizenId ?? "" } };
    },
  });
  const policy = handler(PolicyService, {
    putPolicy: (request) => {
      state.policies.push(request);
      return { version: state.policyVersion > request.version ? state.policyVersion : request.version };
    },
  });
  return { gateway: state, handlers: [evidence, policy] };
}

function decisionOf(
  reference: string,
  outcome: "VERIFIED" | "REJECTED" | "PENDING",
  nowMs: number,
  sourceId = "population-base",
): VerificationDecided {
  const verdict = outcome === "VERIFIED" ? Verdict.MATCH : Verdict.MISMATCH;
  const digest = createHash("sha256").update(reference).digest("hex");
  const evidence = { evidenceId: `evidence-${digest.slice(0, 16)}`, sourceId, verdict, level: 2 };
  return create(VerificationDecidedSchema, {
    verificationId: `verification-${digest.slice(0, 16)}`,
    reference,
    outcome: Outcome[outcome],
    level: outcome === "VERIFIED" ? 2 : 0,
    decideTime: timestampFromMs(nowMs),
    evidence: outcome === "PENDING" ? [] : [{ ...evidence, checkTime: timestampFromMs(nowMs) }],
  });
}

function signToken(key: KeyObject, { age = 0, ...claims }: Claims, nowMs: number): string {
  const nowSeconds = Math.floor(nowMs / 1000);
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = encode({ alg: "ES256", typ: "at+jwt", kid: "test" });
  const client = claims.kind === "application" ? claims.sub : "client";
  const body = encode({
    iss: ISSUER,
    aud: "urn:fujie:api",
    iat: nowSeconds,
    exp: nowSeconds + 300,
    jti: Math.random().toString(36),
    auth_time: nowSeconds - age,
    client_id: client,
    ...claims,
  });
  const signature = sign("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" });
  return `${head}.${body}.${signature.toString("base64url")}`;
}

/** A certificate's signature over a message, as the fields of a request. */
export function proofOf(certificate: TestCertificate, message: Uint8Array) {
  const der = Buffer.from(JSON.stringify(certificate));
  return { certificates: [der], signature: signatureOf(der, message), format: SignatureFormat.RAW };
}

function signatureOf(certificate: Uint8Array, message: Uint8Array): Buffer {
  return createHash("sha256").update("key of ").update(certificate).update(message).digest();
}

/** A fictional citizen id, another for each number. */
export function citizenId(number: number): string {
  const first = `11019919900101${String(number).padStart(3, "0")}`;
  return first + citizenIdCheckCharacter(first);
}

/** A synthetic unified social credit code, another for each number. */
export function uscc(number: number): string {
  const organisation = `PDY${String(number).padStart(5, "0")}`;
  const first = `91320500${organisation}${organisationCodeCheckCharacter(organisation)}`;
  return first + usccCheckCharacter(first);
}
