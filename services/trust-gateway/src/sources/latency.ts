import type { Clock } from "@fujie/kit/clock";

const SAMPLES_MAX = 512;
const KEEP_MS = 5 * 60_000;
const PERCENTILE = 0.95;

/** How long a source took to answer, over the last minutes. */
export interface LatencyWindow {
  record(durationMs: number): void;
  /** The 95th percentile in whole milliseconds; undefined without a sample. */
  p95Ms(): number | undefined;
}

export function latencyWindow(clock: Clock): LatencyWindow {
  let samples: readonly { readonly atMs: number; readonly durationMs: number }[] = [];
  return {
    record: (durationMs) => {
      samples = [...samples.slice(1 - SAMPLES_MAX), { atMs: clock.nowMs(), durationMs }];
    },
    p95Ms: () => {
      const durations = samples
        .filter(({ atMs }) => atMs > clock.nowMs() - KEEP_MS)
        .map(({ durationMs }) => durationMs)
        .sort((a, b) => a - b);
      const found = durations[Math.ceil(PERCENTILE * durations.length) - 1];
      return found === undefined ? undefined : Math.round(found);
    },
  };
}
