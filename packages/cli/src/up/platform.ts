/**
 * Brings the whole platform up on one machine, as `npm start` and the tests do it:
 *
 *   keys and certificates ─▶ Postgres ─▶ databases and roles ─▶ sandbox, witness, migrations ─▶ four services
 *
 * Every service is a process of its own with the settings it would have in production; only the addresses are loopback.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { closeKeeper, type EmbeddedPostgres, ensureDatabase, startPostgres, throwawaySettings } from "@fujie/embedded";
import { provisionKeys } from "@fujie/kit/keys";
import { createLocalCa } from "@fujie/kit/tls";
import { sourceIds } from "@fujie/sandbox";
import type { Progress } from "../progress.ts";
import { untilFollowing } from "./following.ts";
import { type Layout, layout, type Ports, portsFrom, REPOSITORY, SERVICES, type ServiceName } from "./layout.ts";
import { type Program, runProgram, superviseProgram } from "./processes.ts";
import { prepareWitness, type WitnessFiles } from "./witness.ts";

export interface PlatformOptions {
  /** The data folder; it survives restarts. */
  readonly home: string;
  readonly progress: Progress;
  /** First of the ports: 7000 gives those of docs/design.md. */
  readonly portBase?: number;
  /** For tests: a database that forgets on power loss, and every call traced. */
  readonly throwaway?: boolean;
  /** Settings added to one program's environment. */
  readonly settings?: Partial<Record<ServiceName, Readonly<Record<string, string>>>>;
}

export interface Platform extends AsyncDisposable {
  readonly ports: Ports;
  readonly files: Layout;
  /** OpenID issuer; the address of auth. */
  readonly issuer: string;
  /** Connect/HTTP address of a service. */
  httpUrl(service: ServiceName): string;
  /** gRPC target of a service. */
  grpcTarget(service: ServiceName): string;
  adminUrl(service: ServiceName): string;
  readonly sandboxUrl: string;
  /** PEM of the local authority, for gRPC clients. */
  readonly caFile: string;
  readonly bundleFile: string;
  readonly bundleRootFile: string;
  /** The witness's public key as text. */
  readonly witnessKeyFile: string;
  readonly programs: ReadonlyMap<string, Program>;
  readonly postgres: EmbeddedPostgres;
  stop(): Promise<void>;
}

type Environment = Record<string, string>;

/** Starts everything and resolves when every service is ready. Whatever was started is stopped again on failure. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { progress, home } = options;
  const files = layout(home);
  for (const folder of [home, files.logs, files.sandbox]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  const ports = portsFrom(options.portBase ?? 7_000);
  const stack = new AsyncDisposableStack();
  try {
    const trust = await progress.step("keys and certificates", async () => provisionTrust(files));
    const postgres = stack.use(
      await progress.step("PostgreSQL", () =>
        startPostgres({
          dataDir: files.postgres,
          log: () => {},
          ...(options.throwaway ? { settings: throwawaySettings } : {}),
        }),
      ),
    );
    const databases = await progress.step("databases and roles", () => prepareDatabases(postgres));
    const witness = prepareWitness(files.witness, ports.witness.http, trust);
    const context: Surroundings = { files, ports, trust, databases, witness, options };
    const programs = new Map<string, Program>();
    stack.defer(() => stopPrograms(programs));
    await progress.step("sandbox, witness, migrations", () => prepareServices(context, programs));
    await closeKeeper(postgres.url("postgres"), OWNER_OF_THE_LOG);
    await progress.step("services: auth, registry, trust-gateway, audit", () => startServices(context, programs));
    const owned = stack.move();
    const stop = () => owned.disposeAsync();
    return { ...addresses(context), programs, postgres, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

interface Surroundings {
  readonly files: Layout;
  readonly ports: Ports;
  readonly trust: Trust;
  readonly databases: Databases;
  readonly witness: WitnessFiles;
  readonly options: PlatformOptions;
}

interface DatabaseUrls {
  readonly owner: string;
  readonly runtime: string;
}

interface Databases extends Readonly<Record<ServiceName, DatabaseUrls>> {
  /** The wrapped keys of audit's details, apart from the log. */
  readonly "audit-keys": DatabaseUrls;
}

interface Trust {
  readonly caFile: string;
  readonly bundleFile: string;
  readonly bundleRootFile: string;
  keysDir(service: string): string;
  identity(name: string): { certFile: string; keyFile: string };
}

