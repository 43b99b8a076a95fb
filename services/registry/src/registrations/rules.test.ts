import assert from "node:assert/strict";
import { test } from "node:test";
import { dayInChina } from "./rules.ts";

test("NI-15 a birthday begins at midnight in China", () => {
  assert.equal(dayInChina(Date.parse("2026-06-30T15:59:59.999Z")), "2026-06-30");
  assert.equal(dayInChina(Date.parse("2026-06-30T16:00:00Z")), "2026-07-01");
});
