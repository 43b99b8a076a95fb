import { strict as assert } from "node:assert";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import fc from "fast-check";
import { latencyWindow } from "./latency.ts";

test("the 95th and 99th percentiles are the exact ones within 5 %, over the last five minutes only", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 600_000 }), { minLength: 1, maxLength: 200 }), (durations) => {
      const clock = manualClock(1_000_000);
      const window = latencyWindow(clock);
      assert.equal(window.p95Ms(), undefined);
      for (const duration of durations) window.record(duration);
      const inOrder = durations.toSorted((a, b) => a - b);
      const found = window.p95Ms() ?? Number.NaN;
      for (const [share, each] of [[0.95, found] as const, [0.99, window.p99Ms() ?? Number.NaN] as const]) {
        const exact = inOrder[Math.ceil(share * durations.length) - 1] ?? 0;
        assert.ok(Math.abs(each - exact) <= 1 + exact * 0.05, `${each} for ${exact}`);
      }
      clock.advance(240_000);
      assert.equal(window.p95Ms(), found);
      window.record(1);
      clock.advance(61_000);
      assert.equal(window.p95Ms(), 1);
      clock.advance(3_600_000);
      assert.equal(window.p95Ms(), undefined);
    }),
  );
});
