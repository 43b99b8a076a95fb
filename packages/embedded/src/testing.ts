import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { ensureDatabase, keeperOf, withClient } from "./database.ts";
import { EmbeddedError } from "./errors.ts";
import { findFreePort, startPostgres, throwawaySettings } from "./postgres.ts";

export { keepObserved, startCollector } from "./observed.ts";

/** What a test context offers and these helpers use: a call after the test, or after the file for `before` hooks. */
export type Cleanup = { after(fn: () => Promise<void>): void };

export type TestDatabase = AsyncDisposable & {
  /** The superuser on this database; the same server's other databases are other tests'. */
  readonly url: string;
  /** The role that migrates: owns the database and its schema. */
  readonly ownerUrl: string;
  /** The role that a service runs as: rows, no DDL. */
  readonly runtimeUrl: string;
};

/**
 * A fresh, empty database with its two roles. It lives on the server of `FUJIE_TEST_POSTGRES_URL` (a superuser's URL,
 * set by `npm test`), else on a private server in a temporary folder; both are removed at disposal. `alone`: always on a
 * private server, for tests of what waits for the oldest running transaction: that counts those of all its databases.
 */
export async function testDatabase(t?: Cleanup, options: { readonly alone?: boolean } = {}): Promise<TestDatabase> {
  const server = await (options.alone === true ? startThrowawayPostgres() : findServer());
  const name = `test_${randomBytes(8).toString("hex")}`;
  const owner = { role: `${name}_owner`, password: randomBytes(12).toString("hex") };
  const runtime = { role: `${name}_runtime`, password: randomBytes(12).toString("hex") };
  await ensureDatabase(server.adminUrl, { name, owner, runtime, keeper: true });
  const dispose = doOnce(async () => {
    try {
      await withClient(server.adminUrl, async (client) => {
        await client.query(`DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`);
        const roles = [owner.role, runtime.role, keeperOf(owner.role)];
        for (const role of roles) await client.query(`DROP ROLE ${pg.escapeIdentifier(role)}`);
      });
    } finally {
      await server.stop();
    }
  });
  t?.after(dispose);
  return {
    url: urlOf(server.adminUrl, name),
    ownerUrl: urlOf(server.adminUrl, name, owner),
    runtimeUrl: urlOf(server.adminUrl, name, runtime),
    [Symbol.asyncDispose]: dispose,
  };
}

export type TestRedis = AsyncDisposable & { readonly url: string; readonly port: number };

/**
 * A real `redis-server` of its own on loopback, without persistence, ended and removed at disposal.
 * @throws EmbeddedError PACKAGE_MISSING when Debian's package redis-server is not installed
 */
export async function testRedis(t?: Cleanup): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-redis-"));
  const port = await findFreePort();
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const child = spawn("redis-server", settings, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit").catch((cause: unknown) => {
    const message = "redis-server is not installed (Debian package redis-server)";
    throw new EmbeddedError("PACKAGE_MISSING", message, { cause });
  });
  ended.catch(() => {});
  const killAtExit = (): void => {
    child.kill("SIGKILL");
  };
  process.once("exit", killAtExit);
  const dispose = doOnce(async () => {
    process.off("exit", killAtExit);
    if (child.exitCode === null && child.signalCode === null && child.kill("SIGTERM")) await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  try {
    const said = await Promise.race([readyLine(child.stdout), ended.then(() => "")]);
    if (said === "") throw new EmbeddedError("START_FAILED", `redis-server ended before it was ready on port ${port}`);
  } catch (error) {
    await dispose().catch(() => {});
    throw error;
  }
  t?.after(dispose);
  return { url: `redis://127.0.0.1:${port}`, port, [Symbol.asyncDispose]: dispose };
}

async function readyLine(output: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve) => {
    createInterface({ input: output }).on("line", (line) => {
      if (line.includes("Ready to accept connections")) resolve(line);
    });
  });
}

type TestServer = { adminUrl: string; stop: () => Promise<void> };

async function findServer(): Promise<TestServer> {
  const given = process.env["FUJIE_TEST_POSTGRES_URL"];
  return given === undefined || given === "" ? startThrowawayPostgres() : { adminUrl: given, stop: async () => {} };
}

/** A server in a temporary folder, without flushes to disk; stopping it removes the folder. */
export async function startThrowawayPostgres(): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-postgres-"));
  // Started by root, the server is another user, who must be able to pass through; nothing in it is readable.
  chmodSync(folder, 0o711);
  try {
    const server = await startPostgres({ dataDir: join(folder, "data"), log: () => {}, settings: throwawaySettings });
    const stop = async (): Promise<void> => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    };
    return { adminUrl: server.url("postgres"), stop };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function urlOf(adminUrl: string, database: string, as?: { role: string; password: string }): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  if (as !== undefined) {
    url.username = as.role;
    url.password = as.password;
  }
  return url.href;
}

/** Disposal may be asked for twice, by `await using` and by the test's end. */
function doOnce(fn: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= fn();
    return done;
  };
}
