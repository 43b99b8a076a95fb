/** One measured value against what it is compared with. */
export interface Row {
  readonly measure: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline: number;
  /** value ÷ baseline (or the median of paired ratios): above 1 is better. */
  readonly ratio: number;
  readonly target: number;
  readonly ok: boolean;
}

export interface SuiteResult {
  readonly suite: string;
  readonly machine: string;
  readonly rows: readonly Row[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
