import type { Queryable } from "@fujie/kit/db";
import {
  encodeEntryBundle,
  entryLeaf,
  formatTilePath,
  HASH_BYTES,
  type ReadTile,
  TILE_WIDTH,
  type Tile,
} from "@fujie/transparency";
import { leafHashesOf, readOpenings } from "../log/openings.ts";
import { readTileSources, type TileSource } from "./store.ts";

interface Asked {
  readonly tile: Tile;
  readonly promise: Promise<Uint8Array>;
  readonly resolve: (bytes: Uint8Array | Promise<Uint8Array>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads tiles of the committed log. Full ones are stored; a partial one is the roots of the tiles below it, or at
 * level 0 the hashes of the leaves. The caller asks for no tile beyond a published size. What is asked for at the same
 * moment, as a proof does, is read at once.
 */
export function tilesOf(db: Queryable): ReadTile {
  let asked = new Map<string, Asked>();

  async function readAsked(): Promise<void> {
    const together = [...asked.values()];
    asked = new Map();
    try {
      const sources = await readTileSources(
        db,
        together.map(({ tile }) => tile),
      );
      for (const [at, { tile, resolve }] of together.entries()) resolve(bytesOf(db, tile, sources[at]));
    } catch (error) {
      for (const { reject } of together) reject(error);
    }
  }

  return (tile) => {
    if (asked.size === 0) queueMicrotask(() => void readAsked());
    const path = formatTilePath(tile);
    const known = asked.get(path) ?? { tile, ...Promise.withResolvers<Uint8Array>() };
    asked.set(path, known);
    return known.promise;
  };
}

async function bytesOf(db: Queryable, tile: Tile, source: TileSource | undefined): Promise<Uint8Array> {
  const length = tile.width * HASH_BYTES;
  if (source?.hashes) return source.hashes.subarray(0, length);
  const bytes = source?.roots ?? (await leafHashesOf(db, source?.packed ?? Buffer.of()));
  if (bytes.length !== length) throw new Error(`${formatTilePath(tile)} is not complete in the database`);
  return bytes;
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
