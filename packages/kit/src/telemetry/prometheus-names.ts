import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";

/** UCUM units as Prometheus spells them at the end of a name (OpenTelemetry's Prometheus compatibility). */
const unitSuffixes: Readonly<Record<string, string>> = { s: "seconds", ms: "milliseconds", By: "bytes" };

/** Names with their units, as every other exporter and the dashboards have them: the JavaScript one leaves them out. */
export function withUnitSuffixes(metrics: ResourceMetrics): ResourceMetrics {
  return {
    ...metrics,
    scopeMetrics: metrics.scopeMetrics.map((scope) => ({
      ...scope,
      metrics: scope.metrics.map((metric) => {
        const suffix = unitSuffixes[metric.descriptor.unit];
        const { name } = metric.descriptor;
        if (suffix === undefined || name.endsWith(suffix)) return metric;
        return { ...metric, descriptor: { ...metric.descriptor, name: `${name}.${suffix}`, unit: suffix } };
      }),
    })),
  };
}
