import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { type Database, statement, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { Appender } from "../src/events/appender.ts";
import { readCheckpoint, readHead } from "../src/log/store.ts";
import {
  makeEvents,
  openLeader,
  openTestLog,
  openWriter,
  type TestLog,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";
import { createFuse, fuseDatabase } from "./fuse.ts";

usePostgres();

const sql = (text: string) => statement("", text)();

/** Appends in small calls, all at once; gives the index of every event that was acknowledged. */
async function tryAppend(appender: Appender, calls: readonly Event[][]): Promise<Map<string, number>> {
  const acknowledged = new Map<string, number>();
  await Promise.allSettled(
    calls.map(async (events) => {
      const indexes = await appender.append("auth", events);
      for (const [at, { eventId }] of events.entries()) acknowledged.set(eventId, indexes[at] ?? -1);
    }),
  );
  return acknowledged;
}

/** As a relay does it: again until it is acknowledged, wherever the lead is. */
async function appendInsistently(appenders: readonly Appender[], events: readonly Event[]): Promise<number[]> {
  for (let attempt = 0; attempt < 500; attempt++) {
    for (const appender of appenders) {
      try {
        return await appender.append("auth", events);
      } catch (error) {
        assert.ok(error instanceof DomainError && error.reason === "DEPENDENCY_UNAVAILABLE", String(error));
      }
    }
    await delay(10);
  }
  throw new Error("never acknowledged");
}

async function assertSound(log: TestLog, size: number): Promise<void> {
  assert.deepEqual(await verifyTestLog(log), { size, checkpoints: 1, findings: [] });
}

for (const moment of ["before", "after"] as const) {
  const outcome = moment === "before" ? "failed and not persisted" : "failed but persisted";
  test(`cut off at each statement of recovery, commit and publication (${outcome}): nothing acknowledged is lost`, async (t) => {
    const log = await openTestLog(t);
    const indexOf = new Map<string, number>();
    const remember = (id: string, index: number): void => {
      assert.equal(indexOf.get(id) ?? index, index, "an event has one index for ever");
      indexOf.set(id, index);
    };
    let persistedUnacknowledged = 0;
    let completed = false;
    for (let steps = 0; !completed; steps++) {
      assert.ok(steps < 100);
      const calls = [makeEvents(17), makeEvents(17), makeEvents(17)];
      const fuse = createFuse(steps, moment);
      {
        await using writer = openWriter(log, { db: fuseDatabase(log.db, fuse) });
        await until(() => writer.sequencer.isLeading() || fuse.isBlown(), "it leads or is cut off");
        for (const [id, index] of await tryAppend(writer.appender, calls)) remember(id, index);
        completed = !fuse.isBlown();
      }
      await using healthy = await openLeader(log);
      const before = (await readHead(log.db))?.size ?? 0;
      const acknowledged = indexOf.size;
      for (const events of calls) {
        const indexes = await appendInsistently([healthy.appender], events);
        for (const [at, { eventId }] of events.entries()) remember(eventId, indexes[at] ?? -1);
      }
      persistedUnacknowledged += before - acknowledged;
    }
    if (moment === "after") assert.ok(persistedUnacknowledged > 0, "no commit was persisted without its answer");
    assert.deepEqual(
      [...indexOf.values()].sort((a, b) => a - b),
      Array.from({ length: indexOf.size }, (_, at) => at),
    );
    assert.ok(log.signedRoots.size > 10);
    await assertSound(log, indexOf.size);
  });
}

test("two sequencers at once: one leads, the other takes over when the lock's session ends, each event is in once", async (t) => {
  const log = await openTestLog(t);
  const superuser = log.superuser();
  await using first = openWriter(log);
  await using second = openWriter(log);
  const writers = [first, second];
  const appenders = writers.map(({ appender }) => appender);
  await until(() => writers.some(({ sequencer }) => sequencer.isLeading()), "one leads");
  const events = makeEvents(600);
  const sent = Array.from({ length: 60 }, (_, at) => events.slice(at * 10, at * 10 + 10));
  let stop = false;
  const interrupting = (async () => {
    for (let times = 0; times < 4 && !stop; times++) {
      await delay(30);
      await superuser.query(
        sql(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`),
      );
    }
  })();
  const indexes = new Set<number>();
  for (const batch of sent) for (const index of await appendInsistently(appenders, batch)) indexes.add(index);
  stop = true;
  await interrupting;
  assert.equal(indexes.size, 600);
  await until(() => writers.filter(({ sequencer }) => sequencer.isLeading()).length === 1, "one leads");
  assert.deepEqual(await appendInsistently(appenders, sent[3] ?? []), [...indexes].slice(30, 40));
  await assertSound(log, 600);
});

test("a leader that was fenced off cannot seal any more, and leads again only in a new epoch", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const [before, after] = [makeEvents(3), makeEvents(3)];
  assert.deepEqual(await writer.appender.append("auth", before), [0, 1, 2]);
  const { epoch = 0 } = (await readHead(log.db)) ?? {};
  // What another replica does when it takes the lead.
  await log.superuser().query(sql("UPDATE audit.head SET epoch = epoch + 1"));
  await assert.rejects(writer.appender.append("auth", after), { reason: "DEPENDENCY_UNAVAILABLE" });
  assert.equal((await readHead(log.db))?.size, 3);
  assert.deepEqual(await appendInsistently([writer.appender], after), [3, 4, 5]);
  assert.equal((await readHead(log.db))?.epoch, epoch + 2);
  await assertSound(log, 6);
});

test("a stand-by refuses events, and takes over once the leader stops in good order", async (t) => {
  const log = await openTestLog(t);
  const leader = await openLeader(log);
  await using standby = openWriter(log);
  await assert.rejects(standby.appender.append("auth", makeEvents(1)), { reason: "DEPENDENCY_UNAVAILABLE" });
  const last = leader.appender.append("auth", makeEvents(900));
  // What is sequenced already is finished before the lead is given back.
  await until(() => leader.sequencer.size() > 0, "something is committed");
  await leader[Symbol.asyncDispose]();
  await last;
  await until(() => standby.sequencer.isLeading(), "the stand-by leads");
  assert.deepEqual(await standby.appender.append("auth", makeEvents(1)), [900]);
  await assertSound(log, 901);
});

/** Does what only a superuser can: with triggers off. */
async function tamper(superuser: Database, ...changes: readonly string[]): Promise<void> {
  await transaction(superuser, async (tx) => {
    await tx.query("SET LOCAL session_replication_role = replica");
    for (const change of changes) await tx.query(change);
  });
}

test("a database that was set back under a running leader is not continued", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  await writer.appender.append("auth", makeEvents(2));
  const [head, checkpoint] = [await readHead(log.db), await readCheckpoint(log.db)];
  await writer.appender.append("auth", makeEvents(2));
  const root = Buffer.from(head?.root ?? []).toString("hex");
  await tamper(
    log.superuser(),
    "DELETE FROM audit.entry WHERE index >= 2",
    "DELETE FROM audit.event WHERE index >= 2",
    "UPDATE audit.tally SET sealed = 2",
    `UPDATE audit.head SET size = 2, root = '\\x${root}'`,
    `UPDATE audit.checkpoint SET size = 2, note = '${checkpoint?.note}'`,
  );
  assert.deepEqual((await verifyTestLog(log)).findings, [], "by itself the older state is a sound log");
  await assert.rejects(writer.appender.append("auth", makeEvents(1)), { reason: "DEPENDENCY_UNAVAILABLE" });
  await delay(500);
  assert.ok(!writer.sequencer.isLeading(), "it signed a larger tree and remembers");
  assert.equal((await readHead(log.db))?.size, 2);
});

test("a log whose entries were changed is not continued", async (t) => {
  const log = await openTestLog(t);
  {
    await using writer = await openLeader(log);
    await writer.appender.append("auth", makeEvents(3));
  }
  await tamper(log.superuser(), "UPDATE audit.entry SET reason = reason || '\\x00' WHERE index = 1");
  const errors: object[] = [];
  const listening = { info: () => {}, warn: () => {}, error: (fields: object) => void errors.push(fields) };
  await using writer = openWriter(log, { log: listening });
  await until(() => errors.length > 0, "the sequencer refuses");
  assert.ok(!writer.sequencer.isLeading());
});
