import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { append, emptyFrontier, entryLeafHash, hashTileInto, openEntryHasher, root } from "./index.ts";

const AROUND = 7;

test("leaf hashes in bulk are those of single entries, whatever was hashed before", () => {
  const hasher = openEntryHasher(4_096);
  const target = new Uint8Array(64);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 4_096 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (preimage, salt) => {
        hasher.input.set(salt, hasher.saltAt);
        hasher.input.set(preimage, hasher.preimageAt);
        hasher.hash(preimage.length, target, AROUND);
        assert.deepEqual(target.slice(AROUND, AROUND + 32), entryLeafHash(preimage, salt));
      },
    ),
  );
});

test("a tile's root in bulk is the root of its 256 hashes", () => {
  for (let round = 0; round < 3; round++) {
    const bytes = new Uint8Array(randomBytes(AROUND + 256 * 32));
    const hashes = Array.from({ length: 256 }, (_, at) => bytes.slice(AROUND + at * 32, AROUND + (at + 1) * 32));
    const target = new Uint8Array(64);
    hashTileInto(bytes, AROUND, target, AROUND);
    assert.deepEqual(target.slice(AROUND, AROUND + 32), root(append(emptyFrontier(), hashes)));
    assert.ok(target.subarray(AROUND + 32).every((byte) => byte === 0));
  }
});
