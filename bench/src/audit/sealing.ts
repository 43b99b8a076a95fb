import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { atMost, median, percentile, type Row } from "../suite.ts";
import { makeEvents, SERVICE, type Stage } from "./stage.ts";

const ROUNDS = 5;
const ROUND_MS = 2_000;
const CALL_EVENTS = 20;
const TARGET_MS = 100;

/** From the append to the seal at half of peak, against the commit of the same rows without a log at the same pace. */
export async function measureSealing(stage: Stage, peakPerSecond: number): Promise<Row> {
  const everyMs = (CALL_EVENTS * 1_000) / (peakPerSecond / 2);
  const sealed: number[] = [];
  const plain: number[] = [];
  const usual: number[] = [];
  const stalled: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const stalls = monitorEventLoopDelay({ resolution: 1 });
    stalls.enable();
    const durations = await pace(everyMs, (events) => stage.appender.append(SERVICE, events));
    stalls.disable();
    sealed.push(percentile(durations, 0.99));
    usual.push(percentile(durations, 0.5));
    stalled.push(stalls.max / 1e6);
    plain.push(percentile(await pace(everyMs, (events) => stage.insertOnce(events)), 0.99));
  }
  return atMost(TARGET_MS, {
    measure: "append to sealed at half of peak, p99, against a plain commit",
    value: median(sealed),
    unit: "ms",
    baseline: median(plain),
    notes: [
      `p50 ${median(usual).toFixed(1)} ms; the process itself stood still for up to ${median(stalled).toFixed(0)} ms a round`,
      `p99 of each round: ${sealed.map((ms) => ms.toFixed(0)).join(", ")} ms, ` +
        `of the plain commit ${plain.map((ms) => ms.toFixed(0)).join(", ")} ms`,
    ],
  });
}

/** Calls at a fixed pace, whether or not the ones before have ended: how long each took, in milliseconds. */
async function pace(everyMs: number, work: (events: readonly Event[]) => Promise<unknown>): Promise<number[]> {
  const calls = Array.from({ length: Math.floor(ROUND_MS / everyMs) }, () => makeEvents(CALL_EVENTS));
  const startMs = performance.now();
  const durations = calls.map(async (events, at) => {
    const dueMs = startMs + at * everyMs;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    await work(events);
    // From when it was due: a late timer is waiting, too.
    return performance.now() - dueMs;
  });
  return Promise.all(durations);
}
