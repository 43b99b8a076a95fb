import type { Database } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import {
  decodeHashTile,
  emptyRoot,
  equalHashes,
  partialTiles,
  type ReadTile,
  readFrontierFromTiles,
  root,
} from "@fujie/transparency";
import { tilesOf } from "../tiles/read-tiles.ts";
import { checkpointVerifiers, openCheckpoint, signCheckpoint } from "./checkpoints.ts";
import { beginMonth, createPartitions, type Head, publishCheckpoint, readCheckpoint, takeHead } from "./store.ts";
import type { Tree } from "./tree.ts";

/** A size of the tree and its root. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** What a term begins with. */
export interface Recovered {
  readonly epoch: number;
  readonly tree: Tree;
  readonly partitionsUntil: number;
}

/**
 * The database does not hold the log that was sealed: nothing may be appended to it, and nothing repaired silently.
 * Verify the log from outside (docs/audit-log.md) and restore it.
 */
export class LogDamagedError extends Error {
  override readonly name = "LogDamagedError";
}

export interface RecoveryOptions {
  readonly db: Database;
  readonly ring: Pick<KeyRing, "sign" | "publicKeys">;
  readonly origin: string;
  /** Entries of one partition. */
  readonly partitionEntries: number;
  /** When the current month began: older partitions are closed. */
  readonly monthStartMs: number;
  readonly log: Pick<Logger, "warn">;
}

/**
 * Begins an epoch on whatever is committed, which is also how a log starts for the first time:
 *
 *   fence (epoch + 1) ─▶ rebuild the tree from tiles and leaves ─▶ its root is the head's, the published checkpoint's
 *   and everything this process ever signed ─▶ sign the head, if that is not published yet
 *
 * The fence waits for a commit of the old epoch that is still under way, so its outcome is seen.
 * @throws LogDamagedError
 */
export async function recoverLog(options: RecoveryOptions, signed: TreeHead | undefined): Promise<Recovered> {
  const { db, origin, partitionEntries } = options;
  const head = await takeHead(db, origin, emptyRoot());
  if (head.origin !== origin) throw new LogDamagedError("this database holds the log of another origin");
  await closeOldMonth(options);
  const partitionsUntil = await createPartitions(db, head.size + partitionEntries, partitionEntries);
  const tree = await rebuildTree(tilesOf(db), head);
  if (signed !== undefined) await requireContinued(options, head, signed, "this process signed another log");
  await settleCheckpoint(options, head);
  return { epoch: head.epoch, tree, partitionsUntil };
}

/** Long readers can keep a partition from being closed: then the next recovery does it, and the log goes on meanwhile. */
async function closeOldMonth({ db, monthStartMs, log }: RecoveryOptions): Promise<void> {
  try {
    await beginMonth(db, monthStartMs);
  } catch (error) {
    log.warn({ error }, "last month's partition could not be closed yet");
  }
}

async function rebuildTree(readTile: ReadTile, head: Head): Promise<Tree> {
  const edge: Uint8Array[][] = [];
  for (const tile of partialTiles(head.size)) edge[tile.level] = decodeHashTile(await readTile(tile), tile.width);
  const frontier = await readFrontierFromTiles(head.size, readTile);
  if (!equalHashes(root(frontier), head.root)) throw new LogDamagedError("the entries do not have the head's root");
  return { frontier, edge: Array.from(edge, (hashes) => hashes ?? []) };
}

/** The log of the head continues the log of an earlier tree head: the same leaves up to its size. */
async function requireContinued(
  { db }: Pick<RecoveryOptions, "db">,
  head: Head,
  earlier: TreeHead,
  problem: string,
): Promise<void> {
  if (earlier.size > head.size) throw new LogDamagedError(`${problem}: it was larger`);
  const then = await readFrontierFromTiles(earlier.size, tilesOf(db));
  if (!equalHashes(root(then), earlier.root)) throw new LogDamagedError(problem);
}

/** Checks the published checkpoint and publishes one of the head when the last epoch did not come to it. */
async function settleCheckpoint(options: RecoveryOptions, head: Head): Promise<void> {
  const { db, ring, origin } = options;
  const published = await readCheckpoint(db);
  if (published !== undefined) {
    // The Ed25519 signature says that the note is ours; the SM2 one over the same text would only say it again, slowly.
    const ours = ring.publicKeys().filter(({ use }) => use === "checkpoint");
    const checkpoint = openCheckpoint(published.note, checkpointVerifiers(ours, origin), origin);
    if (checkpoint === undefined || checkpoint.size !== published.size)
      throw new LogDamagedError("the published checkpoint is not signed by this log");
    await requireContinued(options, head, checkpoint, "the published checkpoint is of another log");
  }
  if (published?.size === head.size) return;
  await publishCheckpoint(db, head.size, await signCheckpoint(ring, head));
}
