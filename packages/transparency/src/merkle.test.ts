import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import vectors from "../vectors/rfc6962.json" with { type: "json" };
import { FormatError } from "./errors.ts";
import {
  append,
  buildLevels,
  decodeFrontier,
  emptyFrontier,
  emptyRoot,
  encodeFrontier,
  leafHash,
  nodeHash,
  proveConsistency,
  proveInclusion,
  readFrontier,
  readNodesOf,
  root,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";

const fromHex = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const classic = vectors.leaves.map((leaf) => leafHash(fromHex(leaf)));
const classicRoot = (size: number) => fromHex(vectors.roots[size - 1] ?? "");

/** `count` distinct leaf hashes; another `fork` gives other leaves. */
function makeLeaves(count: number, fork = 0): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => leafHash(Buffer.from(`${fork}:${at}`)));
}

/** MTH as RFC 9162 §2.1.1 defines it, by recursion and with nothing of the code under test. */
function definedRoot(leaves: readonly Uint8Array[]): string {
  const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
  const mth = (hashes: readonly Uint8Array[]): Uint8Array => {
    const [only] = hashes;
    if (only === undefined) return sha256(new Uint8Array());
    if (hashes.length === 1) return only;
    let k = 1;
    while (k * 2 < hashes.length) k *= 2;
    return sha256(Buffer.concat([Uint8Array.of(1), mth(hashes.slice(0, k)), mth(hashes.slice(k))]));
  };
  return toHex(mth(leaves));
}

function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice();
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}

const sizeAndIndex = fc
  .integer({ min: 1, max: 400 })
  .chain((size) => fc.tuple(fc.constant(size), fc.integer({ min: 0, max: size - 1 })));

test("RFC 6962 the published roots of the eight classic leaves are reproduced", () => {
  assert.equal(toHex(emptyRoot()), vectors.emptyRoot);
  assert.equal(toHex(root(emptyFrontier())), vectors.emptyRoot);
  for (let size = 1; size <= 8; size++)
    assert.equal(toHex(root(append(emptyFrontier(), classic.slice(0, size)))), vectors.roots[size - 1]);
});

test("RFC 6962 the published inclusion proofs are generated and verified", () => {
  for (const { index, size, path } of vectors.inclusion) {
    const made = proveInclusion(index, size, readNodesOf(classic));
    assert.deepEqual(made.map(toHex), path);
    const leaf = classic[index];
    assert.ok(leaf);
    const claim = { leafHash: leaf, index, size, path: path.map(fromHex), root: classicRoot(size) };
    assert.deepEqual(verifyInclusion(claim), { ok: true });
  }
});

test("RFC 6962 the published consistency proofs are generated and verified", () => {
  for (const { oldSize, newSize, path } of vectors.consistency) {
    assert.deepEqual(proveConsistency(oldSize, newSize, readNodesOf(classic)).map(toHex), path);
    const roots = { oldRoot: classicRoot(oldSize), newRoot: classicRoot(newSize) };
    assert.deepEqual(verifyConsistency({ oldSize, newSize, ...roots, path: path.map(fromHex) }), { ok: true });
  }
});

test("RFC 6962 published corruptions of a consistency proof are refused", () => {
  const path = (vectors.consistency[2]?.path ?? []).map(fromHex);
  const claim = { oldSize: 6, newSize: 8, oldRoot: classicRoot(6), newRoot: classicRoot(8), path };
  assert.ok(verifyConsistency(claim).ok);
  const corrupted = [
    { ...claim, oldSize: 5 },
    { ...claim, oldSize: 7 },
    { ...claim, oldSize: 4 },
    { ...claim, newSize: 16 },
    { ...claim, newSize: 4 },
    { ...claim, oldRoot: claim.newRoot, newRoot: claim.oldRoot },
    { ...claim, path: [] },
    { ...claim, path: [...path, new Uint8Array()] },
    { ...claim, path: [...path, claim.newRoot] },
    { ...claim, path: [claim.oldRoot, ...path] },
    { ...claim, path: [...path.slice(0, 1), ...path] },
  ];
  for (const bad of corrupted) assert.equal(verifyConsistency(bad).ok, false);
});

test("RFC 9162 §2.1.1 roots equal the recursive definition for every size to 130", () => {
  const leaves = makeLeaves(130);
  for (let size = 0; size <= 130; size++) {
    const expected = definedRoot(leaves.slice(0, size));
    assert.equal(toHex(root(append(emptyFrontier(), leaves.slice(0, size)))), expected);
    const [top = emptyRoot()] = buildLevels(leaves.slice(0, size)).at(-1) ?? [];
    assert.equal(toHex(top), expected);
  }
});

