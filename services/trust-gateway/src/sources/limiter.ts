/**
 * How many calls a source gets at once, learnt from how long they take. Pure.
 *
 * The gradient of latencies, as TCP Vegas and Netflix's concurrency-limits do it: while calls take about as long as they
 * usually do the limit grows by a little; when they take longer they queue at the source, and the limit shrinks with the
 * ratio. A call that the source turned away for its load, or that ended in no answer, shrinks it by a tenth.
 */
export interface LimiterBounds {
  readonly min: number;
  readonly max: number;
}

export interface Limiter {
  /** Calls at once, whole, within the bounds. */
  limit(): number;
  /** A call has ended; `inFlight` counts it too. Dropped: no answer, or turned away for its load. */
  ended(call: { readonly durationMs: number; readonly inFlight: number; readonly dropped: boolean }): void;
}

/** How much longer than usual is still usual. */
const TOLERANCE = 2;
const SMOOTHING = 0.2;
const SHRINK = 0.9;
/** Weight of one call in what is usual: some hundred calls. */
const USUAL_WEIGHT = 1 / 300;
const NOW_WEIGHT = 1 / 10;

export function createLimiter({ min, max }: LimiterBounds): Limiter {
  let limit = max;
  let usualMs: number | undefined;
  let nowMs = 0;
  const within = (wanted: number): number => Math.min(max, Math.max(min, wanted));
  return {
    limit: () => Math.floor(limit),
    ended: ({ durationMs, inFlight, dropped }) => {
      if (dropped) {
        limit = within(limit * SHRINK);
        return;
      }
      // Below a millisecond nothing can be told.
      const sampleMs = Math.max(1, durationMs);
      nowMs = usualMs === undefined ? sampleMs : nowMs + (sampleMs - nowMs) * NOW_WEIGHT;
      usualMs = usualMs === undefined ? sampleMs : usualMs + (sampleMs - usualMs) * USUAL_WEIGHT;
      // After an overload what is usual comes down as fast as what is now.
      usualMs = Math.min(usualMs, nowMs * TOLERANCE);
      // A limit that nobody reaches tells nothing.
      const gradient = Math.max(0.5, Math.min(1, (TOLERANCE * usualMs) / nowMs));
      if (gradient === 1 && inFlight < limit / 2) return;
      const wanted = limit * gradient + Math.sqrt(limit);
      limit = within(limit + (wanted - limit) * SMOOTHING);
    },
  };
}
