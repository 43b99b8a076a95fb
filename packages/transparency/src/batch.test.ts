import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BATCH_LEAVES_MAX, sealBatch, verifyBatchPath } from "./batch.ts";
import { FormatError } from "./errors.ts";
import { append, emptyFrontier, leafHash, proveInclusion, readNodesOf, root } from "./merkle.ts";

const makeLeaves = (count: number) => Array.from({ length: count }, (_, at) => Buffer.from(`decision ${at}`));

test("a batch has the root and the paths of the log's own tree, for every size to 70", () => {
  for (let size = 1; size <= 70; size++) {
    const leaves = makeLeaves(size);
    const batch = sealBatch(leaves);
    const hashes = leaves.map(leafHash);
    assert.deepEqual(batch.root, root(append(emptyFrontier(), hashes)));
    const read = readNodesOf(hashes);
    for (const [index, path] of batch.paths.entries())
      assert.deepEqual(path, { index, size, hashes: proveInclusion(index, size, read) });
  }
});

test("a receipt verifies with its own leaf only", () => {
  const size = fc.integer({ min: 2, max: 300 });
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(), (count, first, second) => {
      const leaves = makeLeaves(count);
      const batch = sealBatch(leaves);
      const [mine, other] = [first % count, second % count];
      const [leaf, path, otherPath] = [leaves[mine], batch.paths[mine], batch.paths[other]];
      assert.ok(leaf && path && otherPath);
      assert.deepEqual(verifyBatchPath(leaf, path, batch.root), { ok: true });
      const altered = Buffer.concat([leaf, Buffer.from([0])]);
      assert.equal(verifyBatchPath(altered, path, batch.root).ok, false);
      assert.equal(verifyBatchPath(leaf, { ...path, hashes: path.hashes.slice(1) }, batch.root).ok, false);
      assert.equal(verifyBatchPath(leaf, path, leafHash(leaf)).ok, false);
      if (mine !== other) assert.equal(verifyBatchPath(leaf, otherPath, batch.root).ok, false);
    }),
    { numRuns: 60 },
  );
});

test("an empty batch and one above the bound are refused", () => {
  assert.throws(() => sealBatch([]), FormatError);
  assert.throws(() => sealBatch(new Array(BATCH_LEAVES_MAX + 1).fill(Buffer.alloc(1))), FormatError);
});
