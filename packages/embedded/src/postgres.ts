import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type Binaries, chooseRunAs, findBinaries, giveTo, ownerOf, type RunAs, startAs } from "./binaries.ts";
import { EmbeddedError } from "./errors.ts";
import { lockFolder } from "./folder-lock.ts";
import { endServer, sendSignal, stopOrphan } from "./orphan.ts";
import { identifyProcess } from "./process-identity.ts";
import { endWithProcess } from "./shutdown.ts";

/*
 * One server per data folder:
 *
 *   lock the folder → end an orphan → initialise (once) → start → ready → stopped or killed → unlock
 *
 * Beside the data folder `<dir>` lie `<dir>.password` (superuser, mode 0600), `<dir>.port` and, while it runs,
 * `<dir>.lock`. The rule kept: at any time at most one live process owns a folder, and whatever was killed, the next
 * start finds a folder that Postgres itself can recover.
 */

export type PostgresOptions = {
  /** The folder of the database files; made at the first start. Its parent holds password, port and lock. */
  dataDir: string;
  /** A fixed TCP port. Without it a free one is chosen at the first start and kept as long as it stays free. */
  port?: number;
  /** Receives each line of the server's log. It holds no statements, parameters or row values. */
  log: (line: string) => void;
  /** Further settings of postgresql.conf, which win over the defaults, e.g. `{ max_connections: "400" }`. */
  settings?: Readonly<Record<string, string>>;
};

export type EmbeddedPostgres = AsyncDisposable & {
  /** A connection URL. Without `role` it is the superuser's; a role without password is the caller's to complete. */
  url(database: string, role?: string, password?: string): string;
  readonly port: number;
  readonly pid: number;
  /** Settles when the server has ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** Ends all sessions and the server ("fast" shutdown). Safe to call again. */
  stop(): Promise<void>;
};

/** Settings for data that nobody will miss: no flush to disk, so that a power cut may corrupt the folder. */
export const throwawaySettings = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
} as const satisfies Record<string, string>;

const HOST = "127.0.0.1";
const MAJOR_VERSION = "18";
const READY_WITHIN_MS = 120_000;
const LEFTOVERS_GONE_WITHIN_MS = 10_000;

const defaultSettings = {
  listen_addresses: HOST,
  unix_socket_directories: "",
  max_connections: "200",
  shared_buffers: "32MB",
  // Statements and row values are personal data: neither errors nor their details go to the log.
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_line_prefix: "",
} as const satisfies Record<string, string>;

/**
 * Starts a real PostgreSQL on loopback TCP, with checksums and scram passwords, and waits until it answers.
 * As root it runs the server as another user.
 * @throws EmbeddedError with the reason; ALREADY_RUNNING when a live process runs this folder.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dirname(dataDir), { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const binaries = await findBinaries();
  const runAs = chooseRunAs([binaries.postgres, dirname(dataDir)]);
  const unlock = lockFolder(`${dataDir}.lock`);
  try {
    await stopOrphan(dataDir, options.log);
    const password = await initialise(dataDir, binaries, runAs);
    giveTo(runAs, dataDir);
    const server = await startOnFreePort(dataDir, binaries, runAs, options);
    return describe(server, password, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

type Server = { child: ChildProcess; pid: number; port: number };

function describe(server: Server, superuserPassword: string, unlock: () => void): EmbeddedPostgres {
  const { child, pid, port } = server;
  const ended = childEnded(child);
  const stop = async (): Promise<void> => {
    const identity = child.exitCode === null && child.signalCode === null ? identifyProcess(pid) : undefined;
    if (identity !== undefined) await endServer(identity);
    await ended;
  };
  const forget = endWithProcess({ stop, stopAtExit: () => sendSignal(pid, "SIGINT") });
  void ended.then(() => {
    forget();
    unlock();
  });
  const url = (database: string, role = "postgres", password?: string): string => {
    const secret = password ?? (role === "postgres" ? superuserPassword : undefined);
    const user = encodeURIComponent(role) + (secret === undefined ? "" : `:${encodeURIComponent(secret)}`);
    return `postgres://${user}@${HOST}:${port}/${encodeURIComponent(database)}`;
  };
  return { url, port, pid, ended, stop, [Symbol.asyncDispose]: stop };
}

async function childEnded(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** Makes the data folder if there is none, and returns the superuser's password. An interrupted attempt is redone. */
async function initialise(dataDir: string, binaries: Binaries, runAs: RunAs): Promise<string> {
  const passwordFile = `${dataDir}.password`;
  const versionFile = join(dataDir, "PG_VERSION");
  if (existsSync(versionFile)) {
    const version = readFileSync(versionFile, "utf8").trim();
    if (version !== MAJOR_VERSION) {
      throw new EmbeddedError("VERSION_MISMATCH", `${dataDir} is of PostgreSQL ${version}, not ${MAJOR_VERSION}`);
    }
    if (!existsSync(passwordFile)) throw new EmbeddedError("PASSWORD_MISSING", `${passwordFile} does not exist`);
    return readFileSync(passwordFile, "utf8").trim();
  }
  const password = randomBytes(24).toString("base64url");
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  await initialiseAside(dataDir, password, binaries, runAs);
  return password;
}

