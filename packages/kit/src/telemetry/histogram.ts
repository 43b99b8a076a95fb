/**
 * A histogram for the hottest paths. The SDK's own sorts and hashes the attributes at every record; here a caller holds
 * on to a series and a record is a bucket search and four additions. The sums reach the exporters through a
 * MetricProducer, in the same shape as the SDK's.
 */
import { type Attributes, type HrTime, ValueType } from "@opentelemetry/api";
import { AggregationTemporality, DataPointType, type HistogramMetricData } from "@opentelemetry/sdk-metrics";
import type { Clock } from "../clock/index.ts";

export interface Series {
  record(value: number): void;
}

export interface SeriesHistogram {
  /** The series of that system, name and outcome, made with these attributes at first use. */
  series(system: string, name: string, outcome: string, attributes: () => Attributes): Series;
  collect(): HistogramMetricData;
}

export interface HistogramOptions {
  readonly name: string;
  readonly description: string;
  /** Upper bounds in seconds, ascending. */
  readonly boundaries: readonly number[];
  readonly clock: Clock;
}

/** Beyond this many series the rest is recorded as one: a flood of names must not become a flood of memory. */
const SERIES_MAX = 2_000;

/** The boundaries that OpenTelemetry's conventions advise for durations of calls, in seconds, finer below 5 ms. */
export const durationBoundaries: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

interface Counts {
  readonly attributes: Attributes;
  readonly counts: number[];
  sum: number;
  count: number;
}

export function createHistogram(options: HistogramOptions): SeriesHistogram {
  const { boundaries, clock } = options;
  const all: (Counts & Series)[] = [];
  // Plain look-ups one below the other: joining the texts to one key would cost more than all the rest.
  const bySystem = new Map<string, Map<string, Map<string, Series>>>();
  const startTime = hrTimeOf(clock.nowMs());

  const add = (attributes: Attributes): Series => {
    const counts = new Array<number>(boundaries.length + 1).fill(0);
    const entry: Counts & Series = {
      attributes,
      counts,
      sum: 0,
      count: 0,
      record(value) {
        const index = bucketOf(boundaries, value);
        counts[index] = (counts[index] ?? 0) + 1;
        entry.sum += value;
        entry.count += 1;
      },
    };
    all.push(entry);
    return entry;
  };
  const overflow = lazily(() => add({ "otel.metric.overflow": true }));

  return {
    series(system, name, outcome, attributes) {
      const known = bySystem.get(system)?.get(outcome)?.get(name);
      if (known !== undefined) return known;
      if (all.length >= SERIES_MAX) return overflow();
      const series = add(attributes());
      const byOutcome = entryOf(bySystem, system, () => new Map<string, Map<string, Series>>());
      entryOf(byOutcome, outcome, () => new Map<string, Series>()).set(name, series);
      return series;
    },
    collect() {
      const endTime = hrTimeOf(clock.nowMs());
      return {
        descriptor: { name: options.name, description: options.description, unit: "s", valueType: ValueType.DOUBLE },
        aggregationTemporality: AggregationTemporality.CUMULATIVE,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: all.map(({ attributes, counts, sum, count }) => ({
          startTime,
          endTime,
          attributes,
          value: { buckets: { boundaries: [...boundaries], counts: [...counts] }, sum, count },
        })),
      };
    },
  };
}

/** Index of the first bucket whose upper bound is not below the value; the last one is open. */
function bucketOf(boundaries: readonly number[], value: number): number {
  let low = 0;
  let high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value <= (boundaries[middle] ?? Number.POSITIVE_INFINITY)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function entryOf<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}

function lazily<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

export function hrTimeOf(ms: number): HrTime {
  return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
}
