import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import type { TelemetryOptions } from "./telemetry.ts";

const TIMEOUT_MS = 5_000;

/** Exporters to an OTLP/gRPC collector, for example "http://127.0.0.1:4317". */
export function otlpExporters(url: string): Required<Pick<TelemetryOptions, "spanExporter" | "metricExporter">> {
  return {
    spanExporter: new OTLPTraceExporter({ url, timeoutMillis: TIMEOUT_MS }),
    metricExporter: new OTLPMetricExporter({ url, timeoutMillis: TIMEOUT_MS }),
  };
}
