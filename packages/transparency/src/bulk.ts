import { hash } from "node:crypto";
import { COMMITMENT_BYTES, SALT_BYTES } from "./commitment.ts";
import { ENTRY_COMMITMENT_TAG } from "./entry.ts";
import { HASH_BYTES } from "./merkle.ts";
import { TILE_WIDTH } from "./tiles.ts";

export { CANONICAL_BYTES_MAX } from "./canonical.ts";
export { equalHashes, HASH_BYTES } from "./merkle.ts";
export { TILE_WIDTH } from "./tiles.ts";

/*
 * The same hashes as `entryLeafHash` and `root` give, for whoever computes millions: everything is written where it is
 * hashed, and the views that SHA-256 reads are made once. Pieces of memory for each hash would cost as much as hashing.
 * A module of its own, so that a thread that only hashes loads nothing else.
 */

/** Writes the SHA-256 of `input` at `at`. */
export function sha256Into(input: Uint8Array, target: Uint8Array, at: number): void {
  const binary = hash("sha256", input, "binary");
  for (let byte = 0; byte < HASH_BYTES; byte++) target[at + byte] = binary.charCodeAt(byte);
}

export interface EntryHasher {
  /** Where the salt (from `saltAt` on) and the preimage (from `preimageAt` on) are written. They stay there. */
  readonly input: Uint8Array;
  readonly saltAt: number;
  readonly preimageAt: number;
  /** Writes the leaf hash of a preimage of that many bytes at `at`. */
  hash(preimageBytes: number, target: Uint8Array, at: number): void;
}

const LENGTH_BYTES = 8;

/** Leaf hashes of entries whose preimages have at most that many bytes. */
export function openEntryHasher(preimageBytesMax: number): EntryHasher {
  const saltAt = ENTRY_COMMITMENT_TAG.length + 1;
  const lengthAt = saltAt + SALT_BYTES;
  const preimageAt = lengthAt + LENGTH_BYTES;
  const input = new Uint8Array(preimageAt + preimageBytesMax);
  input.set(Buffer.from(`${ENTRY_COMMITMENT_TAG}\0`, "latin1"));
  const numbers = new DataView(input.buffer);
  const leaf = new Uint8Array(1 + COMMITMENT_BYTES);
  const viewOf = openViews(input);
  return {
    input,
    saltAt,
    preimageAt,
    hash: (preimageBytes, target, at) => {
      numbers.setUint32(lengthAt + 4, preimageBytes);
      sha256Into(viewOf(preimageAt + preimageBytes), leaf, 1);
      sha256Into(leaf, target, at);
    },
  };
}

const VIEWS_MAX = 2_048;

/** Views of the first bytes: those of usual lengths are made once. */
function openViews(bytes: Uint8Array): (length: number) => Uint8Array {
  const views = new Map<number, Uint8Array>();
  return (length) => {
    const known = views.get(length);
    if (known !== undefined) return known;
    const view = bytes.subarray(0, length);
    if (views.size < VIEWS_MAX) views.set(length, view);
    return view;
  };
}

const PAIR_BYTES = 1 + 2 * HASH_BYTES;

/** The pairs of each level of a tile, as SHA-256 reads them: 0x01 ‖ left ‖ right, one after another. */
const tileLevels = Array.from({ length: Math.log2(TILE_WIDTH) }, (_, level) => {
  const pairs = TILE_WIDTH / 2 ** (level + 1);
  const bytes = new Uint8Array(pairs * PAIR_BYTES);
  const inputs = Array.from({ length: pairs }, (_, pair) => {
    bytes[pair * PAIR_BYTES] = 0x01;
    return bytes.subarray(pair * PAIR_BYTES, (pair + 1) * PAIR_BYTES);
  });
  return { bytes, inputs };
});

/** Writes the root over the 256 hashes that begin at `from` at `at`. */
export function hashTileInto(hashes: Uint8Array, from: number, target: Uint8Array, at: number): void {
  const [leaves, ...above] = tileLevels;
  if (leaves === undefined) return;
  for (const [pair, input] of leaves.inputs.entries()) {
    const begin = from + pair * 2 * HASH_BYTES;
    for (let byte = 0; byte < 2 * HASH_BYTES; byte++) input[1 + byte] = hashes[begin + byte] ?? 0;
  }
  let { inputs } = leaves;
  for (const level of above) {
    for (const [node, input] of inputs.entries()) sha256Into(input, level.bytes, placeOf(node));
    ({ inputs } = level);
  }
  for (const input of inputs) sha256Into(input, target, at);
}

/** Where a node is written among the pairs of its level. */
function placeOf(node: number): number {
  return Math.floor(node / 2) * PAIR_BYTES + 1 + (node % 2) * HASH_BYTES;
}
