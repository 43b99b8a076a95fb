// One log, one PostgreSQL of its own with its durable settings, and a sequencer that reaches it over a wire. Each fault
// strikes at the COMMIT that seals a batch: before it is delivered (failed and not persisted), or after it is done and
// before anybody learns of it (failed but persisted). After each, the same log goes on.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { type EmbeddedPostgres, startPostgres } from "@fujie/embedded";
import { type ManualClock, manualClock } from "@fujie/kit/clock";
import { type Database, openDatabase, statement } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { systemTimers } from "@fujie/kit/timers";
import { readHead } from "../src/log/store.ts";
import {
  environmentOf,
  makeEvents,
  openLeader,
  openTestLog,
  openWriter,
  type TestLog,
  until,
  verifyTestLog,
  type Writer,
} from "./fixture.ts";
import { startProcess } from "./service-process.ts";
import { type Moment, type Outcome, openWire, through, type Wire } from "./wire.ts";

const SEALING = "audit.head.advance";
const DAY_MS = 86_400_000;
const MOMENTS = { before: "failed and not persisted", after: "failed but persisted" } as const;

const folder = mkdtempSync(join(tmpdir(), "fujie-faults-"));
// Started by root, the server is another user, who must be able to pass through.
chmodSync(folder, 0o711);
const start = () => startPostgres({ dataDir: join(folder, "data"), log: () => {} });
/** Nobody waits long: the pauses between attempts grow to many seconds. */
const impatient = {
  ...systemTimers,
  sleep: (ms: number, signal?: AbortSignal) => systemTimers.sleep(Math.min(ms, 100), signal),
};
const sql = (text: string) => statement("", text)();

let postgres: EmbeddedPostgres;
let wire: Wire;
let log: TestLog;
let superuser: Database;
let clock: ManualClock;
let writer: Writer;
/** What the log acknowledged, by event id. */
const acknowledged = new Map<string, number>();
const cleanups: (() => Promise<void> | void)[] = [];

before(async () => {
  postgres = await start();
  process.env["FUJIE_TEST_POSTGRES_URL"] = postgres.url("postgres");
  wire = await openWire(() => postgres.port);
  log = await openTestLog({ after: (fn) => void cleanups.push(fn) });
  superuser = log.superuser();
  clock = manualClock(Date.now());
  writer = await lead();
});
after(async () => {
  await writer[Symbol.asyncDispose]();
  for (const clean of cleanups.reverse()) await clean();
  await wire[Symbol.asyncDispose]();
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function lead(): Promise<Writer> {
  const db = openDatabase({ url: through(wire, log.database.runtimeUrl), poolMax: 8, service: "audit" });
  cleanups.push(async () => db[Symbol.asyncDispose]());
  return openLeader(log, { db, clock, timers: impatient });
}

/** As a relay does it: again until it is acknowledged, by whichever leads. */
async function appendInsistently(writers: readonly Writer[], events: readonly Event[]): Promise<number[]> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    for (const { appender } of writers) {
      try {
        const indexes = await appender.append("auth", events);
        remember(events, indexes);
        return indexes;
      } catch (error) {
        assert.ok(performance.now() < deadline, String(error));
      }
    }
    await delay(10);
  }
}

function remember(events: readonly Event[], indexes: readonly number[]): void {
  for (const [at, { eventId }] of events.entries()) {
    const index = indexes[at] ?? -1;
    assert.equal(acknowledged.get(eventId) ?? index, index, "an event has one index for ever");
    acknowledged.set(eventId, index);
  }
}

/** Nothing that was acknowledged is lost, nothing is there twice, and the log verifies. */
async function assertSound(): Promise<void> {
  const report = await verifyTestLog(log);
  assert.deepEqual(report, { size: acknowledged.size, checkpoints: 1, findings: [] });
  const { rows } = await log.db.query<{ event_id: string; index: number }>(
    sql("SELECT event_id, index::float8 AS index FROM audit.event"),
  );
  assert.deepEqual(new Map(rows.map(({ event_id, index }) => [event_id, index])), acknowledged);
}

