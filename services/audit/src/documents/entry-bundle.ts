import { formatProofBundle } from "@fujie/transparency";
import type { Context } from "../context.ts";
import type { PublishedCheckpoint } from "../log/store.ts";
import { readProvenEntry } from "../search/read-entry.ts";

/** Entries of one bundle: with their proofs about 3 KB each. */
export const BUNDLE_ENTRIES_MAX = 500;

/**
 * Entries as JSON that outlives the log: what comes first is the caller's, and each entry holds what `fujie verify
 * entry` reads (preimage, salt, proofBundle), besides its details as they are sealed.
 * @throws DomainError ENTRY_NOT_FOUND when one is not in the published log
 */
export async function bundleEntries(
  context: Pick<Context, "db" | "tiles">,
  published: PublishedCheckpoint,
  head: Readonly<Record<string, unknown>>,
  indexes: readonly number[],
): Promise<Buffer> {
  const entries: Record<string, unknown>[] = [];
  for (const index of indexes) {
    const { stored, path } = await readProvenEntry(context, index, published.size);
    const { preimage, salt, details } = stored;
    entries.push({
      index,
      preimage: Buffer.from(preimage).toString("base64"),
      salt: Buffer.from(salt).toString("base64"),
      proofBundle: formatProofBundle({ index, path, checkpoint: published.note }),
      ...(details === undefined ? {} : { details: details.sealed.toString("base64"), detailsKey: details.keyId }),
    });
  }
  return Buffer.from(JSON.stringify({ ...head, entries }));
}
