import assert from "node:assert/strict";
import { test } from "node:test";
import { reasons } from "./reasons.ts";
import { httpStatus, reasonAreas, renderReturnCodes } from "./return-codes.ts";

test("SU-6.3 every reason is on the return-code page exactly once, with its codes", () => {
  const rows = renderReturnCodes()
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const expected = Object.entries(reasons).map(
    ([reason, { code }]) => `| \`${reason}\` | ${code} | ${httpStatus[code]} |`,
  );
  assert.deepEqual(
    rows.map((row) => `${row.split("|").slice(0, 4).join("|")}|`),
    expected,
  );
});

test("every row has six cells, both languages and an action", () => {
  for (const [reason, { en, zh, action }] of Object.entries(reasons)) {
    const row = renderReturnCodes()
      .split("\n")
      .find((line) => line.startsWith(`| \`${reason}\``));
    assert.equal(row?.split(" | ").length, 6, reason);
    assert.ok(row.includes(zh) && row.includes(en) && row.includes(action), reason);
  }
});

test("areas are in the catalogue's order and none is empty", () => {
  const order = Object.keys(reasons);
  const starts = reasonAreas.map(({ from }) => order.indexOf(from));
  assert.equal(starts[0], 0);
  assert.deepEqual(
    starts,
    [...new Set(starts)].toSorted((a, b) => a - b),
  );
});
