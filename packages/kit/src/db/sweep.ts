import type { Logger } from "../log/index.ts";
import { systemTimers, type Timers } from "../timers/index.ts";

/** Does what is due to at most `batchMax` rows (removes, ends, counts them) and returns to how many. */
export type SweepTask = (batchMax: number) => Promise<number>;

export interface SweepOptions {
  /** By name, for the log: `{ requests: (max) => purgeRequests(db, clock.nowMs(), max) }`. */
  readonly tasks: Readonly<Record<string, SweepTask>>;
  readonly everyMs: number;
  readonly batchMax: number;
  readonly log: Pick<Logger, "warn">;
  readonly timers?: Timers;
}

/**
 * Runs the tasks now and then every `everyMs`, each in small batches until nothing is left, with a pause as long as
 * the batch took: a backlog of millions never takes more than half of one connection. Replicas may run it at
 * once. A task that fails is logged and tried again next time.
 */
export function startSweeps(options: SweepOptions): AsyncDisposable {
  const stop = new AbortController();
  const running = sweepForEver(options, stop.signal);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

async function sweepForEver(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { timers = systemTimers } = options;
  while (!signal.aborted) {
    for (const [name, task] of Object.entries(options.tasks)) {
      await sweepAll(task, options.batchMax, timers, signal).catch((error: unknown) => {
        options.log.warn({ error, task: name }, "a sweep failed");
      });
    }
    await timers.sleep(options.everyMs, signal);
  }
}

async function sweepAll(task: SweepTask, batchMax: number, timers: Timers, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const started = performance.now();
    if ((await task(batchMax)) < batchMax) return;
    await timers.sleep(performance.now() - started, signal);
  }
}
