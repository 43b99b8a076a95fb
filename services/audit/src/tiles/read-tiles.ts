import type { Queryable } from "@fujie/kit/db";
import {
  encodeEntryBundle,
  encodeHashTile,
  entryLeaf,
  entryLeafHash,
  formatTilePath,
  HASH_BYTES,
  type ReadTile,
  TILE_WIDTH,
  type Tile,
} from "@fujie/transparency";
import { readOpenings } from "../log/openings.ts";
import { readFullTile, readTileRoots } from "./store.ts";

/**
 * Reads tiles of the committed log. Full ones are stored; a partial one is the roots of the tiles below it, or at
 * level 0 the hashes of the leaves. The caller asks for no tile beyond a published size.
 */
export function tilesOf(db: Queryable): ReadTile {
  return async (tile) => {
    const stored = await readFullTile(db, tile.level, tile.index);
    if (stored !== undefined) return stored.subarray(0, tile.width * HASH_BYTES);
    const hashes = await hashesOf(db, tile);
    if (hashes.length !== tile.width) throw new Error(`${formatTilePath(tile)} is not complete in the database`);
    return encodeHashTile(hashes);
  };
}

async function hashesOf(db: Queryable, { level, index, width }: Tile): Promise<Uint8Array[]> {
  const from = index * TILE_WIDTH;
  if (level > 0) return readTileRoots(db, level - 1, from, width);
  return (await readOpenings(db, from, width)).map(({ preimage, salt }) => entryLeafHash(preimage, salt));
}

/** Remembers the tiles that were read last: even a partial tile never changes at its width. */
export function cached(read: ReadTile, tilesMax: number): ReadTile {
  const tiles = new Map<string, Uint8Array>();
  return async (tile) => {
    const path = formatTilePath(tile);
    const bytes = tiles.get(path) ?? (await read(tile));
    // Read last, thrown out last.
    tiles.delete(path);
    tiles.set(path, bytes);
    const oldest = tiles.size > tilesMax ? tiles.keys().next().value : undefined;
    if (oldest !== undefined) tiles.delete(oldest);
    return bytes;
  };
}

/** An entry bundle of tlog-tiles: the leaves themselves, which are commitments and tell nothing. */
export async function readEntryBundle(db: Queryable, index: number, width: number): Promise<Uint8Array | undefined> {
  const openings = await readOpenings(db, index * TILE_WIDTH, width);
  if (openings.length !== width) return undefined;
  return encodeEntryBundle(openings.map(({ preimage, salt }) => entryLeaf(preimage, salt)));
}
