import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "@fujie/kit/errors";
import { delegationExpiry, mayDecideOn, type RoleName, roleNames } from "./rules.ts";

test("SU-7.1.2b SU-7.1.2c who decides on whom: the whole matrix", () => {
  const allowed: [RoleName, RoleName][] = [
    ["LEGAL_REPRESENTATIVE", "ADMINISTRATOR"],
    ["LEGAL_REPRESENTATIVE", "CLERK"],
    ["ADMINISTRATOR", "CLERK"],
  ];
  for (const own of [...roleNames, undefined]) {
    for (const role of roleNames) {
      const expected = allowed.some(([holder, target]) => holder === own && target === role);
      assert.equal(mayDecideOn(own, role), expected, `${own} on ${role}`);
    }
  }
});

test("a role ends in a year unless asked otherwise, and never without end", () => {
  const year = 365 * 86_400_000;
  assert.equal(delegationExpiry(undefined, 1_000).getTime(), 1_000 + year);
  assert.equal(delegationExpiry(2_000, 1_000).getTime(), 2_000);
  for (const asked of [1_000, 999, 1_001 + 5 * year]) assert.throws(() => delegationExpiry(asked, 1_000), DomainError);
});
