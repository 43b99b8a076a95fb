/**
 * Memory over a soak: the service as a process of its own, over mutual TLS, at half of the peak that it reached just
 * before. FUJIE_SOAK_SECONDS sets how long (600).
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { environmentOf, makeEvents, openTestLog, usePostgres, verifyTestLog } from "./fixture.ts";
import { type ServiceProcess, startProcess } from "./service-process.ts";

usePostgres();

const SOAK_S = Math.min(Number(process.env["FUJIE_SOAK_SECONDS"] ?? 600), 1_200);
const PEAK_S = Math.max(5, SOAK_S / 20);
const SAMPLES = 60;
const CALL_EVENTS = 200;
const CALLS_OUT = 8;
const GROWTH_MAX = 1.05;

let sent = 0;
async function appendOnce({ ingest }: ServiceProcess): Promise<void> {
  const events = makeEvents(CALL_EVENTS, { subject: `account-${sent % 5_000}`, details: { note: "soak" } });
  sent += CALL_EVENTS;
  await ingest.appendEvents({ events });
}

/** As fast as it goes. Gives events a second. */
async function loadFully(audit: ServiceProcess, seconds: number): Promise<number> {
  const startMs = performance.now();
  let events = 0;
  const callers = Array.from({ length: CALLS_OUT }, async () => {
    while (performance.now() - startMs < seconds * 1_000) {
      await appendOnce(audit);
      events += CALL_EVENTS;
    }
  });
  await Promise.all(callers);
  return (events * 1_000) / (performance.now() - startMs);
}

/** At a pace; a call that is due waits for the one before it in its line, so that a slow moment is caught up. */
async function loadEvenly(audit: ServiceProcess, perSecond: number, seconds: number): Promise<void> {
  const startMs = performance.now();
  const everyMs = (CALL_EVENTS * CALLS_OUT * 1_000) / perSecond;
  const callers = Array.from({ length: CALLS_OUT }, async (_, line) => {
    for (let dueMs = (everyMs * line) / CALLS_OUT; dueMs < seconds * 1_000; dueMs += everyMs) {
      await delay(Math.max(0, startMs + dueMs - performance.now()));
      await appendOnce(audit);
    }
  });
  await Promise.all(callers);
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test(`memory is flat over ${SOAK_S} s at half of peak: the last third holds within 5 % of the middle third`, async (t) => {
  const log = await openTestLog(t);
  const program = ["--expose-gc", join(import.meta.dirname, "soak-process.ts")];
  const audit = await startProcess(log, await environmentOf(log), program);
  t.after(() => audit.kill());
  const peak = await loadFully(audit, PEAK_S);
  const heaps: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    await loadEvenly(audit, peak / 2, SOAK_S / SAMPLES);
    heaps.push(Number(await audit.ask("gc")));
  }
  const third = SAMPLES / 3;
  const thirds = [0, 1, 2].map((at) => median(heaps.slice(at * third, (at + 1) * third)));
  const mebibytes = thirds.map((bytes) => (bytes / 2 ** 20).toFixed(1));
  t.diagnostic(`${sent} events, peak ${peak.toFixed(0)}/s, heap by thirds ${mebibytes.join(", ")} MiB`);
  const [, middle = Number.NaN, last = Number.NaN] = thirds;
  assert.ok(last <= middle * GROWTH_MAX, `${mebibytes.join(", ")} MiB`);
  assert.deepEqual(await verifyTestLog(log), { size: sent, checkpoints: 1, findings: [] });
});
