import type { Answer } from "./source.ts";

/** Lets identical questions that are asked at the same time share one paid check, within one application only. */
export interface Coalescer {
  /** Whether a question under this key would share a check. */
  isAsking(key: string): boolean;
  /**
   * Runs `ask`, or gives the answer of the one that runs under the same key. Keys hold keyed digests, no elements.
   * The signal that `ask` gets is aborted once nobody needs the answer any more.
   */
  share(key: string, ask: (signal: AbortSignal) => Promise<Answer>, signal: AbortSignal): Promise<Answer>;
}

interface Running {
  readonly answer: Promise<Answer>;
  readonly noLongerNeeded: AbortController;
  needing: number;
}

export function createCoalescer(): Coalescer {
  const running = new Map<string, Running>();
  function start(key: string, ask: (signal: AbortSignal) => Promise<Answer>): Running {
    const noLongerNeeded = new AbortController();
    const forget = () => {
      if (running.get(key) === started) running.delete(key);
    };
    noLongerNeeded.signal.addEventListener("abort", forget);
    const started = { answer: ask(noLongerNeeded.signal).finally(forget), noLongerNeeded, needing: 0 };
    running.set(key, started);
    return started;
  }
  return {
    isAsking: (key) => running.has(key),
    share: (key, ask, signal) => {
      const one = running.get(key) ?? start(key, ask);
      one.needing += 1;
      const leave = () => {
        one.needing -= 1;
        if (one.needing === 0) one.noLongerNeeded.abort();
      };
      signal.addEventListener("abort", leave, { once: true });
      return one.answer;
    },
  };
}
