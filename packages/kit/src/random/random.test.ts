import assert from "node:assert/strict";
import { test } from "node:test";
import { takeRandomBytes } from "./index.ts";

test("no bytes are given out twice, over many refills and in every size, and none are left zero", () => {
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i += 1) {
    const bytes = takeRandomBytes(12 + (i % 53));
    assert.equal(bytes.length, 12 + (i % 53));
    // The first twelve of each: a piece that were given out twice would show.
    seen.add(bytes.toString("hex", 0, 12));
  }
  assert.equal(seen.size, 20_000);
  assert.ok(!seen.has("00".repeat(12)));
});

test("what one holds is one's own: later bytes do not change it", () => {
  const first = takeRandomBytes(32);
  const copy = Buffer.from(first);
  for (let i = 0; i < 2_000; i += 1) takeRandomBytes(32);
  assert.deepEqual(first, copy);
  for (const size of [0, -1, 1.5, 1_025]) assert.throws(() => takeRandomBytes(size), RangeError);
});
