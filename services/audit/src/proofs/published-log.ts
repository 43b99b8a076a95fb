import type { Queryable } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { decodeHashTile, locateNode, proveInclusionFromTiles, type ReadTile } from "@fujie/transparency";
import type { PublishedCheckpoint } from "../log/store.ts";
import { readPublished } from "../witnessing/store.ts";

/**
 * The newest published checkpoint, with its cosignatures: what may be told of the log ends with it.
 * @throws DomainError DEPENDENCY_UNAVAILABLE before the log's first start
 */
export async function publishedCheckpoint(db: Queryable): Promise<PublishedCheckpoint> {
  const published = await readPublished(db);
  if (published === undefined) throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "log" });
  return published;
}

/** The hash of a leaf as the tree has it. */
export async function readLeafHash(tiles: ReadTile, index: number, size: number): Promise<Uint8Array> {
  const { tile, offset } = locateNode(0, index, size);
  const hash = decodeHashTile(await tiles(tile), tile.width)[offset];
  if (hash === undefined) throw new Error("a tile is shorter than its width");
  return hash;
}

/** A leaf's hash and its path to the root of the published size: their tiles are read together. */
export async function proveLeaf(
  tiles: ReadTile,
  index: number,
  size: number,
): Promise<{ readonly leafHash: Uint8Array; readonly path: Uint8Array[] }> {
  const [leafHash, path] = await Promise.all([
    readLeafHash(tiles, index, size),
    proveInclusionFromTiles(index, size, tiles),
  ]);
  return { leafHash, path };
}
