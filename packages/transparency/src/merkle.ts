import { createHash } from "node:crypto";
import { FormatError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { ACCEPTED, type Refusal, refuse, type Verdict } from "./verdict.ts";

/**
 * The Merkle tree of RFC 9162 §2.1 over SHA-256.
 *
 * Hashes are 32-byte arrays. Sizes and indices are numbers up to 2^53 − 1. A *node* is the root of a complete,
 * aligned subtree: node (level, index) covers the leaves index·2^level … (index+1)·2^level − 1. Nodes never change
 * once complete, so a store needs only them; everything else is computed from them.
 */

export const HASH_BYTES = 32;

/** Bounds the stack that a hostile size can ask for: no tree of safe-integer size is deeper. */
const LEVELS_MAX = 53;

export type NodeId = { readonly level: number; readonly index: number };

/** Reads one node's hash from a store. */
export type ReadNode = (level: number, index: number) => Uint8Array;

/** Called once for every node, leaves included, when an append completes it. */
export type OnNode = (level: number, index: number, hash: Uint8Array) => void;

/** Leaves `begin` (included) to `end` (excluded); `begin` is a multiple of the largest power of two within. */
export type LeafRange = { readonly begin: number; readonly end: number };

// Hashing

const leafInput = Buffer.alloc(1 + 4096);
/** Most leaves are commitments: a view that is made once spares one for each. */
const hashLeafInput = leafInput.subarray(0, 1 + HASH_BYTES);
const nodeInput = Buffer.alloc(1 + 2 * HASH_BYTES, 0x01);

/** MTH of one leaf: SHA-256(0x00 ‖ data) (RFC 9162 §2.1.1). */
export function leafHash(data: Uint8Array): Uint8Array {
  const end = 1 + data.length;
  if (end > leafInput.length)
    return new Uint8Array(createHash("sha256").update(leafInput.subarray(0, 1)).update(data).digest());
  leafInput.set(data, 1);
  const digest = sha256(data.length === HASH_BYTES ? hashLeafInput : leafInput.subarray(0, end));
  leafInput.fill(0, 1, end); // a leaf may be private: leave nothing of it behind
  return digest;
}

/** MTH of two subtrees: SHA-256(0x01 ‖ left ‖ right) (RFC 9162 §2.1.1). Both must be 32 bytes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_BYTES);
  return sha256(nodeInput);
}

/** MTH of no leaves: SHA-256 of nothing (RFC 9162 §2.1.1). */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array());
}

export function equalHashes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

export function isHash(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === HASH_BYTES;
}

export function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && typeof value === "number" && value >= 0;
}

// Frontier

/**
 * All that a sequencer must remember to extend a tree: its size and the nodes that its leaves decompose into,
 * widest first (one per 1-bit of `size`). Immutable: appending gives a new one, so an aborted commit costs nothing.
 */
export type Frontier = { readonly size: number; readonly hashes: readonly Uint8Array[] };

export function emptyFrontier(): Frontier {
  return { size: 0, hashes: [] };
}

/**
 * Appends leaf hashes (see `leafHash`) in order. `onNode` receives every node that becomes complete, leaves
 * included, parents after their children. Throws FormatError for a hash that is not 32 bytes.
 */
export function append(frontier: Frontier, leafHashes: Iterable<Uint8Array>, onNode?: OnNode): Frontier {
  const stack = [...frontier.hashes];
  let size = frontier.size;
  for (const leaf of leafHashes) {
    if (!isHash(leaf)) throw new FormatError("leafHashes", "a leaf hash is not 32 bytes");
    if (size === Number.MAX_SAFE_INTEGER) throw new FormatError("leafHashes", "the tree is full");
    pushLeaf(stack, size, leaf, onNode);
    size += 1;
  }
  return { size, hashes: stack };
}

function pushLeaf(stack: Uint8Array[], leafIndex: number, leaf: Uint8Array, onNode: OnNode | undefined): void {
  let node = leaf;
  let index = leafIndex;
  let level = 0;
  onNode?.(level, index, node);
  // An odd index is a right child: its left sibling is on top of the stack, and their parent is now complete.
  while (index % 2 === 1) {
    const left = stack.pop();
    if (left === undefined) throw new FormatError("frontier", "fewer hashes than its size needs");
    node = nodeHash(left, node);
    index = (index - 1) / 2;
    level += 1;
    onNode?.(level, index, node);
  }
  stack.push(node);
}

