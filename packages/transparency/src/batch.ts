import { FormatError } from "./errors.ts";
import { buildLevels, emptyRoot, leadToRoot, leafHash, type MerkleRefusal, verifyInclusion } from "./merkle.ts";
import type { Refusal, Verdict } from "./verdict.ts";

/**
 * One signature for many receipts: the decisions of a micro-batch become the leaves of a small Merkle tree, its root
 * is signed once, and each receipt carries the path from its own leaf to that root.
 */

export const BATCH_LEAVES_MAX = 65_536;

export type BatchPath = { readonly index: number; readonly size: number; readonly hashes: readonly Uint8Array[] };

export type SealedBatch = { readonly root: Uint8Array; readonly size: number; readonly paths: readonly BatchPath[] };

/**
 * Builds the tree over 1 to 65,536 leaves; `paths[i]` belongs to `leaves[i]`. The caller signs `root` *and* `size`,
 * with a prefix of its own, so that a batch can't pass for a checkpoint of the log. Errors: FormatError.
 */
export function sealBatch(leaves: readonly Uint8Array[]): SealedBatch {
  const size = leaves.length;
  if (size < 1 || size > BATCH_LEAVES_MAX) throw new FormatError("leaves", "not 1 to 65,536 of them");
  const levels = buildLevels(leaves.map(leafHash));
  const [root = emptyRoot()] = levels.at(-1) ?? [];
  return { root, size, paths: leaves.map((_, index) => ({ index, size, hashes: siblings(levels, index) })) };
}

/** Checks that `leaf` is in the batch with this root. Never throws. */
export function verifyBatchPath(leaf: Uint8Array, path: BatchPath, root: Uint8Array): Verdict<MerkleRefusal> {
  return verifyInclusion({ leafHash: leafHash(leaf), index: path.index, size: path.size, path: path.hashes, root });
}

/** The root that a leaf's path leads to. Never throws. */
export function rootOfBatchPath(
  leaf: Uint8Array,
  { index, size, hashes }: BatchPath,
): { readonly ok: true; readonly root: Uint8Array } | Refusal<MerkleRefusal> {
  return leadToRoot({ leafHash: leafHash(leaf), index, size, path: hashes });
}

function siblings(levels: readonly (readonly Uint8Array[])[], leafIndex: number): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  let index = leafIndex;
  for (const level of levels) {
    const sibling = level[index % 2 === 0 ? index + 1 : index - 1];
    // An odd last node has no sibling and moves up unchanged.
    if (sibling !== undefined) hashes.push(sibling);
    index = Math.floor(index / 2);
  }
  return hashes;
}
