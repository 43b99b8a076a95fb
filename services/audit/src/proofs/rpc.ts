import type { ServiceImpl } from "@connectrpc/connect";
import type { LogService } from "@fujie/api/fujie/audit/v1/log";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { caller } from "@fujie/kit/serve";
import {
  decodeEntry,
  entryLeafHash,
  equalHashes,
  formatProofBundle,
  proveConsistencyFromTiles,
  proveInclusionFromTiles,
} from "@fujie/transparency";
import type { Context } from "../context.ts";
import { findStoredEntry, indexesOf } from "../events/store.ts";
import { publishedCheckpoint, readLeafHash } from "./published-log.ts";

type ProofMethods = Pick<
  ServiceImpl<typeof LogService>,
  "getCheckpoint" | "getInclusionProof" | "getConsistencyProof" | "getEventProof"
>;

/** What anybody may ask, since the tree tells nothing about anybody; and what a service may ask of its own events. */
export function proofMethods({ db, tiles }: Pick<Context, "db" | "tiles">) {
  return {
    async getCheckpoint() {
      return { note: (await publishedCheckpoint(db)).note };
    },

    async getInclusionProof({ index, treeSize }) {
      const published = await publishedCheckpoint(db);
      const size = sizeOf(treeSize, published.size, "tree_size");
      if (index >= size) throw new DomainError("ENTRY_NOT_FOUND");
      const leaf = Number(index);
      return {
        leafHash: await readLeafHash(tiles, leaf, size),
        treeSize: BigInt(size),
        path: await proveInclusionFromTiles(leaf, size, tiles),
        checkpoint: size === published.size ? published.note : "",
      };
    },

    async getConsistencyProof({ firstSize, secondSize }) {
      const published = await publishedCheckpoint(db);
      const size = sizeOf(secondSize, published.size, "second_size");
      if (firstSize > size) throw fieldError("TREE_SIZE_INVALID", "first_size", "is larger than the second size");
      return {
        secondSize: BigInt(size),
        path: await proveConsistencyFromTiles(Number(firstSize), size, tiles),
        checkpoint: size === published.size ? published.note : "",
      };
    },

    async getEventProof({ eventId }, call) {
      const { size, note } = await publishedCheckpoint(db);
      const index = (await indexesOf(db, [eventId])).get(eventId.toLowerCase());
      // What no published checkpoint covers cannot be proven yet.
      const stored = index === undefined || index >= size ? undefined : await findStoredEntry(db, index);
      // Another service's event is as unknown as none.
      if (stored === undefined || decodeEntry(stored.preimage).service !== caller(call).peer) {
        throw new DomainError("ENTRY_NOT_FOUND");
      }
      const { preimage, salt } = stored;
      const leaf = await readLeafHash(tiles, stored.index, size);
      if (!equalHashes(entryLeafHash(preimage, salt), leaf)) throw new Error("an entry is not what its leaf binds");
      const path = await proveInclusionFromTiles(stored.index, size, tiles);
      return { preimage, salt, proofBundle: formatProofBundle({ index: stored.index, path, checkpoint: note }) };
    },
  } satisfies ProofMethods;
}

/** The tree's size that is asked for; 0 means the newest. */
function sizeOf(asked: bigint, published: number, field: string): number {
  if (asked > published) throw fieldError("TREE_SIZE_INVALID", field, "is larger than the log");
  return asked === 0n ? published : Number(asked);
}