async function sealedSize(): Promise<number> {
  let size = -1;
  await until(async () => {
    size = await readHead(log.db).then(
      (head) => head?.size ?? 0,
      () => -1,
    );
    return size >= 0;
  }, "the database answers");
  return size;
}

function refused(error: unknown): undefined {
  assert.ok(error instanceof DomainError && error.reason === "DEPENDENCY_UNAVAILABLE", String(error));
}

interface Fault {
  readonly name: string;
  strike(): Promise<Outcome>;
  /** The batch may be acknowledged all the same: it is sealed, and what fails comes later. */
  readonly mayAnswer?: boolean;
  /** Afterwards, before anything is asked of the log. */
  mend?(): Promise<void>;
}

const faults: Fault[] = [
  { name: "the connection is cut", strike: async () => "cut" },
  {
    name: "kill −9 of one of PostgreSQL's processes",
    strike: async () => {
      const { rows } = await superuser.query<{ pid: number }>(
        sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'audit' AND pid <> pg_backend_pid() LIMIT 1"),
      );
      process.kill(rows[0]?.pid ?? Number.NaN, "SIGKILL");
      return "cut";
    },
  },
  {
    name: "kill −9 of PostgreSQL",
    strike: async () => {
      process.kill(postgres.pid, "SIGKILL");
      await postgres.ended;
      postgres = await start();
      return "cut";
    },
  },
  { name: "the clock steps forward by months", strike: () => stepClock(100 * DAY_MS) },
  { name: "the clock steps back by a year", strike: () => stepClock(-365 * DAY_MS) },
];

async function stepClock(ms: number): Promise<Outcome> {
  clock.advance(ms);
  return "cut";
}

/** A batch, of which nobody can say whether it was sealed; then again, as everybody who is told so does. */
async function interruptBatch(fault: Fault, moment: Moment): Promise<void> {
  const known = makeEvents(5, {}, clock.nowMs());
  const first = await appendInsistently([writer], known);
  const size = acknowledged.size;
  const events = makeEvents(30, {}, clock.nowMs());
  const struck = wire.atCommitOf(SEALING, moment, fault.strike);
  const answered = await writer.appender.append("auth", events).catch(refused);
  if (fault.mayAnswer !== true) assert.equal(answered, undefined);
  else if (answered !== undefined) remember(events, answered);
  await struck;
  await fault.mend?.();
  assert.equal(await sealedSize(), size + (moment === "after" ? 30 : 0), MOMENTS[moment]);
  assert.deepEqual(
    await appendInsistently([writer], events),
    events.map((_, at) => size + at),
  );
  assert.deepEqual(await appendInsistently([writer], known), first);
  await assertSound();
}

for (const fault of faults) {
  for (const moment of ["before", "after"] as const) {
    test(`${fault.name} (${MOMENTS[moment]})`, () => interruptBatch(fault, moment));
  }
}

for (const moment of ["before", "after"] as const) {
  test(`another sequencer takes the lead during a commit (${MOMENTS[moment]})`, async () => {
    await appendInsistently([writer], makeEvents(5));
    await using db = openDatabase({ url: log.database.runtimeUrl, poolMax: 8, service: "standby" });
    await using standby = openWriter(log, { db, clock, timers: impatient });
    const size = acknowledged.size;
    const events = makeEvents(30);
    const struck = wire.atCommitOf(SEALING, moment, async () => {
      await until(() => takeLockFromOthers("standby"), "the other has the lock");
      // Before, the open transaction still holds the head, for which the other waits.
      if (moment === "before") return "cut";
      await until(() => standby.sequencer.isLeading(), "the other leads");
      return "goes on";
    });
    // The leader that was overtaken may still say what is true: that these are sealed.
    const answered = await writer.appender.append("auth", events).catch(refused);
    if (answered !== undefined) remember(events, answered);
    await struck;
    await until(() => standby.sequencer.isLeading(), "the other leads");
    assert.equal(await sealedSize(), size + (moment === "after" ? 30 : 0), MOMENTS[moment]);
    assert.deepEqual(
      await appendInsistently([writer, standby], events),
      events.map((_, at) => size + at),
    );
    await assertSound();
  });
}