async function provisionTrust(files: Layout): Promise<Trust> {
  const keys = provisionKeys({ rootDir: files.keys, services: SERVICES });
  const ca = await createLocalCa(files.tls);
  const names = [...SERVICES, "sandbox"];
  const identities = new Map<string, { certFile: string; keyFile: string }>();
  for (const name of names) identities.set(name, await ca.issueService(name, { hosts: ["localhost", "127.0.0.1"] }));
  return {
    caFile: ca.caFile,
    bundleFile: keys.bundleFile,
    bundleRootFile: keys.bundleRootFile,
    keysDir: (service) => keys.keysDir(service),
    identity: (name) => {
      const found = identities.get(name);
      if (found === undefined) throw new TypeError(`no identity for ${name}`);
      return found;
    },
  };
}

/** Only while it migrates may it touch what the log's keeper owns. */
const OWNER_OF_THE_LOG = "audit_owner";

async function prepareDatabases(postgres: EmbeddedPostgres): Promise<Databases> {
  const urls: Partial<Record<keyof Databases, DatabaseUrls>> = {};
  for (const user of [...SERVICES, "audit-keys"] as const) {
    const name = user.replace("-", "_");
    // Fresh at every start: nobody but the processes started here ever needs them.
    const owner = { role: `${name}_owner`, password: randomBytes(24).toString("hex") };
    const runtime = { role: `${name}_runtime`, password: randomBytes(24).toString("hex") };
    const keeper = owner.role === OWNER_OF_THE_LOG;
    await ensureDatabase(postgres.url("postgres"), { name, owner, runtime, keeper });
    urls[user] = {
      owner: postgres.url(name, owner.role, owner.password),
      runtime: postgres.url(name, runtime.role, runtime.password),
    };
  }
  return urls as Databases;
}

const mainOf = (service: ServiceName) => join(REPOSITORY, "services", service, "src/main.ts");
const loopback = (port: number) => `127.0.0.1:${port}`;

/** What the services need, side by side: most of it is the start of a process. */
async function prepareServices(context: Surroundings, programs: Map<string, Program>): Promise<void> {
  // The sandbox writes the sources file, which the trust-gateway's settings name.
  const sandbox = startSandbox(context, programs);
  const migrations = SERVICES.map(async (service) => {
    if (service === "trust-gateway") await sandbox;
    await migrateService(service, context);
  });
  const done = await Promise.allSettled([sandbox, startWitness(context, programs), ...migrations]);
  // All have ended before anything is stopped again.
  for (const each of done) if (each.status === "rejected") throw each.reason;
}

async function migrateService(service: ServiceName, context: Surroundings): Promise<void> {
  const { databases } = context;
  const program = {
    name: service,
    main: mainOf(service),
    env: {
      ...settingsOf(service, context),
      FUJIE_MIGRATION_DATABASE_URL: databases[service].owner,
      ...(service === "audit" ? { FUJIE_KEY_MIGRATION_DATABASE_URL: databases["audit-keys"].owner } : {}),
    },
    logFile: join(context.files.logs, `${service}.log`),
  };
  await runProgram(program, ["migrate"]);
}

async function startSandbox({ files, ports, trust }: Surroundings, programs: Map<string, Program>): Promise<void> {
  const identity = trust.identity("sandbox");
  const program = superviseProgram(
    {
      name: "sandbox",
      main: join(REPOSITORY, "sandbox/src/main.ts"),
      env: {
        FUJIE_SANDBOX_HTTP_ADDRESS: loopback(ports.sandbox.http),
        FUJIE_SANDBOX_GRPC_ADDRESS: loopback(ports.sandbox.grpc),
        FUJIE_SANDBOX_DIR: files.sandbox,
        FUJIE_TLS_CERT_FILE: identity.certFile,
        FUJIE_TLS_KEY_FILE: identity.keyFile,
        FUJIE_TLS_CA_FILE: trust.caFile,
      },
      logFile: join(files.logs, "sandbox.log"),
      readyUrl: `http://${loopback(ports.sandbox.http)}/control/population-base`,
    },
    () => {},
  );
  programs.set("sandbox", program);
  await program.ready();
}

async function startWitness({ files, ports, witness }: Surroundings, programs: Map<string, Program>): Promise<void> {
  const program = superviseProgram(
    {
      name: "witness",
      main: join(REPOSITORY, "witness/src/main.ts"),
      args: ["serve", "--config", witness.configFile],
      env: {},
      logFile: join(files.logs, "witness.log"),
      readyUrl: `http://${loopback(ports.witness.http)}/`,
    },
    () => {},
  );
  programs.set("witness", program);
  await program.ready();
}

