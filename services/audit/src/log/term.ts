import { type Database, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { KeyRing } from "@fujie/kit/keys";
import { root as rootOf } from "@fujie/transparency";
import { signCheckpoint } from "./checkpoints.ts";
import type { PreparedEntry } from "./entry.ts";
import { openNameNumbers } from "./names.ts";
import type { Recovered, TreeHead } from "./recovery.ts";
import { createPartitions, insertionOf, namesIn, publishCheckpoint, sendHeadMove, sendTiles } from "./store.ts";
import { type FullTile, growTree } from "./tree.ts";

/** Commits under way at once: while one waits for the disk, the next one writes its rows. */
const BATCHES_OUT_MAX = 2;
const BATCH_ENTRIES_MAX = 400;

export interface TermOptions {
  readonly db: Database;
  readonly ring: Pick<KeyRing, "sign" | "publicKeys">;
  readonly origin: string;
  readonly partitionEntries: number;
  /** Called before the signature of each tree head is made. */
  readonly onSign: (head: TreeHead) => void;
}

/** The lead over the log from one recovery to the first failure. */
export interface Term {
  /** Seals entries in this order. */
  append(entries: readonly Waiting[]): void;
  /** Resolves with the reason when the term is over. */
  readonly ended: Promise<unknown>;
  end(reason: unknown): void;
  /** Resolves when nothing is under way. */
  settled(): Promise<void>;
  readonly isOver: boolean;
  /** Entries committed so far. */
  readonly size: number;
}

/** An entry that somebody waits for. */
export interface Waiting {
  readonly entry: PreparedEntry;
  /** Called with the entry's index once the checkpoint over it is published. */
  readonly resolve: (index: number) => void;
  /** Called with DEPENDENCY_UNAVAILABLE when the term ended before: whether the entry is in the log is not known. */
  readonly reject: (error: DomainError) => void;
}

interface Batch {
  readonly begin: number;
  readonly waiting: readonly Waiting[];
  readonly full: readonly FullTile[];
  readonly after: TreeHead;
}

/**
 * Seals what it is given, in batches:
 *
 *   queue ─▶ indexes assigned, tree grown ─▶ one transaction: entries, tiles, head by compare-and-swap ─▶ committed
 *         ─▶ checkpoint signed ─▶ published ─▶ acknowledged
 *
 * A batch leaves at once while fewer than two are out; else entries gather, so that load makes the batches larger.
 * The head of a batch moves after the commit of the one before. Whatever fails ends the term: what was committed is
 * found by the next recovery, and callers try again under the same event ids.
 *
 * Never two roots for one size: a root is signed only after the commit that made it the head's at that size, which the
 * compare-and-swap (and the database's own trigger) lets happen once. A batch that fails leaves nothing signed, and a
 * commit of unknown outcome is not signed by this term; recovery signs it if it is there.
 */
export function startTerm(options: TermOptions, recovered: Recovered): Term {
  const { db, ring, origin, partitionEntries, onSign } = options;
  const ending = Promise.withResolvers<unknown>();
  const names = openNameNumbers(db);
  let ended = false;
  let tree = recovered.tree;
  let committedSize = tree.frontier.size;
  let partitionsUntil = recovered.partitionsUntil;
  let creatingPartitions = false;
  let out = 0;
  let lastCommit: Promise<void> = Promise.resolve();
  let queue: Waiting[] = [];
  let unpublished: Batch[] = [];
  let publishing = false;
  let onSettled: (() => void)[] = [];

  function end(reason: unknown): void {
    if (ended) return;
    ended = true;
    const left = [...unpublished.flatMap(({ waiting }) => waiting), ...queue];
    [queue, unpublished] = [[], []];
    rejectAll(left);
    ending.resolve(reason);
  }

  function append(entries: readonly Waiting[]): void {
    queue.push(...entries);
    if (ended) rejectAll(queue.splice(0));
    launchBatches();
  }

  function launchBatches(): void {
    while (!ended && out < BATCHES_OUT_MAX && queue.length > 0) {
      const waiting = queue.slice(0, BATCH_ENTRIES_MAX);
      queue = queue.slice(BATCH_ENTRIES_MAX);
      out += 1;
      const batch = prepareBatch(waiting);
      const committing = commitBatch(batch, lastCommit);
      lastCommit = committing;
      void follow(batch, committing);
    }
  }

  function prepareBatch(waiting: readonly Waiting[]): Batch {
    const begin = tree.frontier.size;
    const grown = growTree(
      tree,
      waiting.map(({ entry }) => entry.leafHash),
    );
    tree = grown.tree;
    const after = { size: tree.frontier.size, root: rootOf(tree.frontier) };
    return { begin, waiting, full: grown.full, after };
  }

  async function commitBatch({ begin, waiting, full, after }: Batch, before: Promise<void>): Promise<void> {
    const entries = waiting.map(({ entry }) => entry);
    const numbers = await names.of(namesIn(entries));
    await transaction(
      db,
      async (tx) => {
        // Nobody waits for what each of them gives: a batch is two round trips.
        tx.send(insertionOf(begin, entries, numbers));
        sendTiles(tx, full);
        await before;
        const { size: to, root } = after;
        sendHeadMove(tx, { epoch: recovered.epoch, from: begin, to, root, sealed: countByService(entries) });
      },
      { retries: 0 },
    );
  }

  async function follow(batch: Batch, committing: Promise<void>): Promise<void> {
    try {
      await committing;
      committedSize = batch.after.size;
      if (ended) rejectAll(batch.waiting);
      else unpublished.push(batch);
    } catch (error) {
      rejectAll(batch.waiting);
      end(error);
    }
    out -= 1;
    launchBatches();
    keepPartitionsAhead();
    if (!publishing) await publishAll();
    notifySettled();
  }

  /** Signs the newest commit only: under load one checkpoint covers several batches. */
  async function publishAll(): Promise<void> {
    publishing = true;
    while (unpublished.length > 0) {
      const batches = unpublished;
      unpublished = [];
      const newest = batches.at(-1)?.after;
      try {
        if (newest !== undefined) await publish(newest);
        for (const { begin, waiting } of batches)
          for (const [at, { resolve }] of waiting.entries()) resolve(begin + at);
      } catch (error) {
        rejectAll(batches.flatMap(({ waiting }) => waiting));
        end(error);
      }
    }
    publishing = false;
  }

  async function publish(head: TreeHead): Promise<void> {
    onSign(head);
    await publishCheckpoint(db, head.size, await signCheckpoint(ring, { origin, ...head }));
  }

  /** At half a partition's distance; a failure is met again at the next batch, long before it matters. */
  function keepPartitionsAhead(): void {
    const until = committedSize + Math.ceil(partitionEntries / 2);
    if (ended || creatingPartitions || until <= partitionsUntil) return;
    creatingPartitions = true;
    createPartitions(db, until, partitionEntries)
      .then((reached) => {
        partitionsUntil = reached;
      })
      .catch(() => {})
      .finally(() => {
        creatingPartitions = false;
        notifySettled();
      });
  }

  const isSettled = () => out === 0 && queue.length === 0 && !publishing && !creatingPartitions;

  function notifySettled(): void {
    if (!isSettled()) return;
    const listeners = onSettled;
    onSettled = [];
    for (const listener of listeners) listener();
  }

  return {
    append,
    ended: ending.promise,
    end,
    settled: () => new Promise((resolve) => (isSettled() ? resolve() : onSettled.push(resolve))),
    get isOver() {
      return ended;
    },
    get size() {
      return committedSize;
    },
  };
}

function countByService(entries: readonly PreparedEntry[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { entry } of entries) counts.set(entry.service, (counts.get(entry.service) ?? 0) + 1);
  return counts;
}

/** Whether the entries are in the log is not known to the caller: asking again under the same ids tells. */
export function interrupted(): DomainError {
  return new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "sequencer", retryDelayMs: 200 });
}

export function rejectAll(waiting: readonly Waiting[]): void {
  for (const { reject } of waiting) reject(interrupted());
}
