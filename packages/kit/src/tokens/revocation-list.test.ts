import assert from "node:assert/strict";
import { test } from "node:test";
import { manualClock } from "../clock/index.ts";
import { createRevocationList } from "./revocation-list.ts";
import type { VerifiedToken } from "./verified-token.ts";

const START_MS = Date.UTC(2026, 0, 1);
const MINUTE_MS = 60_000;

function tokenIssuedAt(issuedAtMs: number): VerifiedToken {
  return {
    subject: "account-1",
    kind: "person",
    clientId: "client-1",
    application: undefined,
    scopes: new Set(),
    level: 1,
    sessionId: "session-1",
    amr: [],
    issuedAtMs,
    expiresAtMs: issuedAtMs + 5 * MINUTE_MS,
    raw: "",
  };
}

test("a subject's tokens from before the revocation are void, those from after it are not", () => {
  const list = createRevocationList({ clock: manualClock(START_MS) });
  list.revoke({ kind: "subject", id: "account-1", atMs: START_MS + 400 });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS - 1_000)), true);
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS)), true, "the same second counts as before");
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS + 1_000)), false);
});

test("an ended session stays ended, whatever its tokens say about their age", () => {
  const list = createRevocationList({ clock: manualClock(START_MS) });
  list.revoke({ kind: "session", id: "session-1", atMs: START_MS });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS + MINUTE_MS)), true);
});

test("kinds do not mix: a client of the subject's name revokes nothing", () => {
  const list = createRevocationList({ clock: manualClock(START_MS) });
  list.revoke({ kind: "client", id: "account-1", atMs: START_MS });
  list.revoke({ kind: "application", id: "client-1", atMs: START_MS });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS)), false);
});

test("an earlier revocation that arrives late does not undo a later one", () => {
  const list = createRevocationList({ clock: manualClock(START_MS) });
  list.revoke({ kind: "subject", id: "account-1", atMs: START_MS });
  list.revoke({ kind: "subject", id: "account-1", atMs: START_MS - MINUTE_MS });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS)), true);
});

test("revocations outlive every token they void, then go", () => {
  const clock = manualClock(START_MS);
  const list = createRevocationList({ clock });
  list.revoke({ kind: "session", id: "session-1", atMs: START_MS });
  clock.advance(9 * MINUTE_MS);
  list.revoke({ kind: "session", id: "another", atMs: clock.nowMs() });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS)), true);
  clock.advance(2 * MINUTE_MS);
  list.revoke({ kind: "session", id: "a third", atMs: clock.nowMs() });
  assert.equal(list.isRevoked(tokenIssuedAt(START_MS)), false);
});

test("the list is stale until a heartbeat came and from five seconds after the last one", () => {
  const clock = manualClock(START_MS);
  const list = createRevocationList({ clock });
  assert.equal(list.isStale(), true);
  list.markFresh(START_MS);
  clock.advance(5_000);
  assert.equal(list.isStale(), false);
  clock.advance(1);
  assert.equal(list.isStale(), true);
});

test("a heartbeat from the future keeps the list fresh no longer than one from now", () => {
  const clock = manualClock(START_MS);
  const list = createRevocationList({ clock });
  list.markFresh(START_MS + 60 * MINUTE_MS);
  clock.advance(5_001);
  assert.equal(list.isStale(), true);
});
