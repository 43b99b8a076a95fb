import { strict as assert } from "node:assert";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { memoryEphemeral } from "@fujie/kit/ephemeral";
import { DomainError } from "@fujie/kit/errors";
import { countAttempt, forgiveAttempts, WINDOW_MS } from "./throttle.ts";

const counter = { key: "login:abc", max: 3 };

function setUp() {
  const clock = manualClock(10 * WINDOW_MS + 1_000);
  return { clock, ephemeral: memoryEphemeral({ maxEntries: 100, clock }) };
}

const isThrottled = (error: unknown) => error instanceof DomainError && error.reason === "SIGN_IN_THROTTLED";

test("attempts beyond the limit are refused with the time to wait, however many come at once", async () => {
  const context = setUp();
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => countAttempt(context, [counter])));
  const refusals = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  assert.equal(refusals.length, 7);
  assert.ok(refusals.every((error) => isThrottled(error) && error.retryDelayMs === WINDOW_MS - 1_000));
});

test("nobody is locked out for good: going on does not make the wait longer", async () => {
  const context = setUp();
  for (let attempt = 0; attempt < 50; attempt += 1) await countAttempt(context, [counter]).catch(() => undefined);
  context.clock.advance(WINDOW_MS - 1_000);
  await countAttempt(context, [counter]);
});

test("a success forgives the attempts before it", async () => {
  const context = setUp();
  for (let attempt = 0; attempt < 3; attempt += 1) await countAttempt(context, [counter]);
  await forgiveAttempts(context, counter);
  await countAttempt(context, [counter]);
});
