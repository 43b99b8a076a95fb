import assert from "node:assert/strict";
import { test } from "node:test";
import { evidenceMacInput } from "./rules.ts";

const record = { subjectId: "s", evidenceId: "e", sourceId: "population-base", level: 2, checkedAt: new Date(5) };

test("SZ-3.3 the MAC of evidence covers whose it is, who said it, when and at which level", () => {
  const changes = [
    { subjectId: "t" },
    { evidenceId: "f" },
    { sourceId: "counter" },
    { level: 3 },
    { checkedAt: new Date(6) },
    { subjectId: 's","e' },
  ];
  const inputs = [record, ...changes.map((change) => ({ ...record, ...change }))].map(evidenceMacInput);
  assert.equal(new Set(inputs).size, inputs.length);
});
