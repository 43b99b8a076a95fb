import { decodeEntry, entryLeafHash, equalHashes, formatProofBundle } from "@fujie/transparency";
import type { Context } from "../context.ts";
import { openRows } from "../log/openings.ts";
import { proveLeaf } from "./published-log.ts";
import { findPublishedEvent } from "./store.ts";

export interface EventProof {
  readonly preimage: Uint8Array;
  readonly salt: Uint8Array;
  /** tlog-proof@v1, up to the newest published checkpoint. */
  readonly proofBundle: string;
}

/**
 * A service's event with its proof, in two round trips: what is published of it, and the tiles. Undefined for what no
 * published checkpoint covers, which cannot be proven yet, and for another service's event.
 * @throws Error when the database was changed: that is a fault of ours, never an answer
 */
export async function proveEvent(
  { db, tiles }: Pick<Context, "db" | "tiles">,
  eventId: string,
  service: string | undefined,
): Promise<EventProof | undefined> {
  const found = await findPublishedEvent(db, eventId);
  const [opening] = found === undefined ? [] : await openRows(db, found.packed);
  if (found === undefined || opening === undefined || decodeEntry(opening.preimage).service !== service)
    return undefined;
  const { index, preimage, salt } = opening;
  const { leafHash, path } = await proveLeaf(tiles, index, found.size);
  if (!equalHashes(entryLeafHash(preimage, salt), leafHash)) throw new Error("an entry is not what its leaf binds");
  return { preimage, salt, proofBundle: formatProofBundle({ index, path, checkpoint: found.note }) };
}
