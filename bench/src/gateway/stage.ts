/**
 * A gateway as it runs: a process of its own with Postgres, the sandbox's sources as another process, a policy that is
 * renewed as the registry renews it, and an audit log that takes every event at once (durable is what the gateway's own
 * outbox made so). Everything is on loopback and over TLS; so is the bare echo that it is compared with.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { PolicyService, type PutPolicyRequestSchema } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType, VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { connectPeer } from "@fujie/kit/clients";
import { systemClock } from "@fujie/kit/clock";
import { migrate, roleOf } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { handler, startServer } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList } from "@fujie/kit/tokens";
import { startThrowawayPostgres, testDatabase } from "../../../packages/embedded/src/testing.ts";
import { type SandboxClient, sandboxClient } from "../../../sandbox/src/client.ts";
import { organisationAt, personAt } from "../../../sandbox/src/people/index.ts";
import { migrationsDir } from "../../../services/trust-gateway/src/server.ts";
import type { Job, LoadResult, Question } from "./load.ts";

const ISSUER = "https://auth.bench.example";
const RENEW_MS = 4_000;
const LOOPBACK = { host: "127.0.0.1", port: 0 };
export const PURPOSE = "bench.check";
const LEGAL_BASIS = "bench-law.1";
const log = createLogger({ service: "bench", level: "error", destination: { write: () => {} } });

type Policy = Omit<MessageInitShape<typeof PutPolicyRequestSchema>, "version" | "$typeName">;

export interface Stage extends AsyncDisposable {
  readonly control: SandboxClient;
  readonly sandboxUrl: string;
  readonly sourcesFile: string;
  /** `usage` is read after a collection on request. */
  readonly gateway: Subject & { usage(options?: { readonly gc: boolean }): Promise<Usage> };
  readonly echo: Subject;
  /** Events that the audit log has taken. */
  events(): number;
  /** Takes a policy and keeps renewing it. */
  putPolicy(change: Policy): Promise<void>;
  verifications(): ReturnType<typeof verificationClient>;
  authorization(): { headers: { authorization: string } };
  /** Loads the gateway from a second client, beside `verify`. */
  secondLoad(job: Omit<Job, "port" | "token">): Promise<LoadResult>;
  /** Loads the gateway. */
  verify(job: Omit<Job, "port" | "token">): Promise<LoadResult>;
  /** Loads the bare echo. */
  bounce(job: Omit<Job, "port" | "token" | "questions">): Promise<LoadResult>;
}

/** A server of a process of its own. */
export interface Subject {
  readonly port: number;
  /** Its CPU time so far. */
  cpuMicros(): Promise<number>;
}

export interface Usage {
  readonly cpuMicros: number;
  readonly heapUsed: number;
  readonly rss: number;
}

function verificationClient(options: Parameters<typeof connectPeer>[0]) {
  return connectPeer(options)(VerificationService);
}