test("a leaf longer than the hashing buffer, and one of its exact length, hash as defined", () => {
  for (const length of [0, 4095, 4096, 4097, 70_000]) {
    const data = Buffer.alloc(length, 0x5a);
    const expected = createHash("sha256")
      .update(Buffer.concat([Uint8Array.of(0), data]))
      .digest("hex");
    assert.equal(toHex(leafHash(data)), expected);
  }
});

test("every leaf of every tree to 70 leaves has a proof that verifies", () => {
  const leaves = makeLeaves(70);
  for (let size = 1; size <= leaves.length; size++) {
    const treeRoot = root(append(emptyFrontier(), leaves.slice(0, size)));
    const read = readNodesOf(leaves.slice(0, size));
    for (const [index, leaf] of leaves.slice(0, size).entries()) {
      const path = proveInclusion(index, size, read);
      assert.deepEqual(verifyInclusion({ leafHash: leaf, index, size, path, root: treeRoot }), { ok: true });
    }
  }
});

test("an inclusion proof fails with one bit flipped, a hash dropped, added or swapped, another index or size", () => {
  fc.assert(
    fc.property(sizeAndIndex, fc.nat(), fc.nat(), ([size, index], pick, otherNumber) => {
      const leaves = makeLeaves(size);
      const path = proveInclusion(index, size, readNodesOf(leaves));
      const leaf = leaves[index] ?? emptyRoot();
      const claim = { leafHash: leaf, index, size, path, root: root(append(emptyFrontier(), leaves)) };
      assert.deepEqual(verifyInclusion(claim), { ok: true });

      const bit = pick % 256;
      const at = path.length === 0 ? 0 : pick % path.length;
      const refused = [
        { ...claim, leafHash: flipBit(leaf, bit) },
        { ...claim, root: flipBit(claim.root, bit) },
        { ...claim, path: [...path, claim.root] },
        { ...claim, path: [claim.root, ...path] },
        { ...claim, index: size },
        { ...claim, index: -1 },
      ];
      const otherIndex = otherNumber % size;
      if (otherIndex !== index) refused.push({ ...claim, index: otherIndex });
      if (path.length > 0) {
        const flipped = path.map((hash, i) => (i === at ? flipBit(hash, bit) : hash));
        refused.push({ ...claim, path: flipped }, { ...claim, path: path.filter((_, i) => i !== at) });
        refused.push({ ...claim, path: path.slice(0, -1) });
      }
      if (path.length > 1) refused.push({ ...claim, path: [...path].reverse() });
      for (const bad of refused) assert.equal(verifyInclusion(bad).ok, false);
    }),
    { numRuns: 150 },
  );
});

test("an inclusion proof fails for every other size whose path has another shape", () => {
  fc.assert(
    fc.property(sizeAndIndex, fc.integer({ min: 1, max: 800 }), ([size, index], otherSize) => {
      const leaves = makeLeaves(size);
      const path = proveInclusion(index, size, readNodesOf(leaves));
      const leaf = leaves[index] ?? emptyRoot();
      // The size is not hashed: only a checkpoint binds it to the root. What the proof itself rules out is a size
      // for which this leaf's path turns left and right differently.
      const shape = (total: number) => pathShape(index, total);
      fc.pre(otherSize !== size && index < otherSize && shape(otherSize) !== shape(size));
      const claim = { leafHash: leaf, index, size: otherSize, path, root: root(append(emptyFrontier(), leaves)) };
      assert.equal(verifyInclusion(claim).ok, false);
    }),
    { numRuns: 200 },
  );
});

/** The sides of a leaf's siblings, from the leaf upwards, by the recursive definition. */
function pathShape(index: number, size: number): string {
  if (size === 1) return "";
  let k = 1;
  while (k * 2 < size) k *= 2;
  return index < k ? `${pathShape(index, k)}R` : `${pathShape(index - k, size - k)}L`;
}

