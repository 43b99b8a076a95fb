import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { backoffMs, createNudge, manualTime, systemTimers } from "./index.ts";

test("sleepers of a manual time wake when their time has come, or when they are aborted, and not before", async () => {
  const { timers, advance, sleeping } = manualTime(0);
  const woken: string[] = [];
  const stop = new AbortController();
  const all = [
    timers.sleep(10).then(() => woken.push("ten")),
    timers.sleep(20).then(() => woken.push("twenty")),
    timers.sleep(20, stop.signal).then(() => woken.push("aborted")),
  ];
  advance(9);
  assert.equal(sleeping(), 3);
  advance(1);
  stop.abort();
  await Promise.all([all[0], all[2]]);
  assert.deepEqual(woken, ["ten", "aborted"]);
  advance(10);
  await Promise.all(all);
  assert.equal(sleeping(), 0);
});

test("the system's sleep ends at once when aborted, before or during", async () => {
  await systemTimers.sleep(3_600_000, AbortSignal.abort());
  const stop = new AbortController();
  const sleeping = systemTimers.sleep(3_600_000, stop.signal);
  stop.abort();
  await sleeping;
});

test("a nudge wakes a wait, also one that has not begun, and is used up by it", async () => {
  const { timers, advance, sleeping } = manualTime(0);
  const nudge = createNudge();
  const { signal } = new AbortController();
  nudge.nudge();
  nudge.nudge();
  await nudge.wait(1_000, timers, signal);
  let done = false;
  const second = nudge.wait(1_000, timers, signal).then(() => {
    done = true;
  });
  assert.equal(sleeping(), 1);
  assert.equal(done, false);
  nudge.nudge();
  await second;
  const third = nudge.wait(1_000, timers, signal);
  advance(1_000);
  await third;
});

test("back-off doubles from its base to its cap and keeps half of it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const full = Math.min(5_000, 100 * 2 ** (failures - 1));
      const ms = backoffMs(failures, { baseMs: 100, capMs: 5_000 }, () => random);
      assert.ok(ms >= Math.floor(full / 2) && ms <= full);
    }),
  );
});
