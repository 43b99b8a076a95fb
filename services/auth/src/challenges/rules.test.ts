import { strict as assert } from "node:assert";
import { test } from "node:test";
import { makeChallenge } from "./rules.ts";

const given = { id: "c1", origin: "https://id.example", interaction: "i1", nowMs: 1_000_000 };

test("a challenge names tag, origin, purpose and interaction, carries 64 random bytes and lasts two minutes", () => {
  const challenge = makeChallenge(given);
  const lines = challenge.message.toString("utf8").split("\n");
  assert.equal(lines[0], "fujie-certificate-challenge-v1");
  assert.equal(lines[1], "origin: https://id.example");
  assert.equal(lines[2], "purpose: sign-in");
  assert.equal(lines[3], "interaction: i1");
  const nonce = lines[6]?.slice("nonce: ".length) ?? "";
  assert.equal(Buffer.from(nonce, "base64url").length, 64);
  assert.equal(challenge.expiresAtMs - given.nowMs, 120_000);
});

test("no two challenges are alike", () => {
  assert.notDeepEqual(makeChallenge(given).message, makeChallenge(given).message);
});