test("a tree is consistent with each of its prefixes, and with no prefix of a fork", () => {
  fc.assert(
    fc.property(sizeAndIndex, fc.nat(), ([newSize, forkAt], pick) => {
      const oldSize = (pick % newSize) + 1;
      const leaves = makeLeaves(newSize);
      const rootOf = (hashes: readonly Uint8Array[]) => root(append(emptyFrontier(), hashes));
      const path = proveConsistency(oldSize, newSize, readNodesOf(leaves));
      const oldRoot = rootOf(leaves.slice(0, oldSize));
      const claim = { oldSize, newSize, oldRoot, newRoot: rootOf(leaves), path };
      assert.deepEqual(verifyConsistency(claim), { ok: true });

      // A fork replaces one old leaf: neither its old nor its new root may be reached by any honest proof.
      const forkedAt = forkAt % oldSize;
      const forked = leaves.map((leaf, at) => (at === forkedAt ? flipBit(leaf, pick % 256) : leaf));
      const forkedPath = proveConsistency(oldSize, newSize, readNodesOf(forked));
      const refused = [
        { ...claim, oldRoot: rootOf(forked.slice(0, oldSize)) },
        { ...claim, newRoot: rootOf(forked) },
        { ...claim, newRoot: rootOf(forked), path: forkedPath },
        { ...claim, oldRoot: rootOf(forked.slice(0, oldSize)), path: forkedPath },
        { ...claim, path: [...path, claim.newRoot] },
        { ...claim, oldSize: newSize + 1 },
      ];
      if (path.length > 0) {
        const at = pick % path.length;
        refused.push({ ...claim, path: path.filter((_, i) => i !== at) });
        refused.push({ ...claim, path: path.map((hash, i) => (i === at ? flipBit(hash, pick % 256) : hash)) });
      }
      for (const bad of refused) assert.equal(verifyConsistency(bad).ok, false);
    }),
    { numRuns: 150 },
  );
});

test("every pair of sizes to 40 has a consistency proof that verifies, from the empty tree too", () => {
  const leaves = makeLeaves(40);
  const roots = Array.from({ length: 41 }, (_, size) => root(append(emptyFrontier(), leaves.slice(0, size))));
  for (const [newSize, newRoot] of roots.entries())
    for (const [oldSize, oldRoot] of roots.slice(0, newSize + 1).entries()) {
      const path = proveConsistency(oldSize, newSize, readNodesOf(leaves.slice(0, newSize)));
      assert.deepEqual(verifyConsistency({ oldSize, newSize, oldRoot, newRoot, path }), { ok: true });
    }
});

test("an empty old tree needs the empty root and no path; equal sizes need equal roots and no path", () => {
  const [a = emptyRoot(), b = emptyRoot()] = makeLeaves(2);
  const claim = { oldSize: 0, newSize: 1, oldRoot: emptyRoot(), newRoot: a, path: [] };
  assert.deepEqual(verifyConsistency(claim), { ok: true });
  assert.deepEqual(verifyConsistency({ ...claim, oldRoot: b }), { ok: false, reason: "OLD_ROOT_MISMATCH" });
  assert.deepEqual(verifyConsistency({ ...claim, path: [b] }), { ok: false, reason: "PATH_TOO_LONG" });
  const same = { oldSize: 1, newSize: 1, oldRoot: a, newRoot: a, path: [] };
  assert.deepEqual(verifyConsistency(same), { ok: true });
  assert.deepEqual(verifyConsistency({ ...same, newRoot: b }), { ok: false, reason: "ROOT_MISMATCH" });
  assert.deepEqual(verifyConsistency({ ...same, path: [a] }), { ok: false, reason: "PATH_TOO_LONG" });
  assert.deepEqual(verifyConsistency({ ...same, newSize: 2 }), { ok: false, reason: "PATH_TOO_SHORT" });
});

test("verifiers refuse whatever they are given, and never throw", () => {
  const anything = fc.anything({ withTypedArray: true, withBigInt: true });
  fc.assert(
    fc.property(anything, anything, anything, fc.array(anything), anything, (a, b, c, path, d) => {
      // JSON.parse gives an untyped value, as a caller without types would.
      const hostile = Object.assign(JSON.parse("{}"), { leafHash: a, index: b, size: c, path, root: d });
      assert.equal(verifyInclusion(hostile).ok, false);
      assert.equal(verifyInclusion({ ...hostile, path: a }).ok, false);
      const growth = Object.assign(JSON.parse("{}"), { oldSize: b, newSize: c, oldRoot: a, newRoot: d, path });
      assert.equal(verifyConsistency(growth).ok, false);
    }),
  );
});

test("a path of a thousand hashes is refused before it is hashed", () => {
  const [leaf = emptyRoot()] = makeLeaves(1);
  const path = Array.from({ length: 1000 }, () => leaf);
  const claim = { leafHash: leaf, index: 0, size: Number.MAX_SAFE_INTEGER, path, root: leaf };
  assert.deepEqual(verifyInclusion(claim), { ok: false, reason: "PATH_MALFORMED" });
});

