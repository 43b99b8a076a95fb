import assert from "node:assert/strict";
import { test } from "node:test";
import { decisionMessage, isSameIdentifier } from "./rules.ts";

test("the operator signs exactly these bytes", () => {
  const message = decisionMessage({
    registrationId: "0198c0de-0000-7000-8000-000000000001",
    decision: "CONFIRM",
    documentIds: ["a", "b"],
    decidedAt: new Date(1_782_864_000_123),
  });
  assert.equal(
    Buffer.from(message).toString(),
    "fujie-counter-decision-v1\n0198c0de-0000-7000-8000-000000000001\nCONFIRM\na,b\n1782864000123\n",
  );
});

test("identifiers are one when any common key version says so, and never across versions", () => {
  const digest = (byte: number) => Buffer.alloc(32, byte);
  const old = [{ version: 1, digest: digest(1) }];
  const rotated = [{ version: 2, digest: digest(9) }, ...old];
  assert.ok(isSameIdentifier(old, rotated));
  assert.ok(!isSameIdentifier(old, [{ version: 2, digest: digest(1) }]));
  assert.ok(!isSameIdentifier([], rotated));
});
