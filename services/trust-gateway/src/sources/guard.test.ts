import { strict as assert } from "node:assert";
import { test } from "node:test";
import { manualTime } from "@fujie/kit/timers";
import { guardSource } from "./guard.ts";
import {
  type Answer,
  type Check,
  type MaintenanceWindow,
  type Source,
  SourceError,
  type SourceFault,
} from "./source.ts";

const START = Date.UTC(2026, 2, 2);
const answer: Answer = { verdict: "MISMATCH", level: 2, checkedAtMs: START };
const check: Check = {
  bizSeq: "0123456789abcdef0123456789abcdef",
  nonce: new Uint8Array(32),
  claim: { type: "PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "张三" },
  purpose: "test",
  askedAtMs: START,
};

/** A source whose next ends are given; after them it answers. Tells what it was asked. */
function setUp(ends: (SourceFault | "found")[], windows: MaintenanceWindow[] = []) {
  const time = manualTime(START);
  const asked: string[] = [];
  const next = (what: string) => {
    asked.push(what);
    const end = ends.shift();
    if (end !== undefined && end !== "found") throw new SourceError(end, "test");
    return end;
  };
  const source: Source = {
    id: "base",
    kind: "population-base",
    claimTypes: ["PERSON_TWO_ELEMENT"],
    level: 2,
    priceFen: 1,
    usualLatencyMs: 1,
    check: async () => {
      next("check");
      return answer;
    },
    findOutcome: async () => (next("outcome") === "found" ? answer : undefined),
    describe: async () => windows,
    [Symbol.dispose]: () => {},
  };
  const guarded = guardSource(source, {
    clock: time.clock,
    timers: { sleep: async () => {} },
    stopping: new AbortController().signal,
    limits: {
      concurrencyMax: 4,
      queueMax: 4,
      timeoutMs: 1_000,
      attemptsMax: 2,
      retryBaseMs: 1,
      breakerWindowMs: 10_000,
      breakerCallsMin: 4,
      breakMs: 600_000,
    },
  });
  return { guarded, asked, time };
}

const faultOf = (call: Promise<unknown>) =>
  call.then(
    () => "answered",
    (error: unknown) => (error instanceof SourceError ? error.fault : String(error)),
  );

test("an unknown outcome is asked for before the check is repeated, and found it is not paid again", async () => {
  const { guarded, asked } = setUp(["UNKNOWN", "found"]);
  assert.deepEqual(await guarded.ask(check, false), answer);
  assert.deepEqual(asked, ["check", "outcome"]);
});

test("a check that never arrived is asked again under the same bizSeq", async () => {
  const { guarded, asked } = setUp(["UNKNOWN"]);
  assert.deepEqual(await guarded.ask(check, false), answer);
  assert.deepEqual(asked, ["check", "outcome", "check"]);
  const resumed = setUp([]);
  await resumed.guarded.ask(check, true);
  assert.deepEqual(resumed.asked, ["outcome", "check"]);
});

test("attempts are bounded, and a refusal or a quota is not tried again", async () => {
  const away = setUp(["AWAY", "AWAY", "AWAY"]);
  assert.equal(await faultOf(away.guarded.ask(check, false)), "AWAY");
  assert.deepEqual(away.asked, ["check", "check"]);
  for (const fault of ["LIMITED", "REFUSED"] as const) {
    const { guarded, asked } = setUp([fault]);
    assert.equal(await faultOf(guarded.ask(check, false)), fault);
    assert.deepEqual(asked, ["check"]);
  }
});

test("the breaker counts absence only: mismatches, quotas and refusals never open it", async () => {
  const { guarded } = setUp(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? "LIMITED" : "REFUSED")));
  for (let i = 0; i < 40; i += 1) await faultOf(guarded.ask(check, false));
  for (let i = 0; i < 40; i += 1) await guarded.ask(check, false);
  assert.equal(guarded.isAvailable(), true);
  const away = setUp(Array.from({ length: 200 }, () => "AWAY"));
  for (let i = 0; i < 40 && away.guarded.isAvailable(); i += 1) await faultOf(away.guarded.ask(check, false));
  assert.equal(away.guarded.isAvailable(), false);
  const before = away.asked.length;
  assert.equal(await faultOf(away.guarded.ask(check, false)), "AWAY");
  assert.equal(away.asked.length, before);
});

test("in announced maintenance a source is not called", async () => {
  const { guarded, asked, time } = setUp([], [{ startMs: START, endMs: START + 1_000 }]);
  await guarded.refresh();
  assert.equal(guarded.isAvailable(), false);
  assert.equal(await faultOf(guarded.ask(check, false)), "AWAY");
  assert.deepEqual(asked, []);
  time.advance(1_000);
  assert.deepEqual(await guarded.ask(check, false), answer);
});
