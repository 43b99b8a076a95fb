import { strict as assert } from "node:assert";
import { test } from "node:test";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { memoryEphemeral } from "@fujie/kit/ephemeral";
import { manualTime, systemTimers, type Timers } from "@fujie/kit/timers";
import { type GuardedSource, type GuardLimits, type GuardOptions, guardSource, type Turn } from "./guard.ts";
import { NO_LIMITS, type SourceTerms } from "./quota.ts";
import {
  type Announcement,
  type Answer,
  type Check,
  type MaintenanceWindow,
  type Replica,
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
const asTenant = (tenant: string, more: Partial<Turn> = {}): Turn => ({
  tenant,
  weight: 1,
  priority: "interactive",
  mayBePaid: false,
  ...more,
});
const first = asTenant("application-1");
const again = asTenant("application-1", { mayBePaid: true });

interface SetUp {
  readonly windows?: MaintenanceWindow[];
  readonly limits?: Partial<GuardLimits>;
  readonly options?: Partial<GuardOptions>;
  readonly source?: Partial<Source>;
  readonly timers?: Timers;
}

/** A source whose next ends are given; after them it answers. Tells what it was asked. */
function setUp(ends: (SourceFault | "found")[], { windows = [], limits, options, source: change, timers }: SetUp = {}) {
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
    wasAnswered: async () => next("probe") === "found",
    describe: async () => ({ maintenance: windows }),
    [Symbol.dispose]: () => {},
    ...change,
  };
  const guarded = guardSource(source, {
    clock: time.clock,
    // Waits between attempts are not what is tested here.
    timers: timers ?? { sleep: (ms, signal) => (ms < 100 ? turn() : time.timers.sleep(ms, signal)) },
    stopping: new AbortController().signal,
    ephemeral: memoryEphemeral({ maxEntries: 100, clock: time.clock }),
    terms: async () => ({ ratePerSecond: 0, perDay: 0 }),
    log: { warn: () => {} },
    random: () => 0,
    limits: {
      concurrencyMax: 4,
      queueMax: 4,
      timeoutMs: 1_000,
      attemptsMax: 2,
      retryBaseMs: 1,
      breakerWindowMs: 10_000,
      breakerCallsMin: 4,
      breakMs: 20_000,
      ...limits,
    },
    ...options,
  });
  return { guarded, asked, time };
}

const faultOf = (call: Promise<unknown>) =>
  call.then(
    () => "answered",
    (error: unknown) => (error instanceof SourceError ? error.fault : String(error)),
  );

const hindranceOf = (guarded: GuardedSource, terms: SourceTerms = NO_LIMITS) => guarded.hindrance(terms);

/** Calls that are answered when the test says so. */
function heldCalls() {
  const waiting: { readonly who: string; readonly answer: () => void; readonly fail: () => void }[] = [];
  const call = (who: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    waiting.push({ who, answer: () => resolve(answer), fail: () => reject(new SourceError("UNKNOWN", "test")) });
    return promise;
  };
  return { waiting, call };
}

test("an unknown outcome is asked for before the check is repeated, and found it is not paid again", async () => {
  const { guarded, asked } = setUp(["UNKNOWN", "found"]);
  assert.deepEqual(await guarded.ask(check, first), answer);
  assert.deepEqual(asked, ["check", "outcome"]);
});

test("a check that never arrived is asked again under the same bizSeq", async () => {
  const { guarded, asked } = setUp(["UNKNOWN"]);
  assert.deepEqual(await guarded.ask(check, first), answer);
  assert.deepEqual(asked, ["check", "outcome", "check"]);
  const resumed = setUp([]);
  await resumed.guarded.ask(check, again);
  assert.deepEqual(resumed.asked, ["outcome", "check"]);
});

test("attempts are bounded, and a refusal or a quota is not tried again", async () => {
  const away = setUp(["AWAY", "AWAY", "AWAY"]);
  assert.equal(await faultOf(away.guarded.ask(check, first)), "AWAY");
  assert.deepEqual(away.asked, ["check", "check"]);
  for (const fault of ["LIMITED", "REFUSED"] as const) {
    const { guarded, asked } = setUp([fault]);
    assert.equal(await faultOf(guarded.ask(check, first)), fault);
    assert.deepEqual(asked, ["check"]);
  }
});

test("retries are a tenth of the calls at most, so that an outage is not made worse", async () => {
  const ends = Array.from({ length: 400 }, (_, i): SourceFault | "found" => (i % 3 === 0 ? "AWAY" : "found"));
  const { guarded, asked } = setUp(ends, { limits: { attemptsMax: 5 } });
  for (let i = 0; i < 200; i += 1) await faultOf(guarded.ask(check, first));
  assert.equal(hindranceOf(guarded), undefined);
  assert.ok(asked.length <= 200 * 1.1 + 3, String(asked.length));
  assert.equal(asked.length, 200 + guarded.state().retries);
});

