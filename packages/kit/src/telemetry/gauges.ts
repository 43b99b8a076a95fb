/**
 * Gauges that somebody else owns: read when metrics are collected, gone once disposed. (An observable gauge of the SDK
 * keeps telling its last value after its callback was removed.)
 */
import { type Attributes, ValueType } from "@opentelemetry/api";
import { AggregationTemporality, DataPointType, type GaugeMetricData } from "@opentelemetry/sdk-metrics";
import type { Clock } from "../clock/index.ts";
import { hrTimeOf } from "./histogram.ts";

export type Report = (value: number, attributes: Attributes) => void;

export interface Gauge {
  readonly name: string;
  readonly description: string;
  readonly read: (report: Report) => void;
}

export interface Gauges {
  add(gauge: Gauge): Disposable;
  /** One metric per name, with the points of all gauges of that name. */
  collect(): readonly GaugeMetricData[];
}

export function createGauges(clock: Clock): Gauges {
  const gauges = new Set<Gauge>();
  return {
    add(gauge) {
      gauges.add(gauge);
      return { [Symbol.dispose]: () => gauges.delete(gauge) };
    },
    collect() {
      const time = hrTimeOf(clock.nowMs());
      return [...Map.groupBy(gauges, ({ name }) => name)].map(([name, sameName]): GaugeMetricData => {
        const dataPoints: GaugeMetricData["dataPoints"] = [];
        const report: Report = (value, attributes) =>
          void dataPoints.push({ startTime: time, endTime: time, attributes, value });
        for (const gauge of sameName) gauge.read(report);
        return {
          descriptor: { name, description: sameName[0]?.description ?? "", unit: "", valueType: ValueType.DOUBLE },
          aggregationTemporality: AggregationTemporality.CUMULATIVE,
          dataPointType: DataPointType.GAUGE,
          dataPoints,
        };
      });
    },
  };
}
