import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "./errors.ts";
import {
  append,
  emptyFrontier,
  leafHash,
  proveConsistency,
  proveInclusion,
  readFrontier,
  readNodesOf,
} from "./merkle.ts";
import {
  completedTiles,
  decodeEntryBundle,
  decodeHashTile,
  encodeEntryBundle,
  encodeHashTile,
  formatTilePath,
  locateNode,
  parseTilePath,
  partialTiles,
  proveConsistencyFromTiles,
  proveInclusionFromTiles,
  readFrontierFromTiles,
  type Tile,
} from "./tiles.ts";

const leaves = Array.from({ length: 70_000 }, (_, at) => leafHash(Buffer.from(String(at))));
const nodes = new Map<string, Uint8Array>();
append(emptyFrontier(), leaves, (level, index, hash) => {
  if (level % 8 === 0) nodes.set(`${level / 8}/${index}`, hash);
});

/** A store of tiles, with full tiles wherever the log has grown that far. */
function readTile(tile: Tile, grownTo = leaves.length): Uint8Array {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at < 256; at++) {
    const index = tile.index * 256 + at;
    const hash = nodes.get(`${tile.level}/${index}`);
    if (hash !== undefined && (index + 1) * 256 ** tile.level <= grownTo) hashes.push(hash);
  }
  return encodeHashTile(hashes);
}

