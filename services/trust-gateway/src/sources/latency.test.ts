import { strict as assert } from "node:assert";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import fc from "fast-check";
import { latencyWindow } from "./latency.ts";

test("the 95th percentile is the exact one within 5 %, over the last five minutes only", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 600_000 }), { minLength: 1, maxLength: 200 }), (durations) => {
      const clock = manualClock(1_000_000);
      const window = latencyWindow(clock);
      assert.equal(window.p95Ms(), undefined);
      for (const duration of durations) window.record(duration);
      const exact = durations.toSorted((a, b) => a - b)[Math.ceil(0.95 * durations.length) - 1] ?? 0;
      const found = window.p95Ms() ?? Number.NaN;
      assert.ok(Math.abs(found - exact) <= 1 + exact * 0.05, `${found} for ${exact}`);
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
