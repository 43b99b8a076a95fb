import type { Timers } from "@fujie/kit/timers";

/** Who waits in this process for a verification to be decided. */
export interface Decisions {
  /** Returns after `wake`, after `ms`, or when the signal is aborted, whichever is first. */
  wait(verificationId: string, ms: number, signal: AbortSignal): Promise<void>;
  wake(verificationId: string): void;
}

export function createDecisions(timers: Timers): Decisions {
  const waiting = new Map<string, Set<() => void>>();
  return {
    wait: async (verificationId, ms, signal) => {
      const early = new AbortController();
      const wake = () => early.abort();
      const others = waiting.get(verificationId) ?? new Set();
      waiting.set(verificationId, others.add(wake));
      await timers.sleep(ms, AbortSignal.any([early.signal, signal]));
      others.delete(wake);
      if (others.size === 0) waiting.delete(verificationId);
    },
    wake: (verificationId) => {
      for (const wake of waiting.get(verificationId) ?? []) wake();
    },
  };
}
