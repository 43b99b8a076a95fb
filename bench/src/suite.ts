/** One measured value against what it is compared with. */
export interface Row {
  readonly measure: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline: number;
  /** value ÷ baseline (or the median of paired ratios). */
  readonly ratio: number;
  /** Of the ratio, or of the value where the measure is absolute. */
  readonly target: number;
  /** Whether the target is a floor (absent) or a ceiling. */
  readonly bound?: "at most";
  readonly ok: boolean;
  /** What each round gave, where there were rounds. */
  readonly rounds?: readonly number[];
  /** What helps to judge the value. */
  readonly notes?: readonly string[];
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

/** A row whose value (or, on request, whose ratio) has to stay below a ceiling. */
export function atMost(
  target: number,
  {
    bounds = "value",
    ...row
  }: Pick<Row, "measure" | "value" | "unit" | "baseline" | "notes"> & { readonly bounds?: "value" | "ratio" },
): Row {
  const ratio = row.value / row.baseline;
  return { ...row, ratio, target, bound: "at most", ok: (bounds === "value" ? row.value : ratio) <= target };
}

/** The nearest-rank percentile; `share` is between 0 and 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