/** The root over everything appended so far. */
export function root(frontier: Frontier): Uint8Array {
  return frontier.hashes.length === 0 ? emptyRoot() : foldRight(frontier.hashes);
}

/** Bytes of a frontier: size as uint64 big-endian, then its hashes, widest first. */
export function encodeFrontier(frontier: Frontier): Uint8Array {
  const bytes = new Uint8Array(8 + frontier.hashes.length * HASH_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(frontier.size));
  for (const [at, node] of frontier.hashes.entries()) bytes.set(node, 8 + at * HASH_BYTES);
  return bytes;
}

/** Reads what `encodeFrontier` wrote. Throws FormatError unless the bytes are exactly one frontier. */
export function decodeFrontier(bytes: Uint8Array): Frontier {
  if (bytes.length < 8) throw new FormatError("frontier", "shorter than its size field");
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
  if (!isSize(size)) throw new FormatError("frontier.size", "above 2^53 − 1");
  const hashes = splitHashes(bytes.subarray(8));
  if (bytes.length % HASH_BYTES !== 8 || hashes.length !== rangeNodes({ begin: 0, end: size }).length)
    throw new FormatError("frontier.hashes", "wrong length for its size");
  return { size, hashes };
}

/** Cuts concatenated hashes apart; a shorter rest is left out, so callers check the length. */
export function splitHashes(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.floor(bytes.length / HASH_BYTES) }, (_, at) =>
    bytes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );
}

/** The frontier of a stored tree, to resume after a restart. Throws FormatError for a bad size or node. */
export function readFrontier(size: number, read: ReadNode): Frontier {
  requireSize(size, "size");
  return { size, hashes: rangeNodes({ begin: 0, end: size }).map((node) => readHash(node, read)) };
}

// Whole trees

/**
 * All levels of a tree in memory: level 0 is the leaf hashes, and each level pairs up the one below. An odd last
 * node moves up unchanged, so the last level holds the root alone. `[[]]` for no leaves.
 */
export function buildLevels(leafHashes: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const levels: (readonly Uint8Array[])[] = [leafHashes];
  let level = leafHashes;
  while (level.length > 1) {
    level = pairUp(level);
    levels.push(level);
  }
  return levels;
}

function pairUp(level: readonly Uint8Array[]): Uint8Array[] {
  const parents: Uint8Array[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const left = level[at];
    const right = level[at + 1];
    if (left !== undefined) parents.push(right === undefined ? left : nodeHash(left, right));
  }
  return parents;
}

/** A node reader over leaf hashes held in memory. */
export function readNodesOf(leafHashes: readonly Uint8Array[]): ReadNode {
  const levels = buildLevels(leafHashes);
  return (level, index) => {
    const node = levels[level]?.[index];
    const complete = (index + 1) * 2 ** level <= leafHashes.length;
    if (node === undefined || !complete) throw new FormatError("node", "not a complete node of this tree");
    return node;
  };
}

// Proofs

/**
 * The subtrees whose roots make the inclusion proof of leaf `index` in a tree of `size` leaves, from the leaf
 * upwards (RFC 9162 §2.1.3.1). Throws FormatError unless 0 ≤ index < size.
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  requireSize(size, "size");
  if (!isSize(index) || index >= size) throw new FormatError("index", "not a leaf of a tree of this size");
  const ranges: LeafRange[] = [];
  let begin = 0;
  let end = size;
  while (end - begin > 1) {
    const middle = begin + splitPoint(end - begin);
    if (index < middle) {
      ranges.push({ begin: middle, end });
      end = middle;
    } else {
      ranges.push({ begin, end: middle });
      begin = middle;
    }
  }
  return ranges.reverse();
}

/**
 * The subtrees whose roots make the consistency proof from `oldSize` to `newSize` leaves (RFC 9162 §2.1.4.1); none
 * when the sizes are equal or the old tree is empty. Throws FormatError unless 0 ≤ oldSize ≤ newSize.
 */
