import { createHash } from "node:crypto";
import { DomainError } from "@fujie/kit/errors";
import { decodeEntry, entryLeafHash, equalHashes, type LogEntry } from "@fujie/transparency";
import type { Context } from "../context.ts";
import { findStoredEntry } from "../events/store.ts";
import type { StoredEntry } from "../log/entry.ts";
import { proveLeaf } from "../proofs/published-log.ts";

export interface ProvenEntry {
  readonly stored: StoredEntry;
  readonly entry: LogEntry;
  /** From the leaf to the root of the published size. */
  readonly path: readonly Uint8Array[];
}

/**
 * An entry of the published log with its proof.
 * @throws DomainError ENTRY_NOT_FOUND; Error when the database was changed: that is a fault of ours, never an answer
 */
export async function readProvenEntry(
  { db, tiles }: Pick<Context, "db" | "tiles">,
  index: number | undefined,
  size: number,
): Promise<ProvenEntry> {
  // What no published checkpoint covers cannot be proven yet, so it is not there yet.
  const stored = index === undefined || index >= size ? undefined : await findStoredEntry(db, index);
  if (stored === undefined) throw new DomainError("ENTRY_NOT_FOUND");
  const { preimage, salt, details } = stored;
  const { leafHash, path } = await proveLeaf(tiles, stored.index, size);
  if (!equalHashes(entryLeafHash(preimage, salt), leafHash))
    throw new Error(`entry ${stored.index} is not what its leaf binds`);
  const entry = decodeEntry(preimage);
  const digest = details === undefined ? Buffer.of() : createHash("sha256").update(details.sealed).digest();
  if (!equalHashes(digest, entry.detailsSha256)) throw new Error(`the details of entry ${stored.index} were changed`);
  return { stored, entry, path };
}