const paths: [Tile | { level: "entries"; index: number; width: number }, string][] = [
  [{ level: 0, index: 0, width: 256 }, "tile/0/000"],
  [{ level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"],
  [{ level: 2, index: 67, width: 17 }, "tile/2/067.p/17"],
  [{ level: 1, index: 1000, width: 1 }, "tile/1/x001/000.p/1"],
  [{ level: 63, index: 999, width: 255 }, "tile/63/999.p/255"],
  [{ level: "entries", index: 123_456, width: 256 }, "tile/entries/x123/456"],
  [{ level: "entries", index: 5, width: 3 }, "tile/entries/005.p/3"],
  [{ level: 0, index: Number.MAX_SAFE_INTEGER, width: 256 }, "tile/0/x009/x007/x199/x254/x740/991"],
];

test("tlog-tiles paths are written and read as specified", () => {
  for (const [tile, path] of paths) {
    assert.equal(formatTilePath(tile), path);
    assert.deepEqual(parseTilePath(path), tile);
  }
});

test("a path in any other spelling is refused", () => {
  const refused = [
    "",
    "tile/0/00",
    "tile/0/0000",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/x000/001",
    "tile/0/001/000",
    "tile/0/x001/x000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/01",
    "tile/0/000.p/",
    "tile/0/000/",
    "/tile/0/000",
    "tile/8/0/000",
    "tile/data/000",
    "tile/0/../000",
    "tile/0/x999/x999/x999/x999/x999/999",
    "tile/0/000\n",
  ];
  for (const path of refused) assert.throws(() => parseTilePath(path), FormatError, path);
  assert.throws(() => formatTilePath({ level: 0, index: -1, width: 256 }), FormatError);
  assert.throws(() => formatTilePath({ level: 0, index: 0, width: 257 }), FormatError);
});

test("tlog-tiles a tree of 70,000 has the tiles that the specification counts", () => {
  const full = [...completedTiles(0, 70_000)];
  assert.equal(full.filter(({ level }) => level === 0).length, 273);
  assert.deepEqual(
    full.filter(({ level }) => level > 0),
    [{ level: 1, index: 0, width: 256 }],
  );
  assert.deepEqual(partialTiles(70_000), [
    { level: 0, index: 273, width: 112 },
    { level: 1, index: 1, width: 17 },
    { level: 2, index: 0, width: 1 },
  ]);
  assert.deepEqual([...completedTiles(0, 256)], [{ level: 0, index: 0, width: 256 }]);
  assert.deepEqual(partialTiles(256), [{ level: 1, index: 0, width: 1 }]);
  assert.deepEqual(partialTiles(0), []);
});

test("growing in steps completes each full tile exactly once", () => {
  const size = fc.integer({ min: 0, max: 200_000 });
  fc.assert(
    fc.property(size, size, size, (...sizes) => {
      const [a, b, c] = sizes.sort((x, y) => x - y);
      const inSteps = [...completedTiles(0, a), ...completedTiles(a, b), ...completedTiles(b, c)].map(formatTilePath);
      assert.deepEqual(inSteps.sort(), [...completedTiles(0, c)].map(formatTilePath).sort());
    }),
    { numRuns: 50 },
  );
  assert.throws(() => [...completedTiles(2, 1)], FormatError);
});

test("proofs read from tiles equal those from leaves, at a size and after the log has grown past it", async () => {
  const boundary = fc.constantFrom(1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, 70_000);
  const size = fc.oneof(boundary, fc.integer({ min: 1, max: 70_000 }));
  const reference = readNodesOf(leaves);
  await fc.assert(
    fc.asyncProperty(size, fc.nat(), fc.boolean(), async (treeSize, pick, grown) => {
      const read = (tile: Tile) => readTile(tile, grown ? leaves.length : treeSize);
      const index = pick % treeSize;
      const expected = proveInclusion(index, treeSize, reference);
      assert.deepEqual(await proveInclusionFromTiles(index, treeSize, read), expected);
      const consistency = proveConsistency(index, treeSize, reference);
      assert.deepEqual(await proveConsistencyFromTiles(index, treeSize, read), consistency);
      assert.deepEqual(await readFrontierFromTiles(treeSize, read), readFrontier(treeSize, reference));
    }),
    { numRuns: 40 },
  );
});

test("a proof reads each tile once, and only a few", async () => {
  const read: string[] = [];
  await proveInclusionFromTiles(12_345, 70_000, (tile) => {
    read.push(formatTilePath(tile));
    return readTile(tile);
  });
  assert.equal(new Set(read).size, read.length);
  assert.ok(read.length <= 5, `read ${read.length} tiles`);
});

test("a tile that is short, or a node past the tree, is a typed error and never a wrong proof", async () => {
  const short = (tile: Tile) => readTile(tile).subarray(0, -32);
  await assert.rejects(proveInclusionFromTiles(0, 256, short), FormatError);
  await assert.rejects(proveInclusionFromTiles(256, 256, readTile), FormatError);
  assert.throws(() => locateNode(8, 1, 511), FormatError);
  assert.deepEqual(locateNode(8, 1, 512), { tile: { level: 1, index: 0, width: 2 }, offset: 1, count: 1 });
});

test("entry bundles and hash tiles round-trip, and refuse cut, missing or trailing bytes", () => {
  const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 });
  fc.assert(
    fc.property(entries, (some) => {
      const bytes = encodeEntryBundle(some);
      assert.deepEqual(decodeEntryBundle(bytes, some.length), some);
      assert.throws(() => decodeEntryBundle(bytes.subarray(0, -1), some.length), FormatError);
      assert.throws(() => decodeEntryBundle(Buffer.concat([bytes, Buffer.alloc(1)]), some.length), FormatError);
      assert.throws(() => decodeEntryBundle(Buffer.concat([bytes, Buffer.alloc(2)]), some.length), FormatError);
      assert.throws(() => decodeEntryBundle(bytes, some.length + 1), FormatError);
    }),
    { numRuns: 40 },
  );
  assert.deepEqual(encodeEntryBundle([Uint8Array.of(7, 8), new Uint8Array()]), Uint8Array.of(0, 2, 7, 8, 0, 0));
  assert.equal(encodeEntryBundle([new Uint8Array(65_535)]).length, 65_537);
  assert.throws(() => encodeEntryBundle([new Uint8Array(65_536)]), FormatError);
  assert.throws(() => encodeEntryBundle([]), FormatError);
  assert.throws(() => encodeHashTile([new Uint8Array(31)]), FormatError);
  assert.throws(() => decodeHashTile(new Uint8Array(33), 1), FormatError);
  assert.throws(() => decodeHashTile(new Uint8Array(64), 1), FormatError);
});