export function consistencyRanges(oldSize: number, newSize: number): LeafRange[] {
  requireSize(newSize, "newSize");
  if (!isSize(oldSize) || oldSize > newSize) throw new FormatError("oldSize", "larger than the new size");
  if (oldSize === 0 || oldSize === newSize) return [];
  const ranges: LeafRange[] = [];
  let begin = 0;
  let end = newSize;
  while (oldSize !== end) {
    const middle = begin + splitPoint(end - begin);
    if (oldSize <= middle) {
      ranges.push({ begin: middle, end });
      end = middle;
    } else {
      ranges.push({ begin, end: middle });
      begin = middle;
    }
  }
  // A subtree that starts at 0 is the whole old tree: the verifier knows its root already.
  if (begin > 0) ranges.push({ begin, end });
  return ranges.reverse();
}

/** The nodes that a range decomposes into, widest first: at most one per level. */
export function rangeNodes(range: LeafRange): NodeId[] {
  const nodes: NodeId[] = [];
  let begin = range.begin;
  for (let level = LEVELS_MAX; level >= 0; level--) {
    const width = 2 ** level;
    if (width > range.end - begin) continue;
    nodes.push({ level, index: begin / width });
    begin += width;
  }
  return nodes;
}

/** The root of the leaves in `range`. Throws FormatError when the store gives something other than a hash. */
export function hashRange(range: LeafRange, read: ReadNode): Uint8Array {
  const hashes = rangeNodes(range).map((node) => readHash(node, read));
  return hashes.length === 0 ? emptyRoot() : foldRight(hashes);
}

/** Inclusion proof of leaf `index` in the tree of `size` leaves (RFC 9162 §2.1.3.1). Errors: FormatError. */
export function proveInclusion(index: number, size: number, read: ReadNode): Uint8Array[] {
  return inclusionRanges(index, size).map((range) => hashRange(range, read));
}

/** Consistency proof between two sizes of one tree (RFC 9162 §2.1.4.1). Errors: FormatError. */
export function proveConsistency(oldSize: number, newSize: number, read: ReadNode): Uint8Array[] {
  return consistencyRanges(oldSize, newSize).map((range) => hashRange(range, read));
}

// Verification

export type MerkleRefusal =
  | "SIZE_INVALID"
  | "INDEX_OUT_OF_RANGE"
  | "HASH_MALFORMED"
  | "PATH_MALFORMED"
  | "PATH_TOO_SHORT"
  | "PATH_TOO_LONG"
  | "ROOT_MISMATCH"
  | "OLD_ROOT_MISMATCH";

export type InclusionClaim = {
  readonly leafHash: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly root: Uint8Array;
};

export type ConsistencyClaim = {
  readonly oldSize: number;
  readonly oldRoot: Uint8Array;
  readonly newSize: number;
  readonly newRoot: Uint8Array;
  readonly path: readonly Uint8Array[];
};

/**
 * Verifies an inclusion proof by RFC 9162 §2.1.3.2. Never throws, whatever the claim holds.
 *
 * No hash covers `size`: take it and `root` from one signed statement, such as a checkpoint, never from the prover.
 */
export function verifyInclusion(claim: InclusionClaim): Verdict<MerkleRefusal> {
  if (!isHash(claim.root)) return refuse("HASH_MALFORMED");
  const led = leadToRoot(claim);
  if (!led.ok) return led;
  return equalHashes(led.root, claim.root) ? ACCEPTED : refuse("ROOT_MISMATCH");
}

/** The root that a path leads to, for a signature over it and `size` to decide whether it counts. Never throws. */
export function leadToRoot(
  claim: Omit<InclusionClaim, "root">,
): { readonly ok: true; readonly root: Uint8Array } | Refusal<MerkleRefusal> {
  const { index, size, path } = claim;
  if (!isSize(size)) return refuse("SIZE_INVALID");
  if (!isSize(index) || index >= size) return refuse("INDEX_OUT_OF_RANGE");
  if (!isHash(claim.leafHash)) return refuse("HASH_MALFORMED");
  if (!isPath(path)) return refuse("PATH_MALFORMED");

  let fn = index;
  let sn = size - 1;
  let computed = claim.leafHash;
  for (const sibling of path) {
    if (sn === 0) return refuse("PATH_TOO_LONG");
    if (isOdd(fn) || fn === sn) {
      computed = nodeHash(sibling, computed);
      [fn, sn] = skipMissingSiblings(fn, sn);
    } else {
      computed = nodeHash(computed, sibling);
    }
    fn = half(fn);
    sn = half(sn);
  }
  if (sn !== 0) return refuse("PATH_TOO_SHORT");
  return { ok: true, root: computed };
}

