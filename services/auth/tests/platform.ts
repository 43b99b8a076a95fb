/** Auth, real, on a real Postgres, with a registry and an audit log that are real gRPC servers answering what tests set. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { type Any, anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { FeedService, type WatchResponse, WatchResponseSchema } from "@fujie/api/fujie/feed/v1/feed";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { ApplicationKind } from "@fujie/api/fujie/registry/v1/applications";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import { DirectoryService, type MatchCertificateRequest } from "@fujie/api/fujie/registry/v1/directory";
import {
  AccountChangedSchema,
  ApplicationChangedSchema,
  MembershipChangedSchema,
  OperatorChangedSchema,
} from "@fujie/api/fujie/registry/v1/events";
import { OperatorRole } from "@fujie/api/fujie/registry/v1/operators";
import { keepObserved, testDatabase } from "@fujie/embedded/testing";
import { connectPeer } from "@fujie/kit/clients";
import { type ManualClock, manualClock } from "@fujie/kit/clock";
import { migrate, roleOf } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { signedBytes } from "@fujie/kit/feed";
import { openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger, type Logger } from "@fujie/kit/log";
import { handler, type RunningServer, startServer } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { migrationsDir, type Overrides, readConfig, startAuth } from "../src/server.ts";

export interface FakeAccount {
  state: AccountState;
  level: number;
  roles: Map<string, Role>;
}

export interface FakeOperator {
  scopes: string[];
  reviewedUntilMs: number;
}

/** What the registry answers now; tests change it. */
export interface FakeRegistry {
  readonly accounts: Map<string, FakeAccount>;
  readonly operators: Map<string, FakeOperator>;
  readonly enrolments: Map<string, { accountId: string; loginName: string } | { clientId: string }>;
  readonly pairwise: Map<string, string>;
  /** Whose certificate signed; throws a DomainError to refuse. */
  match: (request: MatchCertificateRequest) => { accountId: string } | { operatorId: string };
  away: boolean;
  /** Trace ids of the calls that came. */
  readonly traceParents: string[];
  publish(event: Any): void;
}

export interface Platform extends AsyncDisposable {
  readonly issuer: string;
  readonly grpcAddress: string;
  readonly caFile: string;
  readonly clock: ManualClock;
  readonly registry: FakeRegistry;
  readonly audited: Event[];
  readonly logged: string[];
  readonly databaseUrl: string;
  readonly auth: RunningServer;
  readonly keysDir: string;
  /** One more replica of auth on the same database (and Redis, when the platform has one). */
  startReplica(): Promise<{ readonly issuer: string; readonly server: RunningServer }>;
  /** Settings for one more instance, at free ports. */
  environment(): Promise<Record<string, string>>;
  /** A client of auth's gRPC as that service. */
  peer(service: string): Promise<ReturnType<typeof connectPeer>>;
}

