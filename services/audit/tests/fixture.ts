import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { create, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { type Event, EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { startThrowawayPostgres, type TestDatabase, testDatabase } from "@fujie/embedded/testing";
import { connectPeer, type Peer } from "@fujie/kit/clients";
import { type Clock, systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, uuidv7 } from "@fujie/kit/db";
import { type KeyRing, loadKeyBundle, openFileKeyRing, type Provisioned, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { systemTimers } from "@fujie/kit/timers";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList, staticJwks } from "@fujie/kit/tokens";
import { formatVerifierKey, parseCheckpoint, type Verifier } from "@fujie/transparency";
import { createWitnessKey, readSettings, startWitness, verifierKeyOf } from "@fujie/witness";
import { readAuditConfig } from "../src/config.ts";
import { type Appender, createAppender } from "../src/events/appender.ts";
import { checkpointVerifiers, verifyLog } from "../src/log/index.ts";
import { openSequencer, type Sequencer, type SequencerOptions } from "../src/log/sequencer.ts";
import { keyMigrationsDir, migrationsDir, type Overrides, type RunningAudit, startAudit } from "../src/server.ts";
import { openSubjectKeys, type SubjectKeys } from "../src/subjects/subject-keys.ts";
import { tilesOf } from "../src/tiles/read-tiles.ts";
import { startWitnessing, type Witnessing } from "../src/witnessing/follow-up.ts";
import { readWitnessesFile } from "../src/witnessing/witnesses-file.ts";

export const SERVICES = ["auth", "registry", "trust-gateway", "audit"] as const;
export const ORIGIN = "log.test.example/1";
export const silent = createLogger({ service: "audit", level: "error", destination: { write: () => {} } });

export interface Cleanup {
  after(fn: () => Promise<void> | void): void;
}

/** One PostgreSQL for all tests of a file. */
export function usePostgres(): void {
  let stop: (() => Promise<void>) | undefined;
  before(async () => {
    if (process.env["FUJIE_TEST_POSTGRES_URL"] !== undefined) return;
    const server = await startThrowawayPostgres();
    process.env["FUJIE_TEST_POSTGRES_URL"] = server.adminUrl;
    stop = server.stop;
  });
  after(() => stop?.());
}

export function temporaryFolder(t: Cleanup): string {
  const folder = mkdtempSync(join(tmpdir(), "fujie-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A log's database, keys and verifiers, with nothing running on it yet. */
export interface TestLog {
  readonly db: Database;
  readonly keyDb: Database;
  readonly database: TestDatabase;
  readonly keyDatabase: TestDatabase;
  readonly folder: string;
  readonly keys: Provisioned;
  readonly ring: KeyRing;
  readonly verifiers: readonly Verifier[];
  /** By size, the roots that were signed: more than one root for a size throws at once. */
  readonly signedRoots: ReadonlyMap<number, string>;
  superuser(): Database;
}

export async function openTestLog(t: Cleanup): Promise<TestLog> {
  const folder = temporaryFolder(t);
  const keys = provisionKeys({ rootDir: join(folder, "keys"), services: SERVICES });
  const ring = openFileKeyRing(keys.keysDir("audit"), { service: "audit" });
  const disposers: AsyncDisposable[] = [];
  t.after(async () => {
    for (const each of disposers) await each[Symbol.asyncDispose]();
    await Promise.all([database, keyDatabase].map((each) => each[Symbol.asyncDispose]()));
  });
  const [database, keyDatabase] = await Promise.all([migratedDatabase(migrationsDir, true), openKeyDatabase()]);
  const open = (url: string): Database => {
    const db = openDatabase({ url, poolMax: 8, service: "audit" });
    disposers.push(db);
    return db;
  };
  const signedRoots = new Map<number, string>();
  return {
    db: open(database.runtimeUrl),
    keyDb: open(keyDatabase.runtimeUrl),
    database,
    keyDatabase,
    folder,
    keys,
    ring: watchSignatures(ring, signedRoots),
    verifiers: checkpointVerifiers(loadKeyBundle(keys.bundleFile, keys.bundleRootFile).entries, ORIGIN),
    signedRoots,
    superuser: () => open(database.url),
  };
}

/** A key database with its schema. */
export const openKeyDatabase = (): Promise<TestDatabase> => migratedDatabase(keyMigrationsDir, false);

async function migratedDatabase(dir: string, withKit: boolean): Promise<TestDatabase> {
  const database = await testDatabase();
  const runtimeRole = roleOf(database.runtimeUrl);
  await migrate({ url: database.ownerUrl, dir, runtimeRole, withKit, log: silent });
  return database;
}

function watchSignatures(ring: KeyRing, roots: Map<number, string>): KeyRing {
  return {
    ...ring,
    sign: async (use, bytes) => {
      const { size, root } = parseCheckpoint(Buffer.from(bytes).toString("utf8"));
      const hex = Buffer.from(root).toString("hex");
      if ((roots.get(size) ?? hex) !== hex) throw new Error(`two roots were signed for size ${size}`);
      roots.set(size, hex);
      return ring.sign(use, bytes);
    },
  };
}

export interface Writer extends AsyncDisposable {
  readonly sequencer: Sequencer;
  readonly appender: Appender;
  readonly subjectKeys: SubjectKeys;
}

/** A sequencer with its appender on a test log; `db` may stand in for the log's own. */
export function openWriter(
  log: TestLog,
  options: Partial<SequencerOptions> & { eventsMax?: number; bytesMax?: number } = {},
): Writer {
  const { db, keyDb, ring } = log;
  const { eventsMax, bytesMax, ...overrides } = options;
  const sequencer = openSequencer({ db, ring, origin: ORIGIN, log: silent, timers: systemTimers, ...overrides });
  const subjectKeys = openSubjectKeys({ db, keyDb, ring, clock: systemClock });
  const appender = createAppender({
    db,
    sequencer,
    subjectKeys,
    ...(eventsMax === undefined ? {} : { eventsMax }),
    ...(bytesMax === undefined ? {} : { bytesMax }),
  });
  return { sequencer, appender, subjectKeys, [Symbol.asyncDispose]: () => sequencer[Symbol.asyncDispose]() };
}

export async function openLeader(log: TestLog, options: Parameters<typeof openWriter>[1] = {}): Promise<Writer> {
  const writer = openWriter(log, options);
  await until(() => writer.sequencer.isLeading(), "the sequencer leads");
  return writer;
}

export async function verifyTestLog(log: TestLog, remembered: readonly string[] = []) {
  const report = await verifyLog({ db: log.db, origin: ORIGIN, verifiers: log.verifiers, remembered });
  return { size: report.size, checkpoints: report.checkpoints, findings: report.findings };
}

/** A witness of the log, in this process, with a way to bring it the log's checkpoints. */
export interface TestWitness extends AsyncDisposable {
  readonly url: string;
  readonly key: string;
  /** Of a witness that nobody asked. */
  readonly strangersKey: string;
  /** Writes the file that names it to audit. */
  readonly file: string;
  follow(): Witnessing;
}

export async function openWitness(t: Cleanup, log: TestLog): Promise<TestWitness> {
  const folder = temporaryFolder(t);
  const name = "witness.test/1";
  createWitnessKey(join(folder, "witness.pem"));
  const strangersKey = verifierKeyOf("stranger.test/1", createWitnessKey(join(folder, "stranger.pem")));
  const configFile = join(folder, "witness.json");
  const logs = [{ origin: ORIGIN, verifierKeys: log.verifiers.map(formatVerifierKey) }];
  const files = { keyFile: "witness.pem", stateFile: "witness.db" };
  writeFileSync(configFile, JSON.stringify({ name, listen: "127.0.0.1:0", ...files, logs }));
  const witness = await startWitness({
    settings: readSettings(configFile),
    nowS: () => Math.floor(Date.now() / 1_000),
    log: () => {},
  });
  const url = `http://127.0.0.1:${witness.port}`;
  const file = join(folder, "witnesses.json");
  writeFileSync(file, JSON.stringify([{ url, verifierKey: witness.verifierKey }]));
  return {
    url,
    key: witness.verifierKey,
    strangersKey,
    file,
    follow: () =>
      startWitnessing({
        db: log.db,
        tiles: tilesOf(log.db),
        witnesses: readWitnessesFile(file),
        isLeading: () => true,
        clock: systemClock,
        timers: systemTimers,
        log: silent,
      }),
    [Symbol.asyncDispose]: () => witness[Symbol.asyncDispose](),
  };
}

type EventFields = Exclude<MessageInitShape<typeof EventSchema>, Event>;

export function makeEvent(fields: EventFields = {}, nowMs = Date.now()): Event {
  return create(EventSchema, {
    eventId: uuidv7(nowMs),
    time: timestampFromMs(nowMs),
    type: "registration.submitted",
    outcome: Outcome.SUCCESS,
    actor: "operator-1",
    subject: "account-1",
    applicationId: "application-1",
    traceId: "0123456789abcdef0123456789abcdef",
    ...fields,
  });
}

/** Events a millisecond apart, so that no two say the same. */
export const makeEvents = (count: number, fields: EventFields = {}, startMs = Date.now()): Event[] =>
  Array.from({ length: count }, (_, offset) => makeEvent(fields, startMs + offset));

/** Waits until something that happens elsewhere has happened; fails after ten seconds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const ISSUER = "https://auth.test.example";

/** The environment of a service process on this log. */
export async function environmentOf(log: TestLog): Promise<Record<string, string>> {
  const ca = await createLocalCa(join(log.folder, "tls"));
  const identity = await ca.issueService("audit");
  return {
    FUJIE_ENVIRONMENT: "sandbox",
    FUJIE_GRPC_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_ADDRESS: "127.0.0.1:0",
    FUJIE_HTTP_TLS: "false",
    FUJIE_ADMIN_ADDRESS: "127.0.0.1:0",
    FUJIE_TLS_CERT_FILE: identity.certFile,
    FUJIE_TLS_KEY_FILE: identity.keyFile,
    FUJIE_TLS_CA_FILE: ca.caFile,
    FUJIE_DATABASE_URL: log.database.runtimeUrl,
    FUJIE_KEY_DATABASE_URL: log.keyDatabase.runtimeUrl,
    FUJIE_ISSUER: ISSUER,
    FUJIE_KEYS_DIR: log.keys.keysDir("audit"),
    FUJIE_KEY_BUNDLE_FILE: log.keys.bundleFile,
    FUJIE_KEY_BUNDLE_ROOT_FILE: log.keys.bundleRootFile,
    FUJIE_PEER_AUTH: "dns:///127.0.0.1:9",
    FUJIE_LOG_ORIGIN: ORIGIN,
  };
}

/** A client of the gRPC port with the certificate of a service. */
export async function peerClient(log: TestLog, as: string, grpcPort: number): Promise<Peer> {
  const ca = await createLocalCa(join(log.folder, "tls"));
  const files = await ca.issueService(as);
  const identity = loadIdentity({ ...files, caFile: ca.caFile }, { watchIntervalMs: 0 });
  return connectPeer({ target: `dns:///127.0.0.1:${grpcPort}`, service: "audit", identity });
}

export interface TestServer {
  readonly log: TestLog;
  readonly server: RunningAudit;
  readonly caFile: string;
  readonly httpUrl: string;
  mintToken(scopes: readonly string[], claims?: Readonly<Record<string, unknown>>): string;
  /** One connection for each service. */
  peer(as: string): Promise<Peer>;
  /** A reader of the log; with scopes, as an operator. */
  reader(scopes?: readonly string[]): ReturnType<typeof createClient<typeof LogService>>;
  /** A client of the HTTP port as that operator, or as nobody. */
  client<Service extends DescService>(service: Service, operator?: Operator): Client<Service>;
}

export interface Operator {
  readonly sub: string;
  readonly scopes: readonly string[];
}

/** The real server on a real database; auth is a key and a list. */
export async function startTestServer(
  t: Cleanup,
  clock: Clock = systemClock,
  settings: Readonly<Record<string, string>> = {},
  on?: TestLog,
): Promise<TestServer> {
  const log = on ?? (await openTestLog(t));
  const config = readAuditConfig({ ...(await environmentOf(log)), ...settings });
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const revocations = createRevocationList({ clock });
  const overrides: Overrides = {
    clock,
    log: silent,
    jwks: staticJwks({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "test", alg: "ES256", use: "sig" }] }),
    revocations: { ...revocations, isStale: () => false },
  };
  const server = await startAudit(config, overrides);
  const peers = new Map<string, Peer>();
  t.after(async () => {
    for (const peer of peers.values()) peer[Symbol.dispose]();
    await server.close();
  });
  const httpUrl = `http://127.0.0.1:${server.httpPort}`;
  const mintToken: TestServer["mintToken"] = (scopes, claims = {}) => {
    const nowS = Math.floor(clock.nowMs() / 1_000);
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const body = {
      iss: ISSUER,
      aud: "urn:fujie:api",
      iat: nowS,
      exp: nowS + 300,
      sub: "operator-9",
      client_id: "fujie-cli",
      kind: "operator",
      scope: scopes.join(" "),
      ...claims,
    };
    const signed = `${encode({ alg: "ES256", typ: "at+jwt", kid: "test" })}.${encode(body)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  };
  const client = <Service extends DescService>(service: Service, operator?: Operator): Client<Service> =>
    createClient(
      service,
      createConnectTransport({
        baseUrl: httpUrl,
        httpVersion: "1.1",
        interceptors: [
          (next) => (request) => {
            if (operator !== undefined) {
              const token = mintToken(operator.scopes, { sub: operator.sub });
              request.header.set("authorization", `Bearer ${token}`);
            }
            return next(request);
          },
        ],
      }),
    );
  await until(async () => (await fetch(`http://127.0.0.1:${server.adminPort}/readyz`)).ok, "audit is ready");
  return {
    log,
    server,
    caFile: config.tlsCaFile,
    httpUrl,
    mintToken,
    peer: async (as) => {
      const peer = peers.get(as) ?? (await peerClient(log, as, server.grpcPort));
      peers.set(as, peer);
      return peer;
    },
    reader: (scopes) => client(LogService, scopes === undefined ? undefined : { sub: "operator-9", scopes }),
    client,
  };
}
