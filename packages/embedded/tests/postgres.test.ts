import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { chooseRunAs } from "../src/binaries.ts";
import {
  EmbeddedError,
  type EmbeddedPostgres,
  ensureDatabase,
  startPostgres,
  throwawaySettings,
} from "../src/index.ts";
import { identifyProcess, isAlive } from "../src/process-identity.ts";

const quick = { log: () => {}, settings: throwawaySettings };
const isRoot = process.getuid?.() === 0;

function makeFolder(t: TestContext, mode = 0o711): string {
  const folder = mkdtempSync(join(tmpdir(), "fujie-embedded-"));
  chmodSync(folder, mode);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An initialised folder, made once: each test starts on a copy of its own. */
const template = join(mkdtempSync(join(tmpdir(), "fujie-embedded-")), "data");
before(async () => {
  chmodSync(dirname(template), 0o711);
  const server = await startPostgres({ dataDir: template, ...quick });
  await server.stop();
});
after(() => rmSync(dirname(template), { recursive: true, force: true }));

function makeDataDir(t: TestContext): string {
  const dataDir = join(makeFolder(t), "data");
  copyTemplate(dataDir);
  return dataDir;
}

function copyTemplate(dataDir: string): void {
  for (const suffix of ["", ".password"]) {
    assert.equal(spawnSync("cp", ["-a", template + suffix, dataDir + suffix]).status, 0);
  }
}

async function start(t: TestContext, dataDir: string): Promise<EmbeddedPostgres> {
  const server = await startPostgres({ dataDir, ...quick });
  t.after(() => server.stop());
  return server;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  // Killing the server is what some tests are about.
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Starts a server owned by another process. */
async function startElsewhere(
  t: TestContext,
  dataDir: string,
  ...options: ("durable" | "own-handler")[]
): Promise<{ parent: ChildProcess; pid: number; url: string }> {
  const script = fileURLToPath(import.meta.resolve("./server-process.ts"));
  const parent = spawn(
    process.execPath,
    [
      script,
      dataDir,
      ...["durable", "own-handler"].map((one) => (options.some((option) => option === one) ? one : "")),
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  t.after(() => parent.kill("SIGKILL"));
  const [line]: unknown[] = await once(createInterface({ input: parent.stdout }), "line");
  const said: unknown = JSON.parse(String(line));
  assert.ok(typeof said === "object" && said !== null && "pid" in said && "url" in said);
  return { parent, pid: Number(said.pid), url: String(said.url) };
}

async function killAndWait(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

test("a server keeps its data, password and port over stop and start", async (t) => {
  const dataDir = join(makeFolder(t), "data");
  const first = await start(t, dataDir);
  await query(first.url("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer");
  const url = first.url("postgres");
  await first.stop();
  await first.stop();
  assert.equal(identifyProcess(first.pid), undefined);
  assert.equal(existsSync(`${dataDir}.lock`), false);

  const second = await start(t, dataDir);
  assert.equal(second.url("postgres"), url);
  assert.deepEqual(await query(url, "SELECT answer FROM kept"), [{ answer: 42 }]);
});

test("the server demands a password, listens on loopback only and has checksums on", async (t) => {
  const dataDir = makeDataDir(t);
  const server = await start(t, dataDir);
  assert.equal(statSync(`${dataDir}.password`).mode & 0o777, 0o600);
  await assert.rejects(query(server.url("postgres", "postgres", "wrong"), "SELECT 1"), { code: "28P01" });
  const rows = await query(
    server.url("postgres"),
    `SELECT name, setting FROM pg_settings WHERE name IN
      ('listen_addresses', 'unix_socket_directories', 'data_checksums', 'max_connections', 'fsync') ORDER BY name`,
  );
  assert.deepEqual(rows, [
    { name: "data_checksums", setting: "on" },
    { name: "fsync", setting: "off" },
    { name: "listen_addresses", setting: "127.0.0.1" },
    { name: "max_connections", setting: "200" },
    { name: "unix_socket_directories", setting: "" },
  ]);
  const [rule] = await query(
    server.url("postgres"),
    "SELECT count(*)::int AS open FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'",
  );
  assert.deepEqual(rule, { open: 0 });
});

test("an error's statement and row values do not reach the log", async (t) => {
  const lines: string[] = [];
  const dataDir = makeDataDir(t);
  const server = await startPostgres({ dataDir, settings: throwawaySettings, log: (line) => lines.push(line) });
  t.after(() => server.stop());
  await query(
    server.url("postgres"),
    "CREATE TABLE holders (name text PRIMARY KEY); INSERT INTO holders VALUES ('secret-name')",
  );
  await assert.rejects(query(server.url("postgres"), "INSERT INTO holders VALUES ('secret-name')"), { code: "23505" });
  await server.stop();
  const log = lines.join("\n");
  assert.match(log, /duplicate key value/);
  assert.doesNotMatch(log, /secret-name/);
});

test("a second start on a running folder is refused, in this process and in another", async (t) => {
  const folder = makeFolder(t);
  for (const name of ["here", "there"]) copyTemplate(join(folder, name));
  await start(t, join(folder, "here"));
  await assert.rejects(startPostgres({ dataDir: join(folder, "here"), ...quick }), { reason: "ALREADY_RUNNING" });
  const other = await startElsewhere(t, join(folder, "there"));
  await assert.rejects(startPostgres({ dataDir: join(folder, "there"), ...quick }), { reason: "ALREADY_RUNNING" });
  assert.deepEqual(await query(other.url, "SELECT 1 AS one"), [{ one: 1 }]);
  await killAndWait(other.parent, "SIGTERM");
});

test("after kill -9 of the server committed rows are there at the next start", async (t) => {
  const dataDir = makeDataDir(t);
  const first = await startPostgres({ dataDir, log: () => {} });
  t.after(() => first.stop());
  await query(first.url("postgres"), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n");
  process.kill(first.pid, "SIGKILL");
  await first.ended;
  const second = await start(t, dataDir);
  assert.deepEqual(await query(second.url("postgres"), "SELECT count(*)::int FROM kept"), [{ count: 1000 }]);
});

test("after kill -9 of the parent its orphan is ended, and committed rows are there", async (t) => {
  const dataDir = makeDataDir(t);
  const other = await startElsewhere(t, dataDir, "durable");
  await query(other.url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n");
  const orphan = identifyProcess(other.pid);
  assert.ok(orphan !== undefined);
  await killAndWait(other.parent, "SIGKILL");
  assert.ok(isAlive(orphan));

  const second = await start(t, dataDir);
  assert.equal(isAlive(orphan), false);
  assert.deepEqual(await query(second.url("postgres"), "SELECT count(*)::int FROM kept"), [{ count: 1000 }]);
});

test("a pid file that names somebody else's process is not acted upon", async (t) => {
  const dataDir = makeDataDir(t);
  const first = await start(t, dataDir);
  const lines = readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n");
  await first.stop();
  const bystander = spawn("sleep", ["600"], { stdio: "ignore" });
  t.after(() => bystander.kill());
  writeFileSync(join(dataDir, "postmaster.pid"), [String(bystander.pid), ...lines.slice(1)].join("\n"));

  const second = await start(t, dataDir);
  assert.deepEqual(await query(second.url("postgres"), "SELECT 1 AS one"), [{ one: 1 }]);
  assert.equal(bystander.exitCode ?? bystander.signalCode, null);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} to a program without handlers of its own stops the server cleanly`, async (t) => {
    const dataDir = makeDataDir(t);
    const other = await startElsewhere(t, dataDir);
    await killAndWait(other.parent, signal);
    assert.equal(other.parent.signalCode, signal);
    assert.equal(identifyProcess(other.pid), undefined);
    assert.equal(existsSync(join(dataDir, "postmaster.pid")), false);
  });
}

test("a program with a handler of its own uses the server until it stops it", async (t) => {
  const dataDir = makeDataDir(t);
  const other = await startElsewhere(t, dataDir, "own-handler");
  await killAndWait(other.parent, "SIGTERM");
  assert.equal(other.parent.exitCode, 0);
  const second = await start(t, dataDir);
  assert.deepEqual(await query(second.url("postgres"), "SELECT said FROM last_words"), [{ said: 1 }]);
});

test("a remembered port that is taken by now is replaced, a fixed one is not", async (t) => {
  const dataDir = makeDataDir(t);
  const first = await start(t, dataDir);
  const { port } = first;
  await first.stop();
  const squatter = createServer().listen(port, "127.0.0.1");
  await once(squatter, "listening");
  t.after(() => squatter.close());
  await assert.rejects(startPostgres({ dataDir, port, ...quick }), { reason: "START_FAILED" });
  const second = await start(t, dataDir);
  assert.notEqual(second.port, port);
});

test("servers of different folders start at once", async (t) => {
  const folder = makeFolder(t);
  const servers = await Promise.all(["one", "two"].map((name) => start(t, join(folder, name))));
  const found = await Promise.all(servers.map((server) => query(server.url("postgres"), "SELECT 1 AS one")));
  assert.deepEqual(found, [[{ one: 1 }], [{ one: 1 }]]);
  assert.equal(new Set(servers.map((server) => server.port)).size, 2);
});

test("an interrupted initialisation is redone, data of another version and a lost password are refused", async (t) => {
  const dataDir = join(makeFolder(t), "data");
  writeFileSync(`${dataDir}.password`, "left over\n", { mode: 0o600 });
  writeFileSync(`${dataDir}.new`, "left over");
  const server = await start(t, dataDir);
  await server.stop();
  rmSync(`${dataDir}.password`);
  await assert.rejects(startPostgres({ dataDir, ...quick }), { reason: "PASSWORD_MISSING" });
  writeFileSync(join(dataDir, "PG_VERSION"), "17\n");
  await assert.rejects(startPostgres({ dataDir, ...quick }), { reason: "VERSION_MISMATCH" });
});

test("root never runs the server: below a closed folder it is started in a namespace or refused by name", async (t) => {
  const closed = makeFolder(t, 0o700);
  if (!isRoot) {
    assert.equal(chooseRunAs([closed]), "as-is");
    return;
  }
  assert.equal(chooseRunAs([tmpdir()]), "as-nobody");
  const start_ = startPostgres({ dataDir: join(closed, "data"), ...quick });
  const outcome = await start_.catch((error: unknown) => error);
  if (outcome instanceof EmbeddedError) {
    assert.equal(outcome.reason, "FOLDER_UNREACHABLE");
    assert.ok(outcome.message.includes(closed));
    return;
  }
  const server = await start_;
  t.after(() => server.stop());
  assert.deepEqual(await query(server.url("postgres"), "SELECT 1 AS one"), [{ one: 1 }]);
  await server.stop();

  // The same folder opened later: the files change hands.
  chmodSync(closed, 0o711);
  const reopened = await start(t, join(closed, "data"));
  assert.deepEqual(await query(reopened.url("postgres"), "SELECT 1 AS one"), [{ one: 1 }]);
});

test("ensureDatabase makes owner and runtime roles, is idempotent, and gives the runtime role no DDL", async (t) => {
  const server = await start(t, makeDataDir(t));
  const spec = {
    name: "fujie's registry",
    owner: { role: "registry_owner", password: "o'wner \\ pass" },
    runtime: { role: "registry", password: "run/time?" },
  };
  const adminUrl = server.url("postgres");
  await Promise.all([ensureDatabase(adminUrl, spec), ensureDatabase(adminUrl, spec)]);
  const ownerUrl = server.url(spec.name, spec.owner.role, spec.owner.password);
  const runtimeUrl = server.url(spec.name, spec.runtime.role, spec.runtime.password);
  await query(ownerUrl, "CREATE TABLE things (id bigint GENERATED BY DEFAULT AS IDENTITY, name text)");

  await query(runtimeUrl, "INSERT INTO things (name) VALUES ('a')");
  assert.deepEqual(await query(runtimeUrl, "SELECT id::int, name FROM things"), [{ id: 1, name: "a" }]);
  const insufficientPrivilege = { code: "42501" };
  for (const ddl of [
    "CREATE TABLE more (id int)",
    "CREATE TEMP TABLE more (id int)",
    "ALTER TABLE things ADD COLUMN more int",
    "DROP TABLE things",
    "TRUNCATE things",
    "CREATE SCHEMA more",
    "CREATE ROLE more",
  ]) {
    await assert.rejects(query(runtimeUrl, ddl), insufficientPrivilege, ddl);
  }
  await assert.rejects(query(ownerUrl, "CREATE ROLE more"), insufficientPrivilege);

  const other = { name: "other", owner: { role: "o2", password: "x" }, runtime: { role: "r2", password: "y" } };
  await ensureDatabase(adminUrl, other);
  await assert.rejects(query(server.url(spec.name, "r2", "y"), "SELECT 1"), insufficientPrivilege);

  await ensureDatabase(adminUrl, { ...spec, runtime: { role: "registry", password: "changed" } });
  assert.deepEqual(await query(server.url(spec.name, "registry", "changed"), "SELECT name FROM things"), [
    { name: "a" },
  ]);
});
