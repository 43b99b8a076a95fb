import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeHashTile, emptyRoot, leafHash, readNodesOf, root, TILE_WIDTH } from "@fujie/transparency";
import { edgeWidth, emptyTree, type FullTile, growTree } from "./tree.ts";

const makeLeaves = (count: number) => Array.from({ length: count }, (_, at) => leafHash(Buffer.from(`leaf ${at}`)));

test("a tree grown in pieces has the root, the full tiles and the edge of the tree over all leaves", () => {
  const leaves = makeLeaves(70_000);
  const read = readNodesOf(leaves);
  let tree = emptyTree;
  const full: FullTile[] = [];
  let piece = 1;
  for (let at = 0; at < leaves.length; at += piece) {
    piece = (piece * 7) % 401;
    const grown = growTree(tree, leaves.slice(at, at + piece));
    tree = grown.tree;
    full.push(...grown.full);
  }
  assert.deepEqual(root(tree.frontier), root(growTree(emptyTree, leaves).tree.frontier));
  assert.equal(full.filter(({ level }) => level === 0).length, Math.floor(70_000 / 256));
  assert.equal(full.filter(({ level }) => level === 1).length, 1);
  for (const tile of full.filter(({ index }) => index % 50 === 0)) {
    const hashes = decodeHashTile(tile.hashes, TILE_WIDTH);
    for (const [at, hash] of hashes.entries()) assert.deepEqual(hash, read(tile.level * 8, tile.index * 256 + at));
    assert.deepEqual(tile.root, read(tile.level * 8 + 8, tile.index));
  }
  for (const [level, hashes] of tree.edge.entries()) assert.equal(hashes.length, edgeWidth(70_000, level));
});

test("nothing appended changes nothing, and a grown tree leaves the one before as it was", () => {
  assert.deepEqual(root(emptyTree.frontier), emptyRoot());
  const { tree } = growTree(emptyTree, makeLeaves(255));
  const before = structuredClone(tree);
  const { full } = growTree(tree, makeLeaves(1));
  assert.equal(full.length, 1);
  assert.deepEqual(structuredClone(tree), before);
});