async function startServices(context: Surroundings, programs: Map<string, Program>): Promise<void> {
  for (const service of SERVICES) {
    programs.set(
      service,
      superviseProgram(
        {
          name: service,
          main: mainOf(service),
          env: { ...settingsOf(service, context), ...context.options.settings?.[service] },
          logFile: join(context.files.logs, `${service}.log`),
          readyUrl: `http://${loopback(context.ports.services[service].admin)}/readyz`,
        },
        context.options.progress.say,
      ),
    );
  }
  await Promise.all([...programs.values()].map((program) => program.ready()));
  await untilFollowing(SERVICES.map((service) => `http://${loopback(context.ports.services[service].admin)}`));
}

/** The settings that a service gets: what the Helm chart would set, on loopback. */
function settingsOf(service: ServiceName, context: Surroundings): Environment {
  const { files, ports, trust, databases, options } = context;
  const own = ports.services[service];
  const identity = trust.identity(service);
  return {
    FUJIE_ENVIRONMENT: "sandbox",
    FUJIE_GRPC_ADDRESS: loopback(own.grpc),
    FUJIE_HTTP_ADDRESS: loopback(own.http),
    FUJIE_HTTP_TLS: "false",
    FUJIE_ADMIN_ADDRESS: loopback(own.admin),
    FUJIE_TLS_CERT_FILE: identity.certFile,
    FUJIE_TLS_KEY_FILE: identity.keyFile,
    FUJIE_TLS_CA_FILE: trust.caFile,
    FUJIE_DATABASE_URL: databases[service].runtime,
    FUJIE_ISSUER: `http://${loopback(ports.services.auth.http)}`,
    FUJIE_KEYS_DIR: trust.keysDir(service),
    FUJIE_KEY_BUNDLE_FILE: trust.bundleFile,
    FUJIE_KEY_BUNDLE_ROOT_FILE: trust.bundleRootFile,
    FUJIE_TRACE_RATIO: options.throwaway ? "1" : "0.01",
    ...peersOf(service, ports),
    ...(service === "registry"
      ? { FUJIE_CEREMONY_FILE: files.ceremonyCode, FUJIE_ENABLED_SOURCES: sourceIds.join(",") }
      : {}),
    ...(service === "audit"
      ? {
          FUJIE_WITNESSES_FILE: context.witness.witnessesFile,
          FUJIE_KEY_DATABASE_URL: databases["audit-keys"].runtime,
        }
      : {}),
    ...(service === "trust-gateway" ? { FUJIE_SOURCES_FILE: join(files.sandbox, "sources.json") } : {}),
  };
}

/** Whom each service calls or follows: to the right by call, to the left by feed (docs/design.md). */
const peers: Readonly<Record<ServiceName, readonly ServiceName[]>> = {
  auth: ["auth", "registry", "audit"],
  registry: ["auth", "trust-gateway", "audit"],
  "trust-gateway": ["auth", "audit"],
  audit: ["auth"],
};

function peersOf(service: ServiceName, ports: Ports): Environment {
  return Object.fromEntries(
    peers[service].map((peer) => [
      `FUJIE_PEER_${peer.toUpperCase().replace("-", "_")}`,
      `dns:///${loopback(ports.services[peer].grpc)}`,
    ]),
  );
}

async function stopPrograms(programs: ReadonlyMap<string, Program>): Promise<void> {
  // Callers first, so that nobody is called after it is gone; audit last, so that the outboxes drain into it.
  for (const name of ["auth", "registry", "trust-gateway", "audit", "witness", "sandbox"])
    await programs.get(name)?.stop();
}

function addresses({ ports, files, trust, witness }: Surroundings) {
  return {
    ports,
    files,
    caFile: trust.caFile,
    bundleFile: trust.bundleFile,
    bundleRootFile: trust.bundleRootFile,
    witnessKeyFile: witness.keyFile,
    issuer: `http://${loopback(ports.services.auth.http)}`,
    sandboxUrl: `http://${loopback(ports.sandbox.http)}`,
    httpUrl: (service: ServiceName) => `http://${loopback(ports.services[service].http)}`,
    grpcTarget: (service: ServiceName) => loopback(ports.services[service].grpc),
    adminUrl: (service: ServiceName) => `http://${loopback(ports.services[service].admin)}`,
  };
}