/** Ends the session that has the lock of the lead, unless it is of this program already. */
async function takeLockFromOthers(program: string): Promise<boolean> {
  const { rows } = await superuser.query<{ name: string }>(
    sql(`SELECT application_name AS name,
           CASE WHEN application_name <> '${program}' THEN pg_terminate_backend(pid) END AS ended
         FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND database = datid AND datname = current_database()`),
  );
  return rows[0]?.name === program;
}

/**
 * Every write beyond the first byte of any file fails, in each of the server's processes: PostgreSQL treats that as it
 * does a full disk (an error where a table grows, a crash where the log of transactions does), and no mount is needed.
 */
function limitFiles(bytes: "0" | "unlimited"): void {
  for (const pid of [postgres.pid, ...childrenOf(postgres.pid)]) {
    // As the server's own user: to change another's limits takes a capability that root does not have everywhere.
    const identity = ownerOf(pid);
    if (identity === undefined) continue;
    const { status, stderr } = spawnSync("prlimit", ["--pid", String(pid), `--fsize=${bytes}:`], identity);
    // Its children come and go.
    assert.ok(status === 0 || pid !== postgres.pid, String(stderr));
  }
}

function ownerOf(pid: number): { uid: number; gid: number } | undefined {
  const { uid, gid } = statSync(`/proc/${pid}`, { throwIfNoEntry: false }) ?? {};
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => {
      try {
        const stat = readFileSync(`/proc/${one}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
      } catch {
        return false;
      }
    });
}

/** There is room again. A server that could not even recover meanwhile has ended, and is started again. */
async function freeDisk(): Promise<void> {
  await until(async () => {
    if (await Promise.race([postgres.ended.then(() => true), delay(50, false)])) postgres = await start();
    else limitFiles("unlimited");
    return log.db.query("SELECT 1").then(
      () => true,
      () => false,
    );
  }, "the database answers again");
}

for (const moment of ["before", "after"] as const) {
  const when = moment === "before" ? "at the commit" : "right after the commit";
  test(`the disk is full ${when} (${MOMENTS[moment]})`, () =>
    interruptBatch(
      {
        name: "full disk",
        strike: async () => {
          limitFiles("0");
          return "goes on";
        },
        mayAnswer: moment === "after",
        mend: freeDisk,
      },
      moment,
    ));
}

test("the disk is full while entries are written (failed and not persisted): refused until there is room", async () => {
  await appendInsistently([writer], makeEvents(5));
  const size = acknowledged.size;
  const calls = [makeEvents(400), makeEvents(400)];
  limitFiles("0");
  for (const events of calls) assert.equal(await writer.appender.append("auth", events).catch(refused), undefined);
  await freeDisk();
  assert.equal(await sealedSize(), size);
  for (const events of calls) await appendInsistently([writer], events);
  await assertSound();
});

for (const moment of ["before", "after"] as const) {
  test(`kill −9 of the sequencer's process at the commit (${MOMENTS[moment]})`, async () => {
    await writer[Symbol.asyncDispose]();
    const env = await environmentOf(log);
    const running = await startProcess(log, {
      ...env,
      FUJIE_DATABASE_URL: through(wire, env["FUJIE_DATABASE_URL"] ?? ""),
    });
    try {
      const send = async (events: Event[]) => {
        const { indexes } = await running.ingest.appendEvents({ events }, { timeoutMs: 8_000 });
        remember(events, indexes.map(Number));
      };
      await send(makeEvents(5));
      const size = acknowledged.size;
      const events = makeEvents(30);
      const struck = wire.atCommitOf(SEALING, moment, async () => {
        await running.kill();
        return "cut";
      });
      await assert.rejects(send(events));
      await struck;
      assert.equal(await sealedSize(), size + (moment === "after" ? 30 : 0), MOMENTS[moment]);
      writer = await lead();
      // The events that the process recorded about itself, none of them here, would be the only others.
      const { rows } = await log.db.query<{ event_id: string }>(sql("SELECT event_id FROM audit.event"));
      assert.equal(rows.length, await sealedSize());
      remember(events, await writer.appender.append("registry", events));
      await assertSound();
    } finally {
      await running.kill();
    }
  });
}
