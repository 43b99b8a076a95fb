import assert from "node:assert/strict";
import { test } from "node:test";
import { addCheck, addFailure, addLeftOut, emptyTally, succeeded, summarise } from "./tally.ts";

const passed = addCheck(emptyTally(), "lint", { status: "passed" });

test("the last line counts passed and failed, and skipped only where there are any", () => {
  assert.equal(summarise(passed), "1 passed, 0 failed");
  assert.equal(summarise(addFailure(passed, "a", "why")), "1 passed, 1 failed");
  assert.equal(
    summarise(addLeftOut(passed, { name: "b", reason: "needs c", allowed: false })),
    "1 passed, 0 failed, 1 skipped",
  );
});

test("a run that fails or does nothing is no success", () => {
  assert.equal(succeeded(passed, true), true);
  assert.equal(succeeded(emptyTally(), false), false);
  assert.equal(succeeded(addCheck(passed, "types", { status: "failed", output: "no" }), false), false);
});

test("what is left out fails a strict run, unless there was nothing to check", () => {
  const lacking = addLeftOut(passed, { name: "b", reason: "needs redis-server", allowed: false });
  assert.equal(succeeded(lacking, false), true);
  assert.equal(succeeded(lacking, true), false);
  const first = addCheck(passed, "proto compatibility", { status: "not applicable", reason: "no earlier proto" });
  assert.equal(succeeded(first, true), true);
  assert.equal(summarise(first), "1 passed, 0 failed, 1 skipped");
});
