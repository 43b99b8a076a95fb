import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { CheckedWindow, Known, Windows } from "./window.ts";

/** What a thread starts with. */
export interface ThreadData extends Known {
  readonly url: string;
}

export interface WindowRequest {
  readonly begin: number;
  readonly end: number;
}

/** A thread answers in the order in which it is asked. */
export type WindowAnswer = { readonly window: CheckedWindow } | { readonly error: unknown };

const THREADS_MAX = 4;
const WINDOWS_PER_THREAD = 2;

interface Waiting {
  readonly resolve: (window: CheckedWindow) => void;
  readonly reject: (error: unknown) => void;
}

/** Windows of as many threads as the machine runs at once, four at most, each with a connection of its own. */
export function startThreads(url: string, known: Known): Windows {
  const threads = Array.from({ length: Math.min(THREADS_MAX, availableParallelism()) }, () => startThread(url, known));
  let next = 0;
  return {
    check: (begin, end) => {
      const thread = threads[next % threads.length];
      next += 1;
      if (thread === undefined) throw new Error("no thread was started");
      return thread.check({ begin, end });
    },
    ahead: WINDOWS_PER_THREAD * threads.length,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(threads.map(({ stop }) => stop()));
    },
  };
}

function startThread(url: string, { names, ranges }: Known) {
  const workerData: ThreadData = { url, names, ranges };
  const worker = new Worker(new URL("./thread.ts", import.meta.url), { workerData });
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
    check: (request: WindowRequest): Promise<CheckedWindow> => {
      if (broken !== undefined) return Promise.reject(broken);
      const { promise, resolve, reject } = Promise.withResolvers<CheckedWindow>();
      waiting.push({ resolve, reject });
      worker.postMessage(request);
      return promise;
    },
    stop: () => worker.terminate(),
  };
}
