import { draw } from "../people/draw.ts";

/** The spread of the logarithm: the slowest answer in a hundred takes about three times the median. */
const SIGMA = 0.5;
const LONGEST_TIMES_MEDIAN = 20;
const STEPS = 2 ** 30;

/**
 * How long a source takes: log-normal around the median, as answers over networks are. The same seed takes the same
 * time, so that a slow case can be repeated. In milliseconds, at most twenty medians.
 */
export function drawLatencyMs(medianMs: number, seed: string): number {
  const radius = Math.sqrt(-2 * Math.log((draw(0, 0, `${seed} radius`, STEPS) + 1) / STEPS));
  const angle = (2 * Math.PI * draw(0, 0, `${seed} angle`, STEPS)) / STEPS;
  const normal = radius * Math.cos(angle);
  return Math.min(medianMs * Math.exp(SIGMA * normal), medianMs * LONGEST_TIMES_MEDIAN);
}
