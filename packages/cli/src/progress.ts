/** Tells a person at a terminal what is going on: one line per step, and a sign of life when a step takes long. */
export interface Progress {
  /** Runs a step; prints its name at once when it lasts longer than a second, and its time when it is done. */
  step<T>(name: string, run: () => Promise<T>): Promise<T>;
  say(line: string): void;
}

const SIGN_OF_LIFE_MS = 1_000;

export function terminalProgress(write: (line: string) => void): Progress {
  return {
    say: write,
    step: async (name, run) => {
      const startedMs = performance.now();
      const elapsed = () => `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
      const timer = setInterval(() => write(`  … ${name} (${elapsed()})`), SIGN_OF_LIFE_MS * 2);
      const first = setTimeout(() => write(`  … ${name}`), SIGN_OF_LIFE_MS);
      try {
        const result = await run();
        write(`  ✓ ${name} (${elapsed()})`);
        return result;
      } catch (error) {
        write(`  ✗ ${name} (${elapsed()})`);
        throw error;
      } finally {
        clearInterval(timer);
        clearTimeout(first);
      }
    },
  };
}
