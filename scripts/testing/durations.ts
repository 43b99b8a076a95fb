import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "./programs.ts";

/** Seconds by test file, as the last runs took on this machine. */
type Durations = Readonly<Record<string, number>>;

const memory = join(root, ".cache", "test-seconds.json");

/**
 * The files in the order to run them: the longest first, so that none runs alone at the end. Of those that never ran
 * here, the ones through whole programs come before those beside the code.
 */
export function longestFirst(files: readonly string[], file: string = memory): string[] {
  const known = readDurations(file);
  const secondsOf = (test: string): number => known[test] ?? (test.includes("/tests/") ? 10 : 1);
  return files.toSorted((a, b) => secondsOf(b) - secondsOf(a));
}

export function rememberDurations(results: readonly { file: string; seconds: number }[], file: string = memory): void {
  const measured = Object.fromEntries(results.map((result) => [result.file, Number(result.seconds.toFixed(1))]));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...readDurations(file), ...measured }, undefined, 2)}\n`);
}

/** Only the order hangs on it: a file that is missing or damaged is as good as none. */
function readDurations(file: string): Durations {
  try {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter(([, seconds]) => typeof seconds === "number"));
  } catch {
    return {};
  }
}
