import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Copyable, Queryable } from "@fujie/kit/db";
import type { CheckedWindow, Known, ReadWindow } from "./check-rows.ts";
import { readWindow, type Windows } from "./window.ts";

/** A thread answers in the order in which it is asked. */
export type WindowAnswer = { readonly window: CheckedWindow } | { readonly error: unknown };

const THREADS_MAX = 4;
const WINDOWS_PER_THREAD = 2;
/** Each takes a connection or two. */
const READS_AT_ONCE = 2;

interface Waiting {
  readonly resolve: (window: CheckedWindow) => void;
  readonly reject: (error: unknown) => void;
}

/** Windows that are read here and hashed by as many threads as the machine runs at once, four at most. */
export function startThreads(db: Queryable & Copyable, known: Known): Windows {
  const threads = Array.from({ length: Math.min(THREADS_MAX, availableParallelism()) }, () => startThread(known));
  /** The last reads that were asked for: each begins when the one before the last has ended. */
  let reads: readonly Promise<unknown>[] = [];
  let next = 0;
  return {
    check: async (begin, end) => {
      const thread = threads[next % threads.length];
      next += 1;
      if (thread === undefined) throw new Error("no thread was started");
      const reading = readAfter(reads.at(-READS_AT_ONCE), db, begin, end);
      reads = [...reads, reading.catch(() => {})].slice(-READS_AT_ONCE);
      return thread.check(await reading);
    },
    ahead: WINDOWS_PER_THREAD * threads.length + READS_AT_ONCE,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...threads.map(({ stop }) => stop()), ...reads]);
    },
  };
}

async function readAfter(
  before: Promise<unknown> | undefined,
  db: Queryable & Copyable,
  begin: number,
  end: number,
): Promise<ReadWindow> {
  await before;
  return readWindow(db, begin, end);
}

function startThread(known: Known) {
  const worker = new Worker(new URL("./thread.ts", import.meta.url), { workerData: known });
  let waiting: Waiting[] = [];
  let broken: unknown;
  const fail = (error: unknown): void => {
    broken = error;
    for (const { reject } of waiting) reject(error);
    waiting = [];
  };
  worker.on("message", (answer: WindowAnswer) => {
    const first = waiting.shift();
    if ("error" in answer) first?.reject(answer.error);
    else first?.resolve(answer.window);
  });
  worker.on("error", fail);
  worker.on("exit", () => fail(broken ?? new Error("a thread of the verification ended")));
  return {
    check: (window: ReadWindow): Promise<CheckedWindow> => {
      if (broken !== undefined) return Promise.reject(broken);
      const { promise, resolve, reject } = Promise.withResolvers<CheckedWindow>();
      waiting.push({ resolve, reject });
      worker.postMessage(window, [window.rows.buffer]);
      return promise;
    },
    stop: () => worker.terminate(),
  };
}
