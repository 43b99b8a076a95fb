/**
 * Rebuilds a log's whole tree from what it serves to everybody:
 *
 *   entry bundles ─▶ leaf hashes = tiles of level 0 ─▶ tree ─▶ every tile above, and the roots that were signed
 */
import { emptyTree, type FullTile, growTree, type Tree } from "@fujie/audit/log";
import {
  decodeEntryBundle,
  encodeHashTile,
  equalHashes,
  FormatError,
  formatTilePath,
  leafHash,
  partialTiles,
  root,
  splitHashes,
  TILE_WIDTH,
  type Tile,
} from "@fujie/transparency";
import type { LogFinding } from "./findings.ts";
import type { ReadResource } from "./log-source.ts";

export interface TreeReport {
  /** The roots at the sizes that were asked for, as far as the log reaches. */
  readonly roots: ReadonlyMap<number, Uint8Array>;
  /** Entries whose leaves are not served any more: their hashes were taken from the tiles. */
  readonly ended: number;
  readonly findings: readonly LogFinding[];
}

/** Tiles of level 0 that are fetched side by side. */
const TILES_AT_ONCE = 16;
const FINDINGS_MAX = 100;

export async function verifyTree(
  read: ReadResource,
  size: number,
  sizes: readonly number[],
  onProgress: (entries: number) => void,
): Promise<TreeReport> {
  const findings: LogFinding[] = [];
  const report = (kind: string, index: number): void => {
    if (findings.length < FINDINGS_MAX) findings.push({ kind, index });
  };
  const stops = [...new Set([...sizes, size])].filter((at) => at <= size).sort((a, b) => a - b);
  const roots = new Map<number, Uint8Array>();
  let tree: Tree = emptyTree;
  let ended = 0;
  const keepRoots = (): void => {
    if (stops.includes(tree.frontier.size)) roots.set(tree.frontier.size, root(tree.frontier));
  };
  keepRoots();
  for (let begin = 0; begin < size; begin += TILES_AT_ONCE * TILE_WIDTH) {
    const tiles = leafTiles(begin, Math.min(size, begin + TILES_AT_ONCE * TILE_WIDTH));
    const leaves = await Promise.all(tiles.map((tile) => readLeaves(read, tile, report)));
    ended += leaves.reduce((sum, { served, hashes }) => sum + (served ? 0 : hashes.length), 0);
    const hashes = leaves.flatMap((each) => each.hashes);
    const full: FullTile[] = [];
    const end = begin + hashes.length;
    for (const stop of [...stops.filter((at) => at > begin && at < end), end]) {
      const grown = growTree(tree, hashes.slice(tree.frontier.size - begin, stop - begin));
      tree = grown.tree;
      full.push(...grown.full);
      keepRoots();
    }
    // Level 0 is what the leaves were compared with.
    await checkTiles(read, full.filter(({ level }) => level > 0).map(toStored), report);
    onProgress(Math.min(size, end));
  }
  await checkTiles(read, edgeTiles(tree, size), report);
  return { roots, ended, findings };
}

function leafTiles(begin: number, end: number): Tile[] {
  const tiles: Tile[] = [];
  for (let at = begin; at < end; at += TILE_WIDTH)
    tiles.push({ level: 0, index: at / TILE_WIDTH, width: Math.min(TILE_WIDTH, end - at) });
  return tiles;
}

interface Leaves {
  readonly hashes: readonly Uint8Array[];
  /** Whether the leaves themselves are there, and not only their hashes. */
  readonly served: boolean;
}

async function readLeaves(
  read: ReadResource,
  tile: Tile,
  report: (kind: string, index: number) => void,
): Promise<Leaves> {
  const first = tile.index * TILE_WIDTH;
  const [bytes, bundle] = await Promise.all([
    read(formatTilePath(tile)),
    read(formatTilePath({ ...tile, level: "entries" })),
  ]);
  const stored = bytes?.length === tile.width * 32 ? splitHashes(bytes) : undefined;
  if (stored === undefined) report("TILE_MISSING", first);
  if (bundle === undefined) return { hashes: stored ?? missing(tile.width), served: false };
  const hashes = attempt(() => decodeEntryBundle(bundle, tile.width).map(leafHash));
  if (hashes === undefined) report("ENTRY_ALTERED", first);
  for (const [at, hash] of (hashes ?? []).entries()) {
    const expected = stored?.[at];
    if (expected !== undefined && !equalHashes(hash, expected)) report("ENTRY_ALTERED", first + at);
  }
  // Go on with what the tree was built of: one altered entry is then one finding.
  return { hashes: stored ?? hashes ?? missing(tile.width), served: true };
}

interface StoredTile {
  readonly tile: Tile;
  readonly hashes: Uint8Array;
}

async function checkTiles(
  read: ReadResource,
  tiles: readonly StoredTile[],
  report: (kind: string, index: number) => void,
): Promise<void> {
  for (const { tile, hashes } of tiles) {
    const bytes = await read(formatTilePath(tile));
    const index = tile.index * TILE_WIDTH ** (tile.level + 1);
    if (bytes === undefined) report("TILE_MISSING", index);
    else if (Buffer.compare(bytes, hashes) !== 0) report("TILE_ALTERED", index);
  }
}

function toStored({ level, index, hashes }: FullTile): StoredTile {
  return { tile: { level, index, width: TILE_WIDTH }, hashes };
}

/** The tiles on the right edge that are not full yet; that of level 0 was read with the leaves. */
function edgeTiles({ edge }: Tree, size: number): StoredTile[] {
  return partialTiles(size).flatMap((tile) => {
    const hashes = edge[tile.level];
    return tile.level === 0 || hashes === undefined ? [] : [{ tile, hashes: encodeHashTile(hashes) }];
  });
}

function missing(width: number): Uint8Array[] {
  return Array.from({ length: width }, () => new Uint8Array(32));
}

function attempt<Value>(run: () => Value): Value | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
