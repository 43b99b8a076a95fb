import type { Answer } from "./source.ts";

/** Lets identical questions that are asked at the same time share one paid check, within one application only. */
export interface Coalescer {
  /** Runs `ask`, or gives the answer of the one that runs under the same key. Keys hold keyed digests, no elements. */
  share(key: string, ask: () => Promise<Answer>): Promise<Answer>;
}

export function createCoalescer(): Coalescer {
  const running = new Map<string, Promise<Answer>>();
  return {
    share: (key, ask) => {
      const known = running.get(key);
      if (known !== undefined) return known;
      const asked = ask().finally(() => running.delete(key));
      running.set(key, asked);
      return asked;
    },
  };
}