async function initialiseAside(dataDir: string, password: string, binaries: Binaries, runAs: RunAs): Promise<void> {
  const fresh = `${dataDir}.new`;
  const handedPassword = `${dataDir}.new-password`;
  rmSync(fresh, { recursive: true, force: true });
  rmSync(handedPassword, { force: true });
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(handedPassword, password, { mode: 0o600 });
  const owner = ownerOf(runAs);
  if (owner !== undefined) {
    chownSync(fresh, owner, owner);
    chownSync(handedPassword, owner, owner);
  }
  try {
    const arguments_ = [
      `--pgdata=${fresh}`,
      "--username=postgres",
      `--pwfile=${handedPassword}`,
      "--auth=scram-sha-256",
      "--data-checksums",
      "--encoding=UTF8",
      // The builtin provider sorts alike on every system and needs no locale installed.
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      "--no-instructions",
    ];
    const child = startAs(runAs, binaries.initdb, arguments_);
    const tail = collectTail(child, () => {});
    const [exitCode] = await exitOf(child, binaries.initdb);
    if (exitCode !== 0) throw new EmbeddedError("START_FAILED", `initdb failed for ${dataDir}: ${tail.join("\n")}`);
    renameSync(fresh, dataDir);
  } finally {
    rmSync(handedPassword, { force: true });
  }
}

/** Starts on the wanted or remembered port, else on free ones, and waits out backends that outlived a killed server. */
async function startOnFreePort(
  dataDir: string,
  binaries: Binaries,
  runAs: RunAs,
  options: PostgresOptions,
): Promise<Server> {
  const portFile = `${dataDir}.port`;
  const giveUpAt = performance.now() + LEFTOVERS_GONE_WITHIN_MS;
  let port = options.port ?? rememberedPort(portFile) ?? (await findFreePort());
  let portsLeft = options.port === undefined ? 5 : 0;
  for (;;) {
    const outcome = await startOnce(dataDir, port, binaries, runAs, options);
    if ("child" in outcome) {
      writeFileSync(portFile, `${port}\n`);
      return outcome;
    }
    const said = outcome.tail.join("\n");
    if (/Address already in use|could not bind/.test(said) && portsLeft > 0) {
      portsLeft -= 1;
      port = await findFreePort();
    } else if (/pre-existing shared memory block/.test(said) && performance.now() < giveUpAt) {
      await sleep(200);
    } else {
      throw new EmbeddedError(
        "START_FAILED",
        `PostgreSQL did not start on ${basename(dataDir)}, port ${port}: ${said}`,
      );
    }
  }
}

async function startOnce(
  dataDir: string,
  port: number,
  binaries: Binaries,
  runAs: RunAs,
  options: PostgresOptions,
): Promise<Server | { tail: string[] }> {
  const settings = { ...defaultSettings, ...options.settings, port: String(port) };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = startAs(runAs, binaries.postgres, ["-D", dataDir, ...flags]);
  const tail = collectTail(child, options.log);
  const exited = exitOf(child, binaries.postgres);
  // Observed here, since the wait for readiness may end before it settles.
  exited.catch(() => {});
  const pid = child.pid;
  if (pid === undefined) {
    await exited;
    return { tail };
  }
  const giveUpAt = performance.now() + READY_WITHIN_MS;
  while (child.exitCode === null && child.signalCode === null) {
    if (isReady(dataDir, pid)) return { child, pid, port };
    if (performance.now() > giveUpAt) {
      const identity = identifyProcess(pid);
      if (identity !== undefined) await endServer(identity, 0);
      tail.push(`not ready within ${READY_WITHIN_MS / 1000} s`);
    }
    await sleep(15);
  }
  return { tail };
}

/** Whether the pid file's last line says that the server takes connections (miscadmin.h, LOCK_FILE_LINE_PM_STATUS). */
function isReady(dataDir: string, pid: number): boolean {
  try {
    const lines = readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n");
    return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
  } catch {
    return false;
  }
}

async function exitOf(child: ChildProcess, program: string): Promise<unknown[]> {
  try {
    return await once(child, "exit");
  } catch (cause) {
    throw new EmbeddedError("START_FAILED", `${program} could not be run`, { cause });
  }
}

/** Passes each line on and keeps the last ones for an error message. */
function collectTail(child: ChildProcess, log: (line: string) => void): string[] {
  const tail: string[] = [];
  for (const input of [child.stdout, child.stderr]) {
    if (input === null) continue;
    createInterface({ input }).on("line", (line) => {
      tail.push(line);
      if (tail.length > 20) tail.shift();
      log(line);
    });
  }
  return tail;
}

function rememberedPort(portFile: string): number | undefined {
  if (!existsSync(portFile)) return undefined;
  const port = Number(readFileSync(portFile, "utf8"));
  return Number.isInteger(port) && port > 1023 && port < 65_536 ? port : undefined;
}

/** A TCP port on loopback that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new EmbeddedError("START_FAILED", "no free port");
  return address.port;
}
