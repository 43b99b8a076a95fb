import assert from "node:assert/strict";
import { test } from "node:test";
import { composeChallenge } from "./rules.ts";

const binding = { purpose: "organisation-registration", subject: "account", session: "session" } as const;

test("a challenge names its purpose, origin, asker, session and end, and ends with 64 random bytes", () => {
  const message = composeChallenge("https://auth.test", binding, "id", new Date(0));
  const lines = Buffer.from(message).toString().split("\n");
  assert.deepEqual(lines.slice(0, 7), [
    "fujie-challenge-v1",
    "organisation-registration",
    "https://auth.test",
    "account",
    "session",
    "id",
    "1970-01-01T00:00:00.000Z",
  ]);
  assert.equal(Buffer.from(lines[7] ?? "", "base64url").length, 64);
});

test("no part of a challenge can pass for another one", () => {
  const forged = { ...binding, subject: "account\nsession" };
  assert.throws(() => composeChallenge("https://auth.test", forged, "id", new Date(0)), RangeError);
});
