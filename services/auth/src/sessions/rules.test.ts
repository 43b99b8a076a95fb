import { strict as assert } from "node:assert";
import { test } from "node:test";
import { endsAtMs, isLive, type Session } from "./rules.ts";

const session: Session = {
  id: "s",
  subject: "a",
  kind: "person",
  methods: ["pwd"],
  level: 0,
  startedAtMs: 1_000,
  authenticatedAtMs: 1_000,
  usedAtMs: 1_000,
  expiresAtMs: 11_000,
  endedAtMs: undefined,
};
const limits = { idleMs: 4_000 };

test("a session is live until it is idle for too long", () => {
  assert.equal(isLive(session, 4_999, limits), true);
  assert.equal(isLive(session, 5_000, limits), false);
  assert.equal(endsAtMs(session, limits), 5_000);
});

test("a session that is used all the time still ends at its absolute limit", () => {
  const used = { ...session, usedAtMs: 10_900 };
  assert.equal(isLive(used, 10_999, limits), true);
  assert.equal(isLive(used, 11_000, limits), false);
  assert.equal(endsAtMs(used, limits), 11_000);
});

test("SZ-18.2 an ended session is not live, whatever time is left", () => {
  assert.equal(isLive({ ...session, endedAtMs: 1_001 }, 1_002, limits), false);
});