export interface PlatformOptions {
  readonly overrides?: Omit<Overrides, "clock">;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  await using opening = new AsyncDisposableStack();
  const stack = opening.use(new AsyncDisposableStack());
  const clock = manualClock(Date.now());
  const folder = mkdtempSync(join(tmpdir(), "fujie-auth-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const logged: string[] = [];
  stack.defer(() => keepObserved("log", logged.join("")));
  const destination = { write: (line: string) => void logged.push(line) };
  const log = createLogger({ service: "auth", level: "info", destination });
  const database = stack.use(await testDatabase());
  await migrate({ url: database.ownerUrl, dir: migrationsDir, runtimeRole: roleOf(database.runtimeUrl), log });

  const keys = provisionKeys({ rootDir: join(folder, "keys"), services: ["auth", "registry", "audit"], clock });
  const ca = await createLocalCa(join(folder, "ca"));
  const audited: Event[] = [];
  const fakes = { stack, clock, ca, keys, log };
  const { registry, port: registryPort } = await startRegistry(fakes);
  const auditPort = await startAudit(fakes, audited);

  const authFiles = await ca.issueService("auth");
  const environment = async (): Promise<Record<string, string>> => {
    const [grpcPort, httpPort] = [await freePort(), await freePort()];
    return {
      FUJIE_ENVIRONMENT: "sandbox",
      FUJIE_GRPC_ADDRESS: `127.0.0.1:${grpcPort}`,
      FUJIE_HTTP_ADDRESS: `127.0.0.1:${httpPort}`,
      FUJIE_ADMIN_ADDRESS: "127.0.0.1:0",
      FUJIE_TLS_CERT_FILE: authFiles.certFile,
      FUJIE_TLS_KEY_FILE: authFiles.keyFile,
      FUJIE_TLS_CA_FILE: authFiles.caFile,
      FUJIE_HTTP_TLS: "false",
      FUJIE_DATABASE_URL: database.runtimeUrl,
      FUJIE_ISSUER: `http://127.0.0.1:${httpPort}`,
      FUJIE_KEYS_DIR: keys.keysDir("auth"),
      FUJIE_KEY_BUNDLE_FILE: keys.bundleFile,
      FUJIE_KEY_BUNDLE_ROOT_FILE: keys.bundleRootFile,
      FUJIE_PEER_AUTH: `dns:///127.0.0.1:${grpcPort}`,
      FUJIE_PEER_REGISTRY: `dns:///127.0.0.1:${registryPort}`,
      FUJIE_PEER_AUDIT: `dns:///127.0.0.1:${auditPort}`,
      ...options.env,
    };
  };
  const start = async () => {
    const config = readConfig(await environment());
    const server = stack.use(await startAuth(config, { log, ...options.overrides, clock }));
    return { issuer: config.issuer, grpcAddress: `127.0.0.1:${server.grpcPort}`, server };
  };
  const first = await start();
  opening.move();

  return {
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
    issuer: first.issuer,
    grpcAddress: first.grpcAddress,
    caFile: authFiles.caFile,
    clock,
    registry,
    audited,
    logged,
    databaseUrl: database.url,
    auth: first.server,
    keysDir: keys.keysDir("auth"),
    startReplica: start,
    environment,
    peer: async (service) => {
      const identity = stack.use(loadIdentity(await ca.issueService(service)));
      return stack.use(connectPeer({ target: `dns:///${first.grpcAddress}`, service: "auth", identity }));
    },
  };
}

interface Fakes {
  readonly stack: AsyncDisposableStack;
  readonly clock: ManualClock;
  readonly ca: Awaited<ReturnType<typeof createLocalCa>>;
  readonly keys: ReturnType<typeof provisionKeys>;
  readonly log: Logger;
}

async function startRegistry(fakes: Fakes): Promise<{ registry: FakeRegistry; port: number }> {
  const { stack, clock, keys } = fakes;
  const ring = stack.use(openFileKeyRing(keys.keysDir("registry"), { service: "registry" }));
  const events: { event: Any; atMs: number }[] = [];
  const registry: FakeRegistry = {
    accounts: new Map(),
    operators: new Map(),
    enrolments: new Map(),
    pairwise: new Map(),
    match: () => {
      throw new DomainError("SIGNATURE_INVALID");
    },
    away: false,
    traceParents: [],
    publish: (event) => void events.push({ event, atMs: clock.nowMs() }),
  };

  const signed = async (resumeToken: string, atMs: number, event: Any | undefined): Promise<WatchResponse> => {
    const fields = { resumeToken, time: timestampFromMs(atMs), ...(event === undefined ? {} : { event }) };
    const message = create(WatchResponseSchema, fields);
    const { keyId, signature } = await ring.sign("feed", signedBytes("registry.changes", message));
    return create(WatchResponseSchema, { ...fields, keyId, signature });
  };
  const feed = handler(FeedService, {
    async *watch(request, call) {
      let next = request.resumeToken === "" ? 0 : Number(request.resumeToken);
      while (!call.signal.aborted) {
        const waiting = events.slice(next);
        for (const { event, atMs } of waiting) yield await signed(String(++next), atMs, event);
        yield await signed(String(next), clock.nowMs(), undefined);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  });
  const directory = handler(DirectoryService, directoryOf(registry));
  const port = await startFake(fakes, "registry", [feed, directory]);
  return { registry, port };
}

function directoryOf(registry: FakeRegistry): Parameters<typeof handler<typeof DirectoryService>>[1] {
  const heard = (call: { readonly requestHeader: Headers }) => {
    registry.traceParents.push(call.requestHeader.get("traceparent") ?? "");
    if (registry.away) throw new DomainError("DEPENDENCY_UNAVAILABLE");
  };
  return {
    redeemEnrolment({ enrolmentCode }, call) {
      heard(call);
      const found = registry.enrolments.get(enrolmentCode);
      if (!registry.enrolments.delete(enrolmentCode) || found === undefined) throw new DomainError("ENROLMENT_INVALID");
      if ("clientId" in found) return { holder: { case: "clientId", value: found.clientId } };
      return { holder: { case: "accountId", value: found.accountId }, loginName: found.loginName };
    },
    getSubject({ accountId, organisationId }, call) {
      heard(call);
      const account = registry.accounts.get(accountId);
      if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
      return {
        state: account.state,
        level: account.level,
        role: account.roles.get(organisationId) ?? Role.UNSPECIFIED,
      };
    },
    getOperator({ operatorId }, call) {
      heard(call);
      const operator = registry.operators.get(operatorId);
      if (operator === undefined) throw new DomainError("OPERATOR_NOT_FOUND");
      return {
        role: OperatorRole.SYSTEM_ADMINISTRATOR,
        scopes: operator.scopes,
        reviewedUntil: timestampFromMs(operator.reviewedUntilMs),
      };
    },
    matchCertificate(request, call) {
      heard(call);
      const holder = registry.match(request);
      return "accountId" in holder
        ? { holder: { case: "accountId", value: holder.accountId } }
        : { holder: { case: "operatorId", value: holder.operatorId } };
    },
    getPairwiseSubject({ accountId, sector }, call) {
      heard(call);
      const key = `${accountId} ${sector}`;
      const subject = registry.pairwise.get(key) ?? randomUUID();
      registry.pairwise.set(key, subject);
      return { subject };
    },
  };
}

function startAudit(fakes: Fakes, audited: Event[]): Promise<number> {
  const ingest = handler(IngestService, {
    appendEvents({ events }) {
      audited.push(...events);
      return { indexes: events.map((_event, index) => BigInt(index)) };
    },
    async *streamEvents() {},
  });
  return startFake(fakes, "audit", [ingest]);
}

async function startFake(
  { stack, ca, clock, log }: Fakes,
  service: string,
  handlers: Parameters<typeof startServer>[0]["handlers"],
): Promise<number> {
  const identity = stack.use(loadIdentity(await ca.issueService(service)));
  const telemetry = stack.use(await startTelemetry({ service, environment: "test", traceRatio: 0 }));
  const server = await startServer({
    service,
    environment: "production",
    grpc: { address: { host: "127.0.0.1", port: 0 }, tls: identity },
    http: { address: { host: "127.0.0.1", port: 0 } },
    admin: { address: { host: "127.0.0.1", port: 0 } },
    handlers,
    tokens: {
      verify: () => {
        throw new DomainError("TOKEN_INVALID");
      },
    },
    revocations: { isStale: () => false },
    telemetry,
    log,
    clock,
    drainTimeoutMs: 0,
  });
  stack.use(server);
  return server.grpcPort;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** Makes an account of that state and gives an enrolment code for it. */
export function enrolPerson(
  { registry }: Platform,
  given: { loginName: string; state?: AccountState; level?: number; accountId?: string },
): { accountId: string; code: string } {
  const accountId = given.accountId ?? randomUUID();
  const code = `enrolment-${randomUUID()}`;
  registry.accounts.set(accountId, {
    state: given.state ?? AccountState.ACTIVE,
    level: given.level ?? 2,
    roles: registry.accounts.get(accountId)?.roles ?? new Map(),
  });
  registry.enrolments.set(code, { accountId, loginName: given.loginName });
  return { accountId, code };
}

/** Registers an application at the fake registry. */
export function publishApplication(
  { registry }: Platform,
  given: MessageInitShape<typeof ApplicationChangedSchema>,
): void {
  publishEvent(registry, ApplicationChangedSchema, {
    applicationId: "app",
    kind: ApplicationKind.CONFIDENTIAL,
    enabled: true,
    name: "Housing fund",
    redirectUris: ["https://fund.example/callback"],
    scopes: ["openid", "trust.verify"],
    sector: "fund",
    ...given,
  });
}

export function publishEvent<Desc extends DescMessage>(
  registry: FakeRegistry,
  schema: Desc,
  init: MessageInitShape<Desc>,
): void {
  registry.publish(anyPack(schema, create(schema, init)));
}

export { AccountChangedSchema, AccountState, ApplicationKind, MembershipChangedSchema, OperatorChangedSchema, Role };

/** Waits until the condition holds; a bound keeps a broken test from hanging. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2_000; tries += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}`);
}