test("the breaker counts absence only: mismatches, quotas and refusals never open it", async () => {
  const { guarded, time } = setUp(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? "LIMITED" : "REFUSED")));
  for (let i = 0; i < 80; i += 1) {
    await faultOf(guarded.ask(check, first));
    time.advance(1_000);
  }
  assert.equal(guarded.state().breaker, "CLOSED");
  const away = setUp(Array.from({ length: 200 }, () => "AWAY"));
  for (let i = 0; i < 5; i += 1) await faultOf(away.guarded.ask(check, first));
  assert.equal(hindranceOf(away.guarded), "UNAVAILABLE");
  const before = away.asked.length;
  assert.equal(await faultOf(away.guarded.ask(check, first)), "AWAY");
  assert.equal(away.asked.length, before);
});

test("a source that swallows calls is left alone after five, and comes back without costing anybody a question", async () => {
  let dead = true;
  const asked: string[] = [];
  const silent = async (what: string, signal: AbortSignal) => {
    asked.push(what);
    if (dead) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  const { guarded } = setUp([], {
    limits: { timeoutMs: 40, breakMs: 30, concurrencyMax: 8, attemptsMax: 1 },
    timers: systemTimers,
    source: {
      check: async (_, signal) => {
        await silent("check", signal);
        return answer;
      },
      wasAnswered: async (_, signal) => {
        await silent("probe", signal);
        return false;
      },
    },
  });
  const faults = await Promise.all(Array.from({ length: 7 }, () => faultOf(guarded.ask(check, first))));
  assert.deepEqual(new Set(faults), new Set(["UNKNOWN"]));
  assert.equal(hindranceOf(guarded), "UNAVAILABLE");
  while (asked.filter((what) => what === "probe").length < 2) await delay(5);
  dead = false;
  while (hindranceOf(guarded) !== undefined) await delay(5);
  assert.equal(asked.filter((what) => what === "check").length, 7);
  assert.deepEqual(await guarded.ask(check, first), answer);
  guarded[Symbol.dispose]();
});

test("in announced maintenance a source is not called", async () => {
  const { guarded, asked, time } = setUp([], { windows: [{ startMs: START, endMs: START + 1_000 }] });
  await guarded.refresh();
  assert.equal(hindranceOf(guarded), "MAINTENANCE");
  assert.equal(await faultOf(guarded.ask(check, first)), "AWAY");
  assert.deepEqual(asked, []);
  time.advance(1_000);
  assert.deepEqual(await guarded.ask(check, first), answer);
});

test("SZ-9 a source is asked for no more than it offers itself, of types and of level, and the operators are told once", async () => {
  const warned: unknown[] = [];
  let says: Announcement = { maintenance: [], claimTypes: ["PERSON_TWO_ELEMENT", "LEGAL_PERSON"], level: 3 };
  const { guarded } = setUp([], {
    source: { claimTypes: ["PERSON_TWO_ELEMENT", "GUARDIAN"], level: 2, describe: async () => says },
    options: { log: { warn: (about: unknown) => void warned.push(about) } },
  });
  const asked = () => [guarded.claimTypes, guarded.level, guarded.notOffered()];
  assert.deepEqual(asked(), [["PERSON_TWO_ELEMENT", "GUARDIAN"], 2, []], "before it has said anything");
  await guarded.refresh();
  await guarded.refresh();
  assert.deepEqual(asked(), [["PERSON_TWO_ELEMENT"], 2, ["GUARDIAN"]]);
  says = { ...says, level: 1 };
  await guarded.refresh();
  assert.deepEqual(asked(), [["PERSON_TWO_ELEMENT"], 1, ["GUARDIAN"]]);
  says = { ...says, claimTypes: ["PERSON_TWO_ELEMENT", "GUARDIAN"], level: 2 };
  await guarded.refresh();
  assert.deepEqual(asked(), [["PERSON_TWO_ELEMENT", "GUARDIAN"], 2, []]);
  const about = { source: "base", configuredLevel: 2 };
  assert.deepEqual(warned, [
    { ...about, notOffered: ["GUARDIAN"], level: 2 },
    { ...about, notOffered: ["GUARDIAN"], level: 1 },
    { ...about, notOffered: [], level: 2 },
  ]);
});

test("SZ-4.4 nothing is sent to a suspended source: no question, no queued one, no probe, no look at its calendar", async () => {
  const { waiting, call } = heldCalls();
  let suspended = false;
  const described: number[] = [];
  const { guarded } = setUp([], {
    limits: { concurrencyMax: 1 },
    source: {
      check: () => call("base"),
      describe: async () => {
        described.push(1);
        return { maintenance: [] };
      },
    },
    options: { terms: async () => (suspended ? undefined : { ratePerSecond: 0, perDay: 0 }) },
  });
  const sent = guarded.ask(check, first);
  const queued = faultOf(guarded.ask(check, first));
  while (waiting.length === 0) await turn();
  suspended = true;
  waiting[0]?.answer();
  assert.deepEqual(await sent, answer);
  assert.equal(await queued, "AWAY");
  await guarded.refresh();
  assert.deepEqual([waiting.length, described.length], [1, 0]);
});

test("a source's own quota is kept to over all replicas, and one that says it is over it is left alone for that long", async () => {
  let terms: SourceTerms = { ratePerSecond: 2, perDay: 3 };
  const { guarded, asked, time } = setUp([], { options: { terms: async () => terms } });
  for (let i = 0; i < 2; i += 1) await guarded.ask(check, first);
  assert.equal(await faultOf(guarded.ask(check, first)), "LIMITED");
  assert.equal(hindranceOf(guarded, terms), "QUOTA");
  time.advance(1_000);
  assert.equal(hindranceOf(guarded, terms), undefined);
  await guarded.ask(check, first);
  time.advance(1_000);
  assert.equal(await faultOf(guarded.ask(check, first)), "LIMITED");
  assert.equal(asked.length, 3);
  // Until the day is over, or the registry grants more.
  assert.equal(hindranceOf(guarded, terms), "QUOTA");
  terms = { ratePerSecond: 2, perDay: 5 };
  assert.equal(hindranceOf(guarded, terms), undefined);
  await guarded.ask(check, first);
  time.advance(86_400_000);
  await guarded.ask(check, first);
  const told = setUp([], {
    source: { check: () => Promise.reject(new SourceError("LIMITED", "test", { retryAfterMs: 7_000 })) },
  });
  await faultOf(told.guarded.ask(check, first));
  told.time.advance(6_999);
  assert.equal(hindranceOf(told.guarded), "QUOTA");
  told.time.advance(1);
  assert.equal(hindranceOf(told.guarded), undefined);
});

test("a noisy application waits for itself, a full queue refuses it at once with a time, and what is not needed is dropped", async () => {
  const { waiting, call } = heldCalls();
  const { guarded } = setUp([], { limits: { concurrencyMax: 1 }, source: { check: ({ purpose }) => call(purpose) } });
  const ask = (tenant: string, more: Partial<Turn> = {}) =>
    guarded.ask({ ...check, purpose: tenant }, asTenant(tenant, more));
  const noisy = Array.from({ length: 7 }, () => ask("noisy").catch((error: unknown) => error));
  const noLonger = new AbortController();
  const dropped = faultOf(ask("third", { signal: noLonger.signal }));
  noLonger.abort();
  assert.equal(await dropped, "LIMITED");
  const quiet = ask("quiet");
  assert.equal(guarded.admits(asTenant("noisy")), false);
  assert.equal(guarded.admits(asTenant("fourth")), true);
  for (let done = 0; done < 5; done += 1) {
    while (waiting.length <= done) await turn();
    waiting[done]?.answer();
  }
  assert.deepEqual(await quiet, answer);
  const ends = await Promise.all(noisy);
  const refused = ends.filter((end) => end instanceof SourceError);
  assert.ok(refused.every(({ fault, retryAfterMs = 0 }) => fault === "LIMITED" && retryAfterMs > 0));
  assert.equal(refused.length, 3);
  assert.equal(waiting.map(({ who }) => who).join(" "), "noisy noisy quiet noisy noisy");
});

test("whoever has waited too long for a place is sent away and not asked for", async () => {
  const { waiting, call } = heldCalls();
  const { guarded, time } = setUp([], { limits: { concurrencyMax: 1 }, source: { check: () => call("base") } });
  const sent = guarded.ask(check, first);
  const late = faultOf(guarded.ask(check, first));
  while (waiting.length === 0) await turn();
  time.advance(1_001);
  waiting[0]?.answer();
  await sent;
  assert.equal(await late, "LIMITED");
  assert.equal(waiting.length, 1);
});

/** A free source with two addresses, each of which answers when the test says so. */
function twoReplicas(change: SetUp = {}) {
  const { waiting, call } = heldCalls();
  const replica = (who: string): Replica => ({ check: () => call(who), findOutcome: async () => undefined });
  const replicas = [replica("a"), replica("b")];
  return { waiting, ...setUp([], { ...change, source: { priceFen: 0, replicas, ...change.source } }) };
}

test("a hedge goes to another replica of a free source once the first is slower than usual, within a budget of 5 %", async () => {
  const { guarded, waiting, time } = twoReplicas({ limits: { concurrencyMax: 100 } });
  const answerOne = async (ms: number) => {
    const before = waiting.length;
    const asked = guarded.ask(check, first);
    while (waiting.length === before) await turn();
    time.advance(ms);
    waiting[before]?.answer();
    await asked;
  };
  for (let i = 0; i < 20; i += 1) await answerOne(100);
  const before = waiting.length;
  const slow = guarded.ask(check, first);
  while (waiting.length === before) await turn();
  await turn();
  time.advance(110);
  while (waiting.length < before + 2) await turn();
  assert.notEqual(waiting[before]?.who, waiting[before + 1]?.who);
  waiting[before + 1]?.answer();
  assert.deepEqual(await slow, answer);
  // The budget is spent: the next slow one waits for its first replica.
  const next = guarded.ask(check, first);
  while (waiting.length < before + 3) await turn();
  time.advance(500);
  for (let i = 0; i < 10; i += 1) await turn();
  assert.equal(waiting.length, before + 3);
  waiting[before + 2]?.answer();
  await next;
  assert.equal(guarded.state().hedges, 1);
});

test("a source falls silent once it has answered nobody for its 99th percentile, 250 ms at least, within the budget", async () => {
  const { waiting, call } = heldCalls();
  const { guarded, time } = setUp([], { source: { check: () => call("base") }, limits: { timeoutMs: 60_000 } });
  const { signal } = new AbortController();
  const told: boolean[] = [];
  const listen = (each = signal) => void guarded.fallsSilent(each).then((isSilent) => told.push(isSilent));
  const pass = async (ms: number) => {
    time.advance(ms);
    for (let i = 0; i < 5; i += 1) await turn();
  };
  const asked = guarded.ask(check, first);
  await pass(0);
  listen();
  await pass(249);
  // It answers somebody: it is slow for one of them, not silent.
  waiting[0]?.answer();
  await asked;
  await pass(249);
  assert.deepEqual(told, []);
  await pass(1);
  assert.deepEqual(told, [true]);
  // One that usually takes longer is given that time.
  const slow = guarded.ask(check, first);
  await pass(0);
  await pass(2_000);
  waiting[1]?.answer();
  await slow;
  listen();
  await pass(1_800);
  assert.equal(told.length, 1);
  await pass(300);
  for (const each of [signal, signal, AbortSignal.abort()]) listen(each);
  await pass(5_000);
  // Three saved up and what two calls earned; then nobody else is asked, and for what is over nothing is spent.
  assert.deepEqual(told, [true, true, false, true, false]);
});

test("a paid source, and one whose calls are counted, is never hedged", async () => {
  for (const change of [
    { source: { priceFen: 1 } },
    { options: { terms: async () => ({ ratePerSecond: 1_000, perDay: 0 }) } },
    { options: { terms: async () => ({ ratePerSecond: 0, perDay: 1_000 }) } },
  ]) {
    const { guarded, waiting, time } = twoReplicas(change);
    for (let i = 0; i < 40; i += 1) {
      const asked = guarded.ask(check, first);
      while (waiting.length === i) await turn();
      if (i > 30) time.advance(900);
      for (let pause = 0; pause < 5; pause += 1) await turn();
      waiting[i]?.answer();
      await asked;
    }
    assert.deepEqual([waiting.length, guarded.state().hedges], [40, 0]);
  }
});

test("a replica that fails is left out, a retry goes to the other, and the breaker stays closed", async () => {
  const dead: Replica = {
    check: () => Promise.reject(new SourceError("UNKNOWN", "test")),
    findOutcome: () => Promise.reject(new SourceError("UNKNOWN", "test")),
  };
  let served = 0;
  const well: Replica = {
    check: async () => {
      served += 1;
      return answer;
    },
    findOutcome: async () => undefined,
  };
  const { guarded } = setUp([], { limits: { breakerCallsMin: 20 }, source: { priceFen: 0, replicas: [dead, well] } });
  for (let i = 0; i < 30; i += 1) await faultOf(guarded.ask(check, first));
  assert.equal(hindranceOf(guarded), undefined);
  assert.equal(guarded.state().replicasEjected, 1);
  assert.ok(served >= 27, String(served));
});

test("a source that is found to be back and fails the first question is left alone again at once", async () => {
  const { guarded, asked, time } = setUp(
    Array.from({ length: 100 }, () => "AWAY"),
    {
      limits: { attemptsMax: 1, breakMs: 20 },
      source: { wasAnswered: async () => false },
    },
  );
  const callUntilOpen = async () => {
    const before = asked.length;
    while (hindranceOf(guarded) === undefined) await faultOf(guarded.ask(check, first));
    return asked.length - before;
  };
  assert.equal(await callUntilOpen(), 4);
  while (hindranceOf(guarded) !== undefined) {
    time.advance(20);
    await turn();
  }
  assert.equal(await callUntilOpen(), 1);
  guarded[Symbol.dispose]();
});
