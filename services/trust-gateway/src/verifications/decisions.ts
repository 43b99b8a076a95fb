import { createNudge, type Timers } from "@fujie/kit/timers";

/** Who waits in this process for verifications to be decided. */
export interface Decisions {
  /** Follows a verification from now on. To miss no decision, one follows first and reads the verification then. */
  follow(verificationId: string): Follower;
  wake(verificationId: string): void;
}

export interface Follower extends Disposable {
  /** Returns once it was woken since the last wait, after `ms`, or when the signal is aborted, whichever is first. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export function createDecisions(timers: Timers): Decisions {
  const followers = new Map<string, Set<() => void>>();
  return {
    follow: (verificationId) => {
      const { nudge, wait } = createNudge();
      const others = followers.get(verificationId) ?? new Set();
      followers.set(verificationId, others.add(nudge));
      return {
        wait: (ms, signal) => wait(ms, timers, signal),
        [Symbol.dispose]: () => {
          others.delete(nudge);
          if (others.size === 0) followers.delete(verificationId);
        },
      };
    },
    wake: (verificationId) => {
      for (const wake of followers.get(verificationId) ?? []) wake();
    },
  };
}
