import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "@fujie/kit/errors";
import fc from "fast-check";
import { type CaseFacts, caseScopes, expiryMs, requireDecidable, requireTellable, stateAt } from "./rules.ts";

const DAY_MS = 24 * 60 * 60_000;

const facts: fc.Arbitrary<CaseFacts> = fc.record({
  openedAtMs: fc.nat(2 ** 40),
  openedBy: fc.constantFrom("a", "b"),
  accountId: fc.constantFrom("x", "y"),
  scopes: fc.subarray([...caseScopes], { minLength: 1 }),
  decision: fc.option(fc.record({ approved: fc.boolean(), decidedAtMs: fc.nat(2 ** 40) }), { nil: undefined }),
});

function refusal(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof DomainError) return error.reason;
    throw error;
  }
}

test("NI-12 something is told only of an approved case in its time, about its account, within its scopes", () => {
  fc.assert(
    fc.property(
      facts,
      fc.constantFrom(...caseScopes),
      fc.constantFrom("x", "y"),
      fc.nat(2 ** 41),
      (each, scope, account, nowMs) => {
        const told = refusal(() => requireTellable(each, scope, account, nowMs)) === undefined;
        const may = stateAt(each, nowMs) === "APPROVED" && each.accountId === account && each.scopes.includes(scope);
        assert.equal(told, may);
      },
    ),
  );
});

test("NI-12 a case is decided once, by another person, in its first fourteen days", () => {
  const open: CaseFacts = { openedAtMs: 0, openedBy: "a", accountId: "x", scopes: caseScopes, decision: undefined };
  assert.equal(expiryMs(open), 14 * DAY_MS);
  assert.equal(
    refusal(() => requireDecidable(open, "b", 14 * DAY_MS - 1)),
    undefined,
  );
  assert.equal(
    refusal(() => requireDecidable(open, "b", 14 * DAY_MS)),
    "CASE_EXPIRED",
  );
  assert.equal(
    refusal(() => requireDecidable(open, "a", 1)),
    "FOUR_EYES_REQUIRED",
  );
  const approved = { ...open, decision: { approved: true, decidedAtMs: DAY_MS } };
  assert.equal(expiryMs(approved), 31 * DAY_MS);
  assert.equal(
    refusal(() => requireDecidable(approved, "b", 2 * DAY_MS)),
    "CASE_DECIDED",
  );
});
