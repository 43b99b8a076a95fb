import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectError } from "@connectrpc/connect";
import { type Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { manualClock, systemClock } from "@fujie/kit/clock";
import { ConfigError } from "@fujie/kit/config";
import { type Database, openDatabase, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { readAuditConfig } from "../src/config.ts";
import { findStoredEntry } from "../src/events/store.ts";
import { moveKeys } from "../src/subjects/move-keys.ts";
import { openSubjectKeys, type SubjectKeys } from "../src/subjects/subject-keys.ts";
import {
  environmentOf,
  makeEvent,
  openLeader,
  openTestLog,
  startTestServer,
  type TestLog,
  type TestServer,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";
import { createFuse, fuseDatabase } from "./fuse.ts";
import { openWire, through } from "./wire.ts";

usePostgres();

const aboutSubject = (subject: string) => makeEvent({ subject, details: { note: subject } });
const erasureOf = (subject: string) => makeEvent({ type: "subject.erased", actor: "registry", subject });

async function append(audit: TestServer, ...events: readonly Event[]): Promise<bigint[]> {
  return (await (await audit.peer("registry"))(IngestService).appendEvents({ events: [...events] })).indexes;
}

async function detailsOf(audit: TestServer, index: bigint | undefined): Promise<Record<string, string>> {
  const entry = { case: "index", value: index ?? -1n } as const;
  return (await audit.reader(["audit.read"]).getEntry({ purpose: "test.review", entry })).details;
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (thrown: unknown) => (thrown instanceof Error && thrown.cause instanceof ConnectError ? thrown.cause : thrown),
  );
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason ?? "none";
}

/** A key database as its superuser sees it: every row saved, and put back as a backup would. */
async function backUp(superuser: Database): Promise<() => Promise<void>> {
  const tables = ["subject_key", "erased_until"];
  const read = async (table: string) =>
    (await superuser.query<{ all: unknown }>(`SELECT coalesce(json_agg(t), '[]') AS all FROM keys.${table} t`)).rows[0]
      ?.all;
  const saved = await Promise.all(tables.map(read));
  return () =>
    transaction(superuser, async (tx) => {
      await tx.query(`TRUNCATE ${tables.map((table) => `keys.${table}`).join(", ")}`);
      for (const [at, table] of tables.entries()) {
        await tx.query({
          text: `INSERT INTO keys.${table} SELECT * FROM json_populate_recordset(NULL::keys.${table}, $1)`,
          values: [JSON.stringify(saved[at])],
        });
      }
    });
}

/** Whether the key is there that an entry's details were sealed under. */
async function hasKeyOf(log: TestLog, index: bigint | undefined): Promise<boolean> {
  const { rows } = await log.db.query<{ id: string }>(
    `SELECT details_key AS id FROM audit.entry WHERE index = ${index}`,
  );
  const text = "SELECT FROM keys.subject_key WHERE key_id = $1";
  return (await log.keyDb.query({ text, values: [rows[0]?.id] })).rowCount === 1;
}

async function keyOwners(log: TestLog): Promise<string[]> {
  const { rows } = await log.keyDb.query<{ subject: string }>(
    "SELECT DISTINCT subject FROM keys.subject_key ORDER BY 1",
  );
  return rows.map(({ subject }) => subject).filter((subject) => subject.startsWith("account-"));
}

test("NI-19 keys that a backup brings back open nothing: erasures are carried out again, and proofs stay valid", async (t) => {
  const log = await openTestLog(t);
  await using superuser = openDatabase({ url: log.keyDatabase.url, poolMax: 1, service: "test" });
  const cleanups: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  };
  const start = () => startTestServer({ after: (fn) => void cleanups.push(fn) }, systemClock, {}, log);
  t.after(stop);

  let audit = await start();
  const [a, early] = await append(audit, aboutSubject("account-a"), aboutSubject("account-again"));
  await append(audit, erasureOf("account-again"));
  // After its erasure it is spoken of again, under another key: that one is not erased.
  const [again, kept] = await append(audit, aboutSubject("account-again"), aboutSubject("account-kept"));
  const restore = await backUp(superuser);
  await append(audit, erasureOf("account-a"));
  assert.deepEqual(await detailsOf(audit, a), {});
  assert.equal(await hasKeyOf(log, a), false);

  await restore();
  assert.equal(await hasKeyOf(log, a), true, "the backup has the key");
  assert.deepEqual(await detailsOf(audit, a), {}, "nothing is read with it, though nobody was told of the restore");
  assert.equal(await hasKeyOf(log, a), false);

  await stop();
  await restore();
  assert.equal(await hasKeyOf(log, a), true);
  audit = await start();
  // It is not asked for: the service looks by itself.
  await until(async () => !(await hasKeyOf(log, a)), "the erasure is carried out at the start");
  assert.deepEqual(await detailsOf(audit, a), {});
  assert.deepEqual(await detailsOf(audit, early), {});
  assert.deepEqual(await detailsOf(audit, again), { note: "account-again" });
  assert.deepEqual(await detailsOf(audit, kept), { note: "account-kept" });
  const [later] = await append(audit, aboutSubject("account-a"));
  assert.deepEqual(await detailsOf(audit, later), { note: "account-a" }, "what comes later has a key of its own");
  assert.deepEqual((await verifyTestLog(log)).findings, []);

  // The key was never told to be erased by anybody who may: another service's word counts for nothing.
  const stranger = (await audit.peer("auth"))(IngestService);
  await stranger.appendEvents({ events: [erasureOf("account-kept")] });
  assert.deepEqual(await detailsOf(audit, kept), { note: "account-kept" });
});

test("without the key database nothing with details is taken in or read, and everything else goes on", async (t) => {
  const log = await openTestLog(t);
  const sound = Number(new URL(log.keyDatabase.runtimeUrl).port);
  const nowhere = await openWire(() => 9);
  await nowhere[Symbol.asyncDispose]();
  let port = sound;
  const wire = await openWire(() => port);
  t.after(() => wire[Symbol.asyncDispose]());
  const settings = { FUJIE_KEY_DATABASE_URL: through(wire, log.keyDatabase.runtimeUrl) };
  const audit = await startTestServer(t, systemClock, settings, log);
  const [index = -1n] = await append(audit, aboutSubject("account-a"));
  const sizeOf = async () => (await log.db.query<{ size: number }>("SELECT size::float8 AS size FROM audit.head")).rows;

  port = nowhere.port;
  wire.cut();
  const before = await sizeOf();
  const events = [aboutSubject("account-b"), makeEvent()];
  assert.equal(await reasonOf(append(audit, ...events)), "DEPENDENCY_UNAVAILABLE");
  assert.deepEqual(await sizeOf(), before, "nothing of it is in the log");
  assert.equal(await reasonOf(detailsOf(audit, index)), "DEPENDENCY_UNAVAILABLE");
  assert.equal((await append(audit, makeEvent())).length, 1, "an event without details needs no key");
  const publicReader = audit.client(LogService);
  assert.ok((await publicReader.getCheckpoint({})).note.length > 0);
  assert.ok((await publicReader.getInclusionProof({ index, treeSize: 0n })).path.length > 0);
  assert.ok((await fetch(`http://127.0.0.1:${audit.server.adminPort}/readyz`)).ok);
  assert.equal(
    await reasonOf(append(audit, erasureOf("account-a"))),
    "DEPENDENCY_UNAVAILABLE",
    "an erasure is acknowledged once it is carried out",
  );

  port = sound;
  assert.equal((await append(audit, ...events)).length, 2);
  assert.deepEqual(await detailsOf(audit, index), {}, "the log told of the erasure");
  assert.deepEqual((await verifyTestLog(log)).findings, []);
});

/** Keys as the release before kept them, in the log's own database. */
async function keepAsBefore(log: TestLog): Promise<void> {
  await using superuser = openDatabase({ url: log.keyDatabase.url, poolMax: 1, service: "test" });
  const { rows } = await superuser.query<{ all: unknown }>("SELECT json_agg(t) AS all FROM keys.subject_key t");
  const text = `INSERT INTO audit.subject_key SELECT * FROM json_populate_recordset(NULL::audit.subject_key, $1)`;
  await log.superuser().query({ text, values: [JSON.stringify(rows[0]?.all)] });
  await superuser.query("TRUNCATE keys.subject_key, keys.erased_until");
}

test("keys move to their database so that an interruption loses none, and an erasure meanwhile loses its own", async (t) => {
  const log = await openTestLog(t);
  const subjects = Array.from({ length: 7 }, (_, at) => `account-${at}`);
  await using writer = await openLeader(log);
  await writer.appender.append("registry", subjects.map(aboutSubject));
  await keepAsBefore(log);
  const read = async (keys: SubjectKeys, index: number): Promise<string | undefined> => {
    const stored = await findStoredEntry(log.db, index);
    assert.ok(stored?.details);
    const { rows } = await log.db.query<{ id: string }>(
      `SELECT event_id AS id FROM audit.entry WHERE index = ${index}`,
    );
    return (await keys.open(rows[0]?.id ?? "", stored.details))?.toString();
  };
  const readable = async () => {
    const keys = openSubjectKeys({ ...log, clock: systemClock });
    return (
      await Promise.all(subjects.map(async (_, at) => ((await read(keys, at)) === undefined ? [] : [at])))
    ).flat();
  };
  assert.deepEqual(await readable(), [0, 1, 2, 3, 4, 5, 6], "a key is found where it was");

  for (const moment of ["before", "after"] as const) {
    for (const which of ["db", "keyDb"] as const) {
      for (let steps = 0; steps < 3; steps++) {
        const fuse = createFuse(steps, moment);
        await moveKeys({ ...log, [which]: fuseDatabase(log[which], fuse) }, 1).catch(() => {});
        assert.equal((await readable()).length, subjects.length, `${which} ${moment} ${steps}`);
      }
    }
  }
  await openSubjectKeys({ ...log, clock: systemClock }).erase("account-6");
  await openSubjectKeys({ ...log, clock: systemClock }).erase("account-0");
  while ((await moveKeys(log, 2)) > 0);
  assert.deepEqual(await readable(), [1, 2, 3, 4, 5]);
  const { rows } = await log.db.query("SELECT pg_relation_size('audit.subject_key')::int AS bytes");
  assert.deepEqual(rows, [{ bytes: 0 }], "nothing legible is left in the file");
  assert.deepEqual(await keyOwners(log), subjects.slice(1, 6));
});

/** Counts the statements, and lets a test hold an answer back. */
function watched(db: Database) {
  let queries = 0;
  let hold: Promise<void> = Promise.resolve();
  const watch = async <T>(work: () => Promise<T>): Promise<T> => {
    queries += 1;
    const held = hold;
    const result = await work();
    await held;
    return result;
  };
  const keyDb: Database = { ...db, query: (statement) => watch(() => db.query(statement)) };
  return {
    keyDb,
    queries: () => {
      const counted = queries;
      queries = 0;
      return counted;
    },
    holdUntil: (released: Promise<void>) => {
      hold = released;
    },
  };
}

test("a batch asks for its keys once, remembers them for a minute, and never beyond an erasure", async (t) => {
  const log = await openTestLog(t);
  const clock = manualClock(Date.now());
  const { keyDb, queries, holdUntil } = watched(log.keyDb);
  const keys = openSubjectKeys({ ...log, keyDb, clock });
  await keys.replayErasures();
  queries();
  const subjects = Array.from({ length: 400 }, (_, at) => `account-${at}`);
  const keyIdOf = async (subject: string) =>
    (await keys.prepare([subject]))(subject, "event", Buffer.from("text")).keyId;
  await keys.prepare(subjects);
  assert.equal(queries(), 2, "one to find them, one to keep the new ones");
  const first = await keyIdOf("account-1");
  assert.equal(queries(), 0);
  clock.advance(60_000);
  await keys.prepare(subjects);
  assert.equal(queries(), 1);
  assert.equal(await keyIdOf("account-1"), first);

  await keys.erase("account-1");
  const second = await keyIdOf("account-1");
  assert.notEqual(second, first);
  // Read before an erasure, answered after it: used for what is under way, remembered for nothing.
  clock.advance(60_000);
  const released = Promise.withResolvers<void>();
  holdUntil(released.promise);
  const underWay = keys.prepare(["account-1"]);
  holdUntil(Promise.resolve());
  await keys.erase("account-1");
  released.resolve();
  await underWay;
  assert.notEqual(await keyIdOf("account-1"), second);

  await assert.rejects(
    openSubjectKeys({
      ...log,
      keyDb: { ...keyDb, query: () => Promise.reject(new DomainError("DEPENDENCY_UNAVAILABLE")) },
      clock,
    }).prepare(["account-2"]),
    { reason: "DEPENDENCY_UNAVAILABLE" },
  );
});

test("when an older backup of the log is put back, erasures under its indexes are carried out too", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const { appender } = writer;
  await appender.append("registry", [aboutSubject("account-a")]);
  // The mark of a log that had been longer.
  await log.keyDb.query("UPDATE keys.erased_until SET index = 500");
  await openSubjectKeys({ ...log, clock: systemClock }).replayErasures();
  await appender.append("registry", [erasureOf("account-a")]);
  await openSubjectKeys({ ...log, clock: systemClock }).replayErasures();
  assert.deepEqual(await keyOwners(log), []);
  const { rows } = await log.keyDb.query("SELECT index::int AS index FROM keys.erased_until");
  assert.deepEqual(rows, [{ index: 2 }]);
});

test("keys in the log's own database, and in production on its server, are refused", async (t) => {
  const log = await openTestLog(t);
  const env = await environmentOf(log);
  const problems = (settings: Readonly<Record<string, string>>): string[] => {
    try {
      readAuditConfig({ ...env, ...settings });
      return [];
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.problems.map(({ name }) => name);
    }
  };
  const production = { FUJIE_ENVIRONMENT: "production" };
  const elsewhere = { FUJIE_KEY_DATABASE_URL: "postgres://keys@keys.example/keys" };
  assert.deepEqual(problems({}), []);
  assert.deepEqual(problems({ FUJIE_KEY_DATABASE_URL: log.database.ownerUrl }), ["FUJIE_KEY_DATABASE_URL"]);
  assert.deepEqual(problems(production), ["FUJIE_KEY_DATABASE_URL"]);
  assert.deepEqual(problems({ ...production, ...elsewhere }), []);
});
