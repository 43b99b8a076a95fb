import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createAnswers } from "./answers.ts";
import { drawLatencyMs } from "./latency.ts";
import { createLedger } from "./ledger.ts";
import { createQuota } from "./quota.ts";
import { changeSettings, describeSettings, FAULTS, type Settings, UNSTEERED } from "./settings.ts";

const DAY_MS = 86_400_000;
const settings: Settings = { ...UNSTEERED, latencyMs: 10, quotaPerSecond: 5 };

test("latency is the same for the same seed, positive and at most twenty medians", () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 60_000 }), (seed, medianMs) => {
      const latencyMs = drawLatencyMs(medianMs, seed);
      assert.equal(latencyMs, drawLatencyMs(medianMs, seed));
      assert.ok(latencyMs > 0 && latencyMs <= 20 * medianMs);
    }),
  );
});

test("latency is log-normal: its logarithm has the median in the middle and a spread of a half", () => {
  const logs = Array.from({ length: 20_000 }, (_, seed) => Math.log(drawLatencyMs(100, `request ${seed}`) / 100));
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length;
  assert.ok(Math.abs(mean) < 0.02, `mean ${mean}`);
  assert.ok(Math.abs(Math.sqrt(variance) - 0.5) < 0.02, `spread ${Math.sqrt(variance)}`);
  const above = logs.filter((log) => log > 0.5).length / logs.length;
  assert.ok(Math.abs(above - 0.1587) < 0.015, `beyond one spread: ${above}`);
});

test("no second ever grants more than its quota, and a refusal tells when the next begins", () => {
  const calls = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 });
  fc.assert(
    fc.property(calls, fc.integer({ min: 1, max: 5 }), (gapsMs, perSecond) => {
      const quota = createQuota();
      const granted = new Map<number, number>();
      let nowMs = 0;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        const second = Math.floor(nowMs / 1000);
        const retryAfterMs = quota.takeSecond(nowMs, perSecond);
        if (retryAfterMs === undefined) granted.set(second, (granted.get(second) ?? 0) + 1);
        else assert.equal(Math.floor((nowMs + retryAfterMs) / 1000), second + 1);
      }
      assert.ok([...granted.values()].every((taken) => taken <= perSecond));
    }),
  );
});

test("an identifier's day ends at midnight in China", () => {
  const quota = createQuota();
  const beforeMidnightMs = Date.UTC(2026, 2, 2, 16) - 1;
  for (let taken = 0; taken < 3; taken++) {
    assert.equal(quota.takeIdentifier(beforeMidnightMs, "one", 3), undefined);
  }
  assert.equal(quota.takeIdentifier(beforeMidnightMs, "one", 3), 1);
  assert.equal(quota.takeIdentifier(beforeMidnightMs, "other", 3), undefined);
  assert.equal(quota.takeIdentifier(beforeMidnightMs + 1, "one", 3), undefined);
});

test("a full store of answers refuses new ones until the oldest may go, and forgets none early", () => {
  const answers = createAnswers<string>(2);
  const answer = Promise.resolve("yes");
  const kept = (atMs: number) => ({ fingerprint: "", atMs, answer, front: "one", finish: () => answer });
  answers.keep("first", kept(0));
  assert.equal(answers.fullMs(10), undefined);
  answers.keep("second", kept(10));
  assert.equal(answers.fullMs(10), DAY_MS - 10 + 1);
  assert.ok(answers.find("first", DAY_MS));
  assert.equal(answers.find("first", DAY_MS + 1), undefined);
  assert.equal(answers.fullMs(DAY_MS + 1), undefined);
  assert.ok(answers.find("second", DAY_MS + 1));
});

test("the books count received, billed and free results apart", () => {
  const ledger = createLedger();
  ledger.receive();
  ledger.bill("MATCH");
  ledger.bill("MATCH");
  ledger.give("crl");
  ledger.refuse("limited");
  assert.deepEqual(ledger.counters(), {
    received: 1,
    billed: 2,
    byResult: { MATCH: 2, crl: 1 },
    byRefusal: { limited: 1 },
  });
  ledger.reset();
  assert.deepEqual(ledger.counters(), { received: 0, billed: 0, byResult: {}, byRefusal: {} });
});

test("settings read back what they describe, windows soonest first", () => {
  const windows = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: 1, max: DAY_MS })).map(([startMs, ms]) => ({
      startMs,
      endMs: startMs + ms,
    })),
    { maxLength: 16 },
  );
  fc.assert(
    fc.property(windows, fc.constantFrom(...FAULTS), fc.nat(1000), (maintenance, fault, failNext) => {
      const sorted = maintenance.toSorted((one, other) => one.startMs - other.startMs);
      const described = describeSettings({ ...settings, fault, failNext, maintenance });
      assert.deepEqual(changeSettings(settings, described), { ...settings, fault, failNext, maintenance: sorted });
    }),
  );
});

test("NI-28d no stretch of 24 hours grants more than the cap, and a refusal tells when the next may come and takes nothing", () => {
  const withinMs = DAY_MS;
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: DAY_MS / 2 }), { maxLength: 60 }), (gapsMs) => {
      const quota = createQuota();
      const cap = [{ key: "card", max: 4, withinMs }];
      const granted: number[] = [];
      let nowMs = 0;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        const retryAfterMs = quota.takeCaps(nowMs, cap);
        if (retryAfterMs === undefined) granted.push(nowMs);
        else assert.equal(retryAfterMs, (granted.at(-4) ?? 0) + withinMs - nowMs);
      }
      for (const [i, atMs] of granted.entries()) assert.ok(atMs - (granted[i - 4] ?? -DAY_MS) >= withinMs);
    }),
  );
  const quota = createQuota();
  const caps = (max: number) => [
    { key: "wide", max: 10, withinMs },
    { key: "narrow", max, withinMs },
  ];
  assert.notEqual(quota.takeCaps(0, caps(0)), undefined);
  for (let taken = 0; taken < 10; taken++)
    assert.equal(quota.takeCaps(0, caps(10)), undefined, "nothing was taken before");
});
