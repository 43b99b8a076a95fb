import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { createLimiter } from "./limiter.ts";

/** A source that works on `servers` calls at once, for `serviceMs` each: what is over waits. */
function run(limiter: ReturnType<typeof createLimiter>, servers: number, serviceMs: number, calls: number): void {
  for (let i = 0; i < calls; i += 1) {
    const inFlight = limiter.limit();
    const durationMs = serviceMs * Math.max(1, inFlight / servers);
    limiter.ended({ durationMs, inFlight, dropped: false });
  }
}

test("while a source keeps its pace it gets all that is allowed", () => {
  const limiter = createLimiter({ min: 4, max: 64 });
  run(limiter, 1_000, 20, 500);
  assert.equal(limiter.limit(), 64);
});

test("a source that slows down under its load gets less, and all again once it is well", () => {
  const limiter = createLimiter({ min: 4, max: 64 });
  run(limiter, 1_000, 20, 500);
  run(limiter, 8, 20, 60);
  assert.ok(limiter.limit() < 48, String(limiter.limit()));
  run(limiter, 1_000, 20, 500);
  assert.equal(limiter.limit(), 64);
});

test("a source that is slower for good becomes the usual one and is not throttled for ever", () => {
  const limiter = createLimiter({ min: 4, max: 64 });
  run(limiter, 1_000, 20, 500);
  run(limiter, 1_000, 200, 2_000);
  assert.equal(limiter.limit(), 64);
});

test("calls without an answer shrink the limit, never below its least", () => {
  const limiter = createLimiter({ min: 4, max: 64 });
  for (let i = 0; i < 10; i += 1) limiter.ended({ durationMs: 1_000, inFlight: 64, dropped: true });
  assert.ok(limiter.limit() < 25);
  for (let i = 0; i < 100; i += 1) limiter.ended({ durationMs: 1_000, inFlight: 4, dropped: true });
  assert.equal(limiter.limit(), 4);
});

test("law: the limit stays within its bounds whatever happens", () => {
  const call = fc.record({
    durationMs: fc.integer({ min: 0, max: 600_000 }),
    inFlight: fc.integer({ min: 1, max: 100 }),
    dropped: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 300 }), (calls) => {
      const limiter = createLimiter({ min: 3, max: 40 });
      for (const each of calls) {
        limiter.ended(each);
        assert.ok(Number.isInteger(limiter.limit()) && limiter.limit() >= 3 && limiter.limit() <= 40);
      }
    }),
  );
});
