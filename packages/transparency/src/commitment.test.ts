import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { commit, verifyCommitment } from "./commitment.ts";
import { FormatError } from "./errors.ts";

const tag = "fujie.receipt.claims.v1";
const salt = fc.uint8Array({ minLength: 32, maxLength: 32 });
const payload = fc.uint8Array({ maxLength: 200 });

test("a commitment is the documented hash", () => {
  const bytes = Buffer.concat([
    Buffer.from(`${tag}\0`),
    Buffer.alloc(32, 7),
    Buffer.from("0000000000000003", "hex"),
    Buffer.from("abc"),
  ]);
  const expected = createHash("sha256").update(bytes).digest("hex");
  assert.equal(Buffer.from(commit(tag, Buffer.alloc(32, 7), Buffer.from("abc"))).toString("hex"), expected);
});

test("a commitment opens with its own tag, salt and payload, and with no other", () => {
  fc.assert(
    fc.property(salt, payload, fc.nat(255), (secret, data, bit) => {
      const made = commit(tag, secret, data);
      assert.deepEqual(verifyCommitment(made, tag, secret, data), { ok: true });
      const flipped = secret.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const mismatch = { ok: false, reason: "COMMITMENT_MISMATCH" };
      assert.deepEqual(verifyCommitment(made, tag, flipped, data), mismatch);
      assert.deepEqual(verifyCommitment(made, tag, secret, Buffer.concat([data, Buffer.alloc(1)])), mismatch);
      assert.deepEqual(verifyCommitment(made, "fujie.receipt.claims.v2", secret, data), mismatch);
    }),
  );
});

test("a malformed salt or commitment is refused, a malformed tag is the caller's error", () => {
  const secret = new Uint8Array(32);
  const made = commit(tag, secret, secret);
  assert.deepEqual(verifyCommitment(made, tag, secret.subarray(1), secret), { ok: false, reason: "SALT_MALFORMED" });
  const short = verifyCommitment(made.subarray(1), tag, secret, secret);
  assert.deepEqual(short, { ok: false, reason: "COMMITMENT_MALFORMED" });
  assert.throws(() => commit(tag, new Uint8Array(31), secret), FormatError);
  for (const bad of ["", "UPPER", "a\0b", "x".repeat(65)])
    assert.throws(() => commit(bad, secret, secret), FormatError);
});
