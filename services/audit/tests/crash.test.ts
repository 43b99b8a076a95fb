import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { environmentOf, makeEvents, openTestLog, until, usePostgres, verifyTestLog } from "./fixture.ts";
import { type ServiceProcess, startProcess } from "./service-process.ts";

usePostgres();

const KILLS = 3;

test("killed at random points under load, the service loses nothing that it acknowledged and has nothing twice", async (t) => {
  const log = await openTestLog(t);
  const env = await environmentOf(log);
  const acknowledged = new Map<string, number>();
  const unanswered: Event[][] = [];
  const remember = (events: readonly Event[], indexes: readonly bigint[]): void => {
    for (const [at, { eventId }] of events.entries()) {
      const index = Number(indexes[at]);
      assert.equal(acknowledged.get(eventId) ?? index, index);
      acknowledged.set(eventId, index);
    }
  };
  const send = async (ingest: ServiceProcess["ingest"], events: Event[]): Promise<boolean> => {
    try {
      remember(events, (await ingest.appendEvents({ events }, { timeoutMs: 8_000 })).indexes);
      return true;
    } catch {
      unanswered.push(events);
      return false;
    }
  };

  for (let round = 0; round < KILLS; round++) {
    const running = await startProcess(log, env);
    try {
      const senders = Array.from({ length: 4 }, async () => {
        while (await send(running.ingest, makeEvents(30, { details: { note: "x" } })));
      });
      const before = acknowledged.size;
      await until(() => acknowledged.size > before, "something is acknowledged");
      await delay(Math.random() * 400);
      await running.kill();
      await Promise.all(senders);
    } finally {
      await running.kill();
    }
  }

  const last = await startProcess(log, env);
  try {
    // What nobody answered is sent again, as the outboxes do; and something known as well.
    for (const events of unanswered.splice(0)) assert.ok(await send(last.ingest, events));
  } finally {
    await last.kill();
  }
  const report = await verifyTestLog(log);
  assert.deepEqual(report, { size: acknowledged.size, checkpoints: 1, findings: [] });
  const { rows } = await log.db.query<{ event_id: string; index: number }>(
    "SELECT event_id, index::float8 AS index FROM audit.event",
  );
  assert.equal(rows.length, acknowledged.size);
  for (const { event_id, index } of rows) assert.equal(acknowledged.get(event_id), index);
});
