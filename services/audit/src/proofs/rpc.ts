import type { ServiceImpl } from "@connectrpc/connect";
import type { LogService } from "@fujie/api/fujie/audit/v1/log";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { caller } from "@fujie/kit/serve";
import { proveConsistencyFromTiles } from "@fujie/transparency";
import type { Context } from "../context.ts";
import { proveEvent } from "./prove-event.ts";
import { proveLeaf, publishedCheckpoint } from "./published-log.ts";

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
      return {
        ...(await proveLeaf(tiles, Number(index), size)),
        treeSize: BigInt(size),
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
      const proof = await proveEvent({ db, tiles }, eventId, caller(call).peer);
      if (proof === undefined) throw new DomainError("ENTRY_NOT_FOUND");
      return proof;
    },
  } satisfies ProofMethods;
}

/** The tree's size that is asked for; 0 means the newest. */
function sizeOf(asked: bigint, published: number, field: string): number {
  if (asked > published) throw fieldError("TREE_SIZE_INVALID", field, "is larger than the log");
  return asked === 0n ? published : Number(asked);
}
