import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import { GetOperatorResponseSchema, GetSubjectResponseSchema } from "@fujie/api/fujie/registry/v1/directory";
import { judgeOperator, judgePerson } from "./rules.ts";

const person = (state: AccountState, level: number, role = Role.UNSPECIFIED) =>
  create(GetSubjectResponseSchema, { state, level, role });

test("SU-7.1.1c a pending account stays at level 1, whatever level comes with it", () => {
  const judged = judgePerson(person(AccountState.PENDING, 3), undefined);
  assert.ok(judged.ok && judged.standing.level === 1);
});

for (const state of [AccountState.UNSPECIFIED, AccountState.SUSPENDED, AccountState.CANCELLED]) {
  test(`SZ-18.2 an account in state ${AccountState[state]} gets no token`, () => {
    assert.deepEqual(judgePerson(person(state, 3), undefined), { ok: false, reason: "ACCOUNT_STATE_INVALID" });
  });
}

test("an active account without a known level gets no token", () => {
  for (const level of [0, 4]) assert.equal(judgePerson(person(AccountState.ACTIVE, level), undefined).ok, false);
});

test("no role in the organisation asked for is a refusal, not a token without it", () => {
  const refused = judgePerson(person(AccountState.ACTIVE, 2), "organisation");
  assert.deepEqual(refused, { ok: false, reason: "ROLE_FORBIDDEN" });
  const clerk = judgePerson(person(AccountState.ACTIVE, 2, Role.CLERK), "organisation");
  assert.ok(clerk.ok);
  assert.deepEqual(clerk.standing.organisation, { id: "organisation", role: "CLERK" });
});

test("an operator has known scopes until the review date, and none from it on or without one", () => {
  const scopes = ["registry.counter", "account.write", "unknown.scope"];
  const operator = create(GetOperatorResponseSchema, { scopes, reviewedUntil: timestampFromMs(10_000) });
  const scopesAt = (nowMs: number) => {
    const judged = judgeOperator(operator, nowMs);
    return judged.ok ? judged.standing.scopes : undefined;
  };
  assert.deepEqual(scopesAt(9_999), ["registry.counter"]);
  assert.deepEqual(scopesAt(10_000), []);
  const undated = judgeOperator(create(GetOperatorResponseSchema, { scopes }), 0);
  assert.ok(undated.ok && undated.standing.scopes.length === 0);
});