/**
 * Verifies a consistency proof by RFC 9162 §2.1.4.2. Never throws. Equal sizes need equal roots and no path; an
 * empty old tree needs the empty root and no path, and says nothing about the new one.
 */
export function verifyConsistency(claim: ConsistencyClaim): Verdict<MerkleRefusal> {
  const { oldSize, newSize, oldRoot, newRoot, path } = claim;
  if (!isSize(oldSize) || !isSize(newSize) || oldSize > newSize) return refuse("SIZE_INVALID");
  if (!isHash(oldRoot) || !isHash(newRoot)) return refuse("HASH_MALFORMED");
  if (!isPath(path)) return refuse("PATH_MALFORMED");
  if (oldSize === 0 && !equalHashes(oldRoot, emptyRoot())) return refuse("OLD_ROOT_MISMATCH");
  if (oldSize === newSize && !equalHashes(oldRoot, newRoot)) return refuse("ROOT_MISMATCH");
  if (oldSize === 0 || oldSize === newSize) return path.length === 0 ? ACCEPTED : refuse("PATH_TOO_LONG");
  return verifyGrowth(claim);
}

function verifyGrowth({ oldSize, newSize, oldRoot, newRoot, path }: ConsistencyClaim): Verdict<MerkleRefusal> {
  if (path.length === 0) return refuse("PATH_TOO_SHORT");
  const [seed, ...rest] = isPowerOfTwo(oldSize) ? [oldRoot, ...path] : path;
  if (seed === undefined) return refuse("PATH_TOO_SHORT");

  let [fn, sn] = skipRightChildren(oldSize - 1, newSize - 1);
  let computedOld = seed;
  let computedNew = seed;
  for (const sibling of rest) {
    if (sn === 0) return refuse("PATH_TOO_LONG");
    if (isOdd(fn) || fn === sn) {
      computedOld = nodeHash(sibling, computedOld);
      computedNew = nodeHash(sibling, computedNew);
      [fn, sn] = skipMissingSiblings(fn, sn);
    } else {
      computedNew = nodeHash(computedNew, sibling);
    }
    fn = half(fn);
    sn = half(sn);
  }
  if (sn !== 0) return refuse("PATH_TOO_SHORT");
  if (!equalHashes(computedOld, oldRoot)) return refuse("OLD_ROOT_MISMATCH");
  return equalHashes(computedNew, newRoot) ? ACCEPTED : refuse("ROOT_MISMATCH");
}

/** On the right edge, levels where the node has no sibling add nothing: climb past them. */
function skipMissingSiblings(fn: number, sn: number): [number, number] {
  let [f, s] = [fn, sn];
  while (!isOdd(f) && f !== 0) [f, s] = [half(f), half(s)];
  return [f, s];
}

function skipRightChildren(fn: number, sn: number): [number, number] {
  let [f, s] = [fn, sn];
  while (isOdd(f)) [f, s] = [half(f), half(s)];
  return [f, s];
}

function isPath(path: unknown): path is readonly Uint8Array[] {
  return Array.isArray(path) && path.length <= 2 * LEVELS_MAX && path.every(isHash);
}

function foldRight(hashes: readonly Uint8Array[]): Uint8Array {
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

function readHash(node: NodeId, read: ReadNode): Uint8Array {
  const value = read(node.level, node.index);
  if (!isHash(value)) throw new FormatError("node", "the store gave something other than 32 bytes");
  return value;
}

function requireSize(size: number, field: string): void {
  if (!isSize(size)) throw new FormatError(field, "not an integer from 0 to 2^53 − 1");
}

/** The largest power of two smaller than `count` (RFC 9162 §2.1.1); `count` is at least 2. */
function splitPoint(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

// Bit arithmetic that stays right above 2^32, where JavaScript's own bit operators wrap.

function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isPowerOfTwo(value: number): boolean {
  return splitPoint(value + 1) === value;
}
