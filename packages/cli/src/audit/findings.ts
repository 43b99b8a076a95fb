/** What verification found, wherever it looked. Every kind says in a sentence what it means. */
export interface LogFinding {
  readonly kind: string;
  /** The entry, or the first one below the tile. */
  readonly index?: number;
  readonly what?: string;
}

const meanings: Readonly<Record<string, string>> = {
  ENTRY_MISSING: "the entry is gone, and no recorded end of its partition says why",
  ENTRY_ALTERED: "the entry is not what its leaf binds: it was changed, or moved",
  ENTRY_UNSEALED: "there is an entry that was never sealed",
  EVENT_ID_ALTERED: "event ids and entries are not one to one",
  TILE_ALTERED: "a tile is missing, or not made of the hashes below it",
  TILE_MISSING: "a tile that the log must have is not there",
  HEAD_MISMATCH: "the head is missing, or not the root of the entries",
  TALLY_MISMATCH: "the number of a service's sealed events was changed",
  DROP_UNRECORDED: "entries ended without the log's own record of it",
  OUTBOX_ROW_MISSING: "events that a service recorded never reached the log: rows of its outbox were removed",
  CHECKPOINT_SIGNATURE_INVALID: "a checkpoint is missing, or not signed by the log's keys",
  CHECKPOINT_MISMATCH: "a signed checkpoint states another root than the entries have",
  ROLLED_BACK: "the log is smaller than it was: an older state was put back",
  FORKED: "the log is not a continuation of what it was: there are two histories",
  WITNESS_MISSING: "none of the given witnesses has cosigned the log",
  FILE_ALTERED: "a file of the bundle is not what the manifest says",
};

export function describeFinding({ kind, index, what }: LogFinding): string {
  const where = [what, index === undefined ? undefined : `entry ${index}`].filter((part) => part !== undefined);
  return `${kind}${where.length === 0 ? "" : ` (${where.join(", ")})`}: ${meanings[kind] ?? "not as it was sealed"}`;
}