/** `settings` are the gateway's own, beside what it needs to run; `editSources` may change the sources file. */
export async function openStage(
  settings: Readonly<Record<string, string>> = {},
  editSources: (file: SourcesFile) => SourcesFile = withoutReplicas,
): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "fujie-bench-gateway-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  if (process.env["FUJIE_TEST_POSTGRES_URL"] === undefined) {
    const server = await startThrowawayPostgres();
    process.env["FUJIE_TEST_POSTGRES_URL"] = server.adminUrl;
    stack.defer(async () => {
      await server.stop();
      delete process.env["FUJIE_TEST_POSTGRES_URL"];
    });
  }
  const database = stack.use(await testDatabase());
  await migrate({ url: database.ownerUrl, dir: migrationsDir, runtimeRole: roleOf(database.runtimeUrl), log });
  const keys = provisionKeys({ rootDir: join(dir, "keys"), services: ["auth", "registry", "trust-gateway", "audit"] });
  const ca = await createLocalCa(join(dir, "tls"));
  const issue = async (name: string) => ({ ...(await ca.issueService(name)), caFile: ca.caFile });
  const signer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...signer.publicKey.export({ format: "jwk" }), kid: "bench", alg: "ES256", use: "sig" };
  const taken = { events: 0 };
  const audit = stack.use(await serveAudit(await issue("audit"), taken));

  const sandboxTls = await issue("sandbox");
  const sandboxDir = join(dir, "sandbox");
  const sandbox = startProcess(stack, fileURLToPath(new URL("../../../sandbox/src/main.ts", import.meta.url)), [], {
    FUJIE_SANDBOX_HTTP_ADDRESS: "127.0.0.1:0",
    FUJIE_SANDBOX_GRPC_ADDRESS: "127.0.0.1:0",
    FUJIE_SANDBOX_DIR: sandboxDir,
    FUJIE_TLS_CERT_FILE: sandboxTls.certFile,
    FUJIE_TLS_KEY_FILE: sandboxTls.keyFile,
    FUJIE_TLS_CA_FILE: sandboxTls.caFile,
  });
  await sandbox.line();
  const sourcesFile = join(sandboxDir, "sources.json");
  const described: SourcesFile = JSON.parse(readFileSync(sourcesFile, "utf8"));
  const sandboxUrl = new URL(described.sources.find(({ url }) => url !== undefined)?.url ?? "").origin;
  const edited = join(sandboxDir, "bench-sources.json");
  writeFileSync(edited, JSON.stringify(editSources(described)));

  const own = await issue("trust-gateway");
  const gateway = startProcess(
    stack,
    fileURLToPath(new URL("./server.ts", import.meta.url)),
    ["--expose-gc", ...profileOf(dir)],
    {
      BENCH_JWK: JSON.stringify(jwk),
      FUJIE_ENVIRONMENT: "sandbox",
      FUJIE_LOG_LEVEL: "error",
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
      FUJIE_PEER_AUTH: "dns:///127.0.0.1:1",
      FUJIE_SOURCES_FILE: edited,
      FUJIE_TRACE_RATIO: "0.01",
      FUJIE_IDENTIFIER_PER_DAY_MAX: "1000000",
      ...settings,
    },
  );
  const ports: { grpcPort: number } = JSON.parse(await gateway.line());
  const echo = startProcess(stack, fileURLToPath(new URL("../rpc-server.ts", import.meta.url)), [], {}, [
    "bare-grpc-tls",
    join(dir, "tls"),
  ]);
  const echoPort = Number((await echo.line()).split(" ")[0]);
  const startLoad = () =>
    startProcess(stack, fileURLToPath(new URL("./load.ts", import.meta.url)), [], {}, [ca.caFile]);
  const [load, second] = [startLoad(), startLoad()];

  const registryIdentity = stack.use(loadIdentity(await issue("registry")));
  const peer = { target: `127.0.0.1:${ports.grpcPort}`, service: "trust-gateway", identity: registryIdentity };
  const registry = stack.use(connectPeer(peer));
  let policy: Policy = defaultPolicy();
  let version = 0n;
  const push = () => registry(PolicyService).putPolicy({ ...policy, version });
  const renewing = setInterval(() => void push().catch(() => {}), RENEW_MS);
  stack.defer(() => clearInterval(renewing));
  const putPolicy = async (change: Policy) => {
    policy = { ...policy, ...change };
    version += 1n;
    await push();
  };
  await putPolicy({});
  const opened = stack.move();
  const token = () => signToken(signer.privateKey);
  const ask = (job: Job) => load.ask<LoadResult>(JSON.stringify(job));
  return {
    control: sandboxClient(sandboxUrl),
    sandboxUrl,
    sourcesFile: edited,
    gateway: {
      port: ports.grpcPort,
      cpuMicros: async () => (await gateway.ask<Usage>("")).cpuMicros,
      usage: ({ gc } = { gc: false }) => gateway.ask(gc ? "gc" : ""),
    },
    echo: { port: echoPort, cpuMicros: () => echo.ask("") },
    events: () => taken.events,
    putPolicy,
    verifications: () => verificationClient(peer),
    authorization: () => ({ headers: { authorization: `Bearer ${token()}` } }),
    secondLoad: (job) => second.ask<LoadResult>(JSON.stringify({ ...job, port: ports.grpcPort, token: token() })),
    verify: (job) => ask({ ...job, port: ports.grpcPort, token: token() }),
    bounce: (job) => ask({ ...job, port: echoPort, token: "" }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

export interface SourcesFile {
  readonly sources: readonly (Readonly<Record<string, unknown>> & { readonly id: string; readonly url?: string })[];
}

/** One address of each source, so that what comes in there is all. */
function withoutReplicas({ sources }: SourcesFile): SourcesFile {
  return {
    sources: sources.map(({ urls, ...source }) => (Array.isArray(urls) ? { ...source, url: String(urls[0]) } : source)),
  };
}

export function defaultPolicy() {
  const claimTypes = [ClaimType.PERSON_TWO_ELEMENT, ClaimType.LEGAL_PERSON];
  return {
    applications: [
      {
        applicationId: "bench",
        enabled: true,
        rateLimitPerSecond: 1_000_000,
        purposes: [{ purpose: PURPOSE, claimTypes, legalBases: [LEGAL_BASIS] }],
      },
    ],
    sources: ["population-base", "legal-person-base", "partner"].map((sourceId) => ({ sourceId, enabled: true })),
    claimPolicies: [personPolicy({ reuseSeconds: 0 })],
  };
}

/** Who may speak for persons: the population base, and on request the partner beside it. */
export function personPolicy(options: { readonly reuseSeconds: number; readonly partnerToo?: boolean }) {
  const kinds = options.partnerToo === true ? ["population-base", "partner"] : ["population-base"];
  return {
    policyId: `bench-${options.reuseSeconds}-${kinds.length}`,
    claimType: ClaimType.PERSON_TWO_ELEMENT,
    startTime: timestampFromMs(0),
    voices: kinds.map((kind) => ({ source: { case: "kind", value: kind } as const, rank: 2 })),
    needed: 1,
    reuseSeconds: options.reuseSeconds,
  };
}

/** Questions about people of whom the population base knows that they are who they claim to be. */
export function personQuestions(count: number, from = 0): Question[] {
  const questions: Question[] = [];
  for (let index = from; questions.length < count; index += 1) {
    const { citizenId, name, outcome } = personAt(index);
    if (outcome !== "match") continue;
    const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
    questions.push({ claim, purpose: PURPOSE, legalBasis: LEGAL_BASIS });
  }
  return questions;
}

export function organisationQuestions(count: number, from = 0): Question[] {
  const questions: Question[] = [];
  for (let index = from; questions.length < count; index += 1) {
    const { uscc, name, outcome } = organisationAt(index);
    if (outcome !== "match") continue;
    const claim = { type: ClaimType.LEGAL_PERSON, uscc, organisationName: name };
    questions.push({ claim, purpose: PURPOSE, legalBasis: LEGAL_BASIS });
  }
  return questions;
}

async function serveAudit(files: Parameters<typeof loadIdentity>[0], taken: { events: number }) {
  return startServer({
    service: "audit",
    environment: "sandbox",
    grpc: { address: LOOPBACK, tls: loadIdentity(files) },
    http: { address: LOOPBACK },
    admin: { address: LOOPBACK },
    handlers: [
      handler(IngestService, {
        appendEvents: ({ events }) => {
          taken.events += events.length;
          return { indexes: events.map(() => 0n) };
        },
        async *streamEvents() {},
      }),
    ],
    tokens: { verify: () => Promise.reject(new DomainError("TOKEN_INVALID")) },
    revocations: { ...createRevocationList({ clock: systemClock }), isStale: () => false },
    telemetry: startTelemetry({ service: "audit", environment: "sandbox", traceRatio: 0 }),
    log,
    clock: systemClock,
  });
}

/** BENCH_PROFILE=gateway leaves a CPU profile of the gateway beside the results. */
function profileOf(dir: string): string[] {
  return process.env["BENCH_PROFILE"] === "gateway" ? ["--cpu-prof", `--cpu-prof-dir=${dir}-profile`] : [];
}

/** Lines that nobody asked for and that are kept all the same; what follows is forgotten. */
const UNREAD_MAX = 100;

interface Running {
  line(): Promise<string>;
  /** Sends a line and reads the JSON that answers it. */
  ask<Answer>(line: string): Promise<Answer>;
}

function startProcess(
  stack: AsyncDisposableStack,
  script: string,
  nodeOptions: readonly string[],
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): Running {
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(
    process.execPath,
    [...nodeOptions, "--dns-result-order=ipv4first", script, ...args],
    { stdio: ["pipe", "pipe", "inherit"], env: { PATH: process.env["PATH"] ?? "", ...env } },
  );
  // Who has ended reads no more; that it ended is told by its lines.
  child.stdin.on("error", () => {});
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  stack.defer(async () => {
    child.stdin.end();
    const kill = setTimeout(() => child.kill("SIGTERM"), 2_000);
    await exited;
    clearTimeout(kill);
  });
  const line = readLines(child.stdout, script);
  return {
    line,
    ask: async (question) => {
      child.stdin.write(`${question}\n`);
      return JSON.parse(await line());
    },
  };
}

/** Reads on though nobody asks: a process whose pipe is full of log lines cannot end. */
function readLines(output: Readable, script: string): () => Promise<string> {
  const unread: string[] = [];
  const waiting: PromiseWithResolvers<string>[] = [];
  let ended = false;
  const ending = () => new Error(`${script} ended`);
  createInterface({ input: output })
    .on("line", (text) => {
      const first = waiting.shift();
      if (first !== undefined) first.resolve(text);
      else if (unread.length < UNREAD_MAX) unread.push(text);
    })
    .on("close", () => {
      ended = true;
      for (const { reject } of waiting) reject(ending());
    });
  return async () => {
    const text = unread.shift();
    if (text !== undefined) return text;
    if (ended) throw ending();
    const one = Promise.withResolvers<string>();
    waiting.push(one);
    return one.promise;
  };
}

function signToken(key: KeyObject): string {
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = encode({ alg: "ES256", typ: "at+jwt", kid: "bench" });
  const body = encode({
    iss: ISSUER,
    aud: "urn:fujie:api",
    iat: nowSeconds,
    exp: nowSeconds + 300,
    jti: randomUUID(),
    sub: "bench",
    client_id: "bench",
    kind: "application",
    app: "bench",
    scope: "trust.verify trust.sources.read",
  });
  const signature = sign("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" });
  return `${head}.${body}.${signature.toString("base64url")}`;
}
