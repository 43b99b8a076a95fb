import { append, emptyFrontier, encodeHashTile, type Frontier, TILE_HEIGHT, TILE_WIDTH } from "@fujie/transparency";

/** A tile of 256 hashes that will never change, with the root over them. */
export interface FullTile {
  readonly level: number;
  readonly index: number;
  /** 8,192 bytes. */
  readonly hashes: Uint8Array;
  readonly root: Uint8Array;
}

/** The right edge of the log: all that is needed to append. */
export interface Tree {
  readonly frontier: Frontier;
  /** By tile level, the hashes of the tile that is not full yet. */
  readonly edge: readonly (readonly Uint8Array[])[];
}

export const emptyTree: Tree = { frontier: emptyFrontier(), edge: [] };

/** Appends leaf hashes. Gives the new tree and the tiles that became full, lower levels first. */
export function growTree(tree: Tree, leafHashes: readonly Uint8Array[]): { tree: Tree; full: readonly FullTile[] } {
  const edge = tree.edge.map((hashes) => [...hashes]);
  const full: FullTile[] = [];
  const frontier = append(tree.frontier, leafHashes, (nodeLevel, index, hash) => {
    if (nodeLevel % TILE_HEIGHT !== 0) return;
    const level = nodeLevel / TILE_HEIGHT;
    const below = edge[level - 1];
    // A node of this level completes the tile below it, whose root it is.
    if (below !== undefined) {
      full.push({ level: level - 1, index, hashes: encodeHashTile(below), root: hash });
      below.length = 0;
    }
    const row = edge[level] ?? [];
    edge[level] = row;
    row.push(hash);
  });
  return { tree: { frontier, edge }, full };
}

/** How many hashes the tile that is not full yet has at a level of a tree of `size` leaves. */
export function edgeWidth(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH;
}
