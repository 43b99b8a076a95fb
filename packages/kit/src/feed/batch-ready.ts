import { setImmediate as nextTurn } from "node:timers/promises";
import type { Timers } from "../timers/index.ts";

export interface BatchOptions {
  readonly batchMax: number;
  /** After how long without a message the stream counts as dead. */
  readonly silenceMs: number;
  readonly timers: Timers;
  readonly signal: AbortSignal;
}

/**
 * Gathers what has arrived by the time it is asked for: one message when they come slowly, up to `batchMax` when they
 * come faster than they are worked off. Reads at most one message ahead.
 * @throws Error when the source is silent for too long, and what the source throws.
 */
export async function* batchReady<T>(source: AsyncIterable<T>, options: BatchOptions): AsyncGenerator<T[]> {
  const iterator = source[Symbol.asyncIterator]();
  let next = readNext(iterator);
  while (!options.signal.aborted) {
    const first = await orSilence(next, options);
    if (first.done === true) return;
    const batch = [first.value];
    next = readNext(iterator);
    let ended = false;
    while (batch.length < options.batchMax) {
      // A failure comes up at the next wait, after what came before it was worked off.
      const ready = await Promise.race([next.catch(() => undefined), nextTurn(undefined)]);
      if (ready === undefined || ready.done === true) {
        ended = ready?.done === true;
        break;
      }
      batch.push(ready.value);
      next = readNext(iterator);
    }
    yield batch;
    if (ended) return;
  }
}

function readNext<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  const next = iterator.next();
  // It may fail while nobody waits for it.
  next.catch(() => {});
  return next;
}

async function orSilence<T>(next: Promise<T>, { timers, silenceMs, signal }: BatchOptions): Promise<T> {
  const heard = new AbortController();
  const either = AbortSignal.any([heard.signal, signal]);
  const silence = timers.sleep(silenceMs, either).then(() => {
    throw new Error(signal.aborted ? "the follower stops" : `no message for ${silenceMs} ms`);
  });
  try {
    return await Promise.race([next, silence]);
  } finally {
    heard.abort();
  }
}
