/**
 * How long a source took to answer, over the last minutes. Counts by duration, so that recording costs an addition and
 * the percentile a walk over a fixed number of counts: whole milliseconds up to 32, then steps of 5 %.
 */
import type { Clock } from "@fujie/kit/clock";

const SLICES = 10;
const SLICE_MS = 30_000;
const FINE_MS = 32;
const STEP = Math.log(1.05);
const DURATION_MS_MAX = 600_000;
const BUCKETS = bucketOf(DURATION_MS_MAX) + 1;

export interface LatencyWindow {
  record(durationMs: number): void;
  /** The 95th percentile in whole milliseconds; undefined without a sample. */
  p95Ms(): number | undefined;
  /** The 99th, likewise. */
  p99Ms(): number | undefined;
}

export function latencyWindow(clock: Clock): LatencyWindow {
  const total = new Uint32Array(BUCKETS);
  const slices = Array.from({ length: SLICES }, () => new Uint32Array(BUCKETS));
  let present = Math.floor(clock.nowMs() / SLICE_MS);
  let samples = 0;
  const known = new Map<number, number>();

  function forgetOld(): void {
    const now = Math.floor(clock.nowMs() / SLICE_MS);
    for (let past = Math.max(present + 1, now - SLICES + 1); past <= now; past += 1) {
      const slice = slices[past % SLICES];
      if (slice === undefined) continue;
      for (let i = 0; i < BUCKETS; i += 1) {
        const count = slice[i] ?? 0;
        samples -= count;
        total[i] = (total[i] ?? 0) - count;
      }
      slice.fill(0);
      known.clear();
    }
    present = Math.max(present, now);
  }

  function walk(share: number): number {
    let left = Math.ceil(share * samples);
    for (let i = 0; i < BUCKETS; i += 1) {
      left -= total[i] ?? 0;
      if (left <= 0) return durationOf(i);
    }
    return DURATION_MS_MAX;
  }

  function percentile(share: number): number | undefined {
    forgetOld();
    if (samples === 0) return undefined;
    const durationMs = known.get(share) ?? walk(share);
    known.set(share, durationMs);
    return durationMs;
  }

  return {
    record: (durationMs) => {
      forgetOld();
      const bucket = bucketOf(durationMs);
      const slice = slices[present % SLICES];
      if (slice !== undefined) slice[bucket] = (slice[bucket] ?? 0) + 1;
      total[bucket] = (total[bucket] ?? 0) + 1;
      samples += 1;
      known.clear();
    },
    p95Ms: () => percentile(0.95),
    p99Ms: () => percentile(0.99),
  };
}

function bucketOf(durationMs: number): number {
  const ms = Math.min(DURATION_MS_MAX, Math.max(0, Math.round(durationMs)));
  return ms < FINE_MS ? ms : FINE_MS + Math.floor(Math.log(ms / FINE_MS) / STEP);
}

/** The middle of a bucket. */
function durationOf(bucket: number): number {
  return bucket < FINE_MS ? bucket : Math.round(FINE_MS * Math.exp((bucket - FINE_MS + 0.5) * STEP));
}
