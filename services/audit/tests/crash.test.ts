import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@connectrpc/connect";
import { type Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import {
  environmentOf,
  makeEvents,
  openTestLog,
  peerClient,
  type TestLog,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";

usePostgres();

const MAIN = join(import.meta.dirname, "../src/main.ts");
const KILLS = 3;

interface Process {
  readonly child: ChildProcess;
  readonly ingest: Client<typeof IngestService>;
  kill(): Promise<void>;
}

/** The service as it runs in production: a process of its own, asked over mutual TLS. */
async function startProcess(log: TestLog, env: Record<string, string>): Promise<Process> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const ports = await new Promise<{ grpc: number; admin: number }>((resolve, reject) => {
    void exited.then(() => reject(new Error("the process ended before it served")));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said: { message?: string; grpc: number; admin: number } = JSON.parse(line);
      if (said.message === "serving") resolve(said);
    });
  });
  await until(async () => (await fetch(`http://127.0.0.1:${ports.admin}/readyz`)).ok, "audit is ready");
  const peer = await peerClient(log, "registry", ports.grpc);
  return {
    child,
    ingest: peer(IngestService),
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
      peer[Symbol.dispose]();
    },
  };
}

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
  const send = async (ingest: Process["ingest"], events: Event[]): Promise<boolean> => {
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
      running.child.kill("SIGKILL");
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