test("proofs work beyond 2^32 leaves, where bit operators would wrap", () => {
  // A virtual tree of 2^40 + 3 leaves: every complete node below level 41 is derived from its coordinates' level.
  const size = 2 ** 40 + 3;
  const levels: Uint8Array[] = [leafHash(Buffer.from("same"))];
  for (let level = 1; level <= 40; level++) {
    const below = levels[level - 1] ?? emptyRoot();
    levels.push(nodeHash(below, below));
  }
  const read = (level: number) => levels[level] ?? emptyRoot();
  const leaf = read(0);
  const bigRoot = root(readFrontier(size, read));
  for (const index of [0, 2 ** 33 + 1, 2 ** 40 - 1, 2 ** 40, size - 1]) {
    const path = proveInclusion(index, size, read);
    assert.deepEqual(verifyInclusion({ leafHash: leaf, index, size, path, root: bigRoot }), { ok: true });
  }
  const oldSize = 2 ** 35 + 5;
  const claim = { oldSize, newSize: size, oldRoot: root(readFrontier(oldSize, read)), newRoot: bigRoot };
  const path = proveConsistency(oldSize, size, read);
  assert.deepEqual(verifyConsistency({ ...claim, path }), { ok: true });
  assert.equal(verifyConsistency({ ...claim, oldSize: oldSize - 2 ** 32, path }).ok, false);
});

test("a frontier appended in random pieces has the root of the whole, and survives its bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 90 }), { maxLength: 8 }), (pieces) => {
      const leaves = makeLeaves(pieces.reduce((total, piece) => total + piece, 0));
      let frontier = emptyFrontier();
      for (const piece of pieces) {
        const begin = frontier.size;
        frontier = decodeFrontier(encodeFrontier(append(frontier, leaves.slice(begin, begin + piece))));
      }
      assert.equal(frontier.size, leaves.length);
      assert.deepEqual(frontier, append(emptyFrontier(), leaves));
      assert.equal(toHex(root(frontier)), definedRoot(leaves));
    }),
  );
});

test("appending leaves the frontier that it started from unchanged", () => {
  const before = append(emptyFrontier(), makeLeaves(7));
  const kept = encodeFrontier(before);
  append(before, makeLeaves(30, 1));
  assert.deepEqual(encodeFrontier(before), kept);
});

test("appending emits each complete node once, and they are all that proofs need", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 300 }), fc.nat(), (size, pick) => {
      const leaves = makeLeaves(size);
      const store = new Map<string, Uint8Array>();
      const onNode = (level: number, index: number, hash: Uint8Array) => {
        assert.ok(!store.has(`${level}/${index}`));
        store.set(`${level}/${index}`, hash);
      };
      const split = size === 0 ? 0 : pick % size;
      append(append(emptyFrontier(), leaves.slice(0, split), onNode), leaves.slice(split), onNode);
      let expected = 0;
      for (let width = 1; width <= size; width *= 2) expected += Math.floor(size / width);
      assert.equal(store.size, expected);
      const reference = readNodesOf(leaves);
      for (const [key, hash] of store) {
        const [level = 0, index = 0] = key.split("/").map(Number);
        assert.deepEqual(reference(level, index), hash);
      }
    }),
    { numRuns: 50 },
  );
});

test("a stored frontier with a wrong length, a bad size or a malformed leaf is a typed error", () => {
  const bytes = encodeFrontier(append(emptyFrontier(), makeLeaves(6)));
  const refused = (run: () => unknown, field: string) =>
    assert.throws(run, (error) => error instanceof FormatError && error.field === field);
  refused(() => decodeFrontier(bytes.subarray(0, 7)), "frontier");
  refused(() => decodeFrontier(bytes.subarray(0, -1)), "frontier.hashes");
  refused(() => decodeFrontier(Buffer.concat([bytes, Buffer.alloc(1)])), "frontier.hashes");
  refused(() => decodeFrontier(Buffer.concat([bytes, Buffer.alloc(32)])), "frontier.hashes");
  refused(() => decodeFrontier(new Uint8Array(8).fill(0xff)), "frontier.size");
  refused(() => append(emptyFrontier(), [new Uint8Array(31)]), "leafHashes");
  refused(() => append({ size: 1, hashes: [] }, makeLeaves(1)), "frontier");
  refused(() => proveInclusion(3, 3, readNodesOf(makeLeaves(3))), "index");
  refused(() => proveConsistency(4, 3, readNodesOf(makeLeaves(3))), "oldSize");
  refused(() => proveInclusion(0, 2, () => new Uint8Array(5)), "node");
  refused(() => readNodesOf(makeLeaves(3))(1, 1), "node");
});
