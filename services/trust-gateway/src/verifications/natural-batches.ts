/**
 * Natural micro-batches: what comes while earlier batches are out goes together in the next one. A lone item goes at
 * once; under load a batch is as large as what came in the time that one takes, so that no timer has to be tuned.
 */
import { DomainError } from "@fujie/kit/errors";

export interface NaturalBatchesOptions<Item, Result> {
  /** Does the work of one batch and gives a result for each item, in their order. When it rejects, all of them fail. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** Items of one batch at most. */
  readonly sizeMax: number;
  /** Batches out at once at most. */
  readonly outMax: number;
  /** Items that wait at most; one more is refused with OVERLOADED. */
  readonly waitingMax: number;
}

export interface NaturalBatches<Item, Result> {
  /** Items begin in the order in which they were submitted. */
  submit(item: Item): Promise<Result>;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export function naturalBatches<Item, Result>(
  options: NaturalBatchesOptions<Item, Result>,
): NaturalBatches<Item, Result> {
  const { run, sizeMax, outMax, waitingMax } = options;
  const waiting: Waiting<Item, Result>[] = [];
  let out = 0;
  let scheduled = false;

  // What arrives in the same turn of the event loop shares a batch.
  const schedule = (): void => {
    if (scheduled || out >= outMax || waiting.length === 0) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      while (out < outMax && waiting.length > 0) void send(waiting.splice(0, sizeMax));
    });
  };

  async function send(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    out += 1;
    try {
      const results = await run(batch.map(({ item }) => item));
      if (results.length !== batch.length) throw new RangeError("a batch gave another number of results than items");
      for (const [i, result] of results.entries()) batch[i]?.resolve(result);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    out -= 1;
    schedule();
  }

  return {
    submit: (item) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= waitingMax) {
          reject(new DomainError("OVERLOADED", { retryDelayMs: 100 }));
          return;
        }
        waiting.push({ item, resolve, reject });
        schedule();
      }),
  };
}
