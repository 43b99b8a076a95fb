import { setTimeout as delay } from "node:timers/promises";
import { type Clock, manualClock } from "../clock/index.ts";

/** Waiting, as something that is passed in: loops take it beside the clock, so that no test sleeps. */
export interface Timers {
  /** Resolves after `ms` milliseconds, or at once when the signal is aborted. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemTimers: Timers = {
  sleep: async (ms, signal) => {
    if (signal?.aborted === true) return;
    await delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => {});
  },
};

/** A clock and its timers that move only when told to, for tests. */
export interface ManualTime {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Moves the clock and wakes everybody whose time has come. */
  advance(ms: number): void;
  /** How many sleep now. */
  sleeping(): number;
}

export function manualTime(startMs: number): ManualTime {
  const clock = manualClock(startMs);
  const sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  return {
    clock,
    timers: {
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          const sleeper = {
            atMs: clock.nowMs() + ms,
            wake: () => {
              sleepers.delete(sleeper);
              signal?.removeEventListener("abort", sleeper.wake);
              resolve();
            },
          };
          if (ms <= 0 || signal?.aborted === true) return resolve();
          sleepers.add(sleeper);
          signal?.addEventListener("abort", sleeper.wake);
        }),
    },
    advance: (ms) => {
      clock.advance(ms);
      for (const sleeper of [...sleepers]) if (sleeper.atMs <= clock.nowMs()) sleeper.wake();
    },
    sleeping: () => sleepers.size,
  };
}

/** A wake-up call for a loop: a nudge while the loop works makes its next wait return at once. */
export interface Nudge {
  nudge(): void;
  /** Returns after a nudge, after `ms`, or when the signal is aborted, whichever is first. */
  wait(ms: number, timers: Timers, signal: AbortSignal): Promise<void>;
}

export function createNudge(): Nudge {
  let nudged = false;
  let wake: (() => void) | undefined;
  return {
    nudge: () => {
      nudged = true;
      wake?.();
    },
    wait: async (ms, timers, signal) => {
      if (!nudged && !signal.aborted) {
        const early = new AbortController();
        const onAbort = (): void => early.abort();
        wake = onAbort;
        signal.addEventListener("abort", onAbort, { once: true });
        await timers.sleep(ms, early.signal);
        signal.removeEventListener("abort", onAbort);
        wake = undefined;
      }
      nudged = false;
    },
  };
}

export interface BackoffBounds {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * How long to wait after the `failures`-th failure in a row (from 1): doubling from the base up to the cap, the upper
 * half of it random, so that those who failed together do not come back together.
 */
export function backoffMs(failures: number, bounds: BackoffBounds, random: () => number = Math.random): number {
  const full = Math.min(bounds.capMs, bounds.baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(full / 2 + (random() * full) / 2);
}
