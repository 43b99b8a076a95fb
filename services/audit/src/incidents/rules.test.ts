import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { acknowledges } from "./delivery.ts";
import { escalationAt, isLate, MISSED, REPORT_WITHIN_MS } from "./rules.ts";

const MINUTE_MS = 60_000;

test("SU-7.3.3 the clock's boundaries are exact to the millisecond", () => {
  for (const [minutes, level] of [
    [60, 1],
    [90, 2],
    [110, 3],
    [120, 4],
  ] as const) {
    assert.equal(escalationAt(0, minutes * MINUTE_MS - 1), level - 1);
    assert.equal(escalationAt(0, minutes * MINUTE_MS), level);
  }
  assert.deepEqual([isLate(0, REPORT_WITHIN_MS - 1), isLate(0, REPORT_WITHIN_MS)], [false, true]);
});

test("SU-7.3.3 escalation never goes down as time goes on, and level 4 means late, always and only", () => {
  const moment = fc.integer({ min: 0, max: 4 * REPORT_WITHIN_MS });
  fc.assert(
    fc.property(moment, moment, fc.nat(2 ** 40), (a, b, detectedAtMs) => {
      const [earlier, later] = [Math.min(a, b), Math.max(a, b)].map((ms) =>
        escalationAt(detectedAtMs, detectedAtMs + ms),
      );
      assert.ok((earlier ?? 0) <= (later ?? 0));
      assert.equal(escalationAt(detectedAtMs, detectedAtMs + a) === MISSED, isLate(detectedAtMs, detectedAtMs + a));
    }),
  );
});

test("SU-7.3.3 only the authority's signature over this report's digest acknowledges it; anything else is no proof", () => {
  const digest = createHash("sha256").update("report").digest();
  const stranger = generateKeyPairSync("ed25519");
  for (const { publicKey, privateKey } of [
    generateKeyPairSync("ed25519"),
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ]) {
    const algorithm = privateKey.asymmetricKeyType === "ed25519" ? null : "sha256";
    const answer = (said: object, key = privateKey, hash: string | null = algorithm): Buffer => {
      const bytes = Buffer.from(JSON.stringify(said));
      const signature = sign(hash, bytes, key).toString("base64");
      return Buffer.from(JSON.stringify({ acknowledgement: bytes.toString("base64"), signature }));
    };
    const right = { documentSha256: digest.toString("hex") };
    assert.ok(acknowledges(answer(right), digest, publicKey));
    assert.ok(!acknowledges(answer({ documentSha256: "00".repeat(32) }), digest, publicKey));
    assert.ok(!acknowledges(answer({}), digest, publicKey));
    assert.ok(!acknowledges(answer(right, stranger.privateKey, null), digest, publicKey));
    for (const wrong of ["", "null", "[]", "{}", "not json", '{"acknowledgement":1,"signature":2}'])
      assert.ok(!acknowledges(Buffer.from(wrong), digest, publicKey), wrong);
  }
});
