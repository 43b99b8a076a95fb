/** The one source of time of a service. Tests inject their own; production code never reads the system clock itself. */
export interface Clock {
  /** Now, in milliseconds since the epoch. */
  nowMs(): number;
}

export const systemClock: Clock = { nowMs: () => Date.now() };

/** A clock that stands still until it is moved, for tests. */
export interface ManualClock extends Clock {
  advance(ms: number): void;
  set(nowMs: number): void;
}

export function manualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  return {
    nowMs: () => nowMs,
    advance: (ms) => {
      nowMs += ms;
    },
    set: (ms) => {
      nowMs = ms;
    },
  };
}
