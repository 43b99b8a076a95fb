/** Sets traces and metrics of one service up: nothing here is process-wide but the way the active span travels. */
import { randomUUID } from "node:crypto";
import type { Attributes, Meter } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, type MetricProducer, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import { systemClock } from "../clock/index.ts";
import { createHistogram, durationBoundaries, type SeriesHistogram } from "./histogram.ts";
import { observeRuntime } from "./runtime-gauges.ts";
import { createCallSpans, createSampler, installContextManager } from "./spans.ts";
import type { DatabaseObservation, PoolState, RpcObservation, Telemetry, TelemetryOptions } from "./telemetry.ts";

const SCOPE = "fujie";
const METRIC_INTERVAL_MS = 15_000;
const EXPORT_TIMEOUT_MS = 5_000;
const SPAN_QUEUE_MAX = 2_048;
/** A collector that is away must not hold up the end of the service. */
const SHUTDOWN_TIMEOUT_MS = 3_000;

export function startTelemetry(options: TelemetryOptions): Telemetry {
  const { service, environment, otlpEndpoint, traceRatio, clock = systemClock } = options;
  installContextManager();
  const resource = resourceFromAttributes({
    "service.name": service,
    "service.namespace": SCOPE,
    "service.instance.id": randomUUID(),
    "deployment.environment.name": environment,
  });

  const exporter = options.spanExporter ?? traceExporterTo(otlpEndpoint);
  const tracerProvider = startTracing(resource, traceRatio, exporter);
  const tracer = tracerProvider.getTracer(SCOPE);

  const histogramOf = (name: string, description: string) =>
    createHistogram({ name, description, boundaries: durationBoundaries, clock });
  const served = histogramOf("rpc.server.call.duration", "Duration of calls served");
  const called = histogramOf("rpc.client.call.duration", "Duration of calls made to peers");
  const queried = histogramOf("db.client.operation.duration", "Duration of database statements");

  const producer = producerOf(resource, [served, called, queried]);
  // The server of this exporter never starts: the admin port serves the text.
  const prometheus = new PrometheusExporter({ preventServerStart: true, metricProducers: [producer] });
  const serializer = new PrometheusSerializer("", false, undefined, false, true);
  const meterProvider = new MeterProvider({ resource, readers: [prometheus, ...pushTo(otlpEndpoint, producer)] });
  const meter = meterProvider.getMeter(SCOPE);
  const runtime = observeRuntime(meter);

  return {
    meter,
    tracer,
    ...createCallSpans({ tracer, traceRatio, records: exporter !== undefined }),
    recordRpc: (call) => recordCall(served, call),
    recordClientRpc: (call) => recordCall(called, call),
    recordDatabase: (operation) => recordOperation(queried, operation),
    observePool: (pool, read) => observePool(meter, pool, read),
    observeGauge: (name, description, read, attributes = {}) =>
      observeGauge(meter, name, { description }, (report) => report(read(), attributes)),
    async prometheusText() {
      // A gauge that cannot be read is left out; the others still count.
      const { resourceMetrics } = await prometheus.collect();
      return serializer.serialize(resourceMetrics);
    },
    async [Symbol.asyncDispose]() {
      runtime[Symbol.dispose]();
      await within(SHUTDOWN_TIMEOUT_MS, Promise.allSettled([tracerProvider.shutdown(), meterProvider.shutdown()]));
    },
  };
}

function traceExporterTo(otlpEndpoint: string | undefined): SpanExporter | undefined {
  if (otlpEndpoint === undefined) return undefined;
  return new OTLPTraceExporter({ url: otlpEndpoint, timeoutMillis: EXPORT_TIMEOUT_MS });
}

function startTracing(resource: Resource, traceRatio: number, exporter: SpanExporter | undefined): TracerProvider {
  const processor = exporter && new BatchSpanProcessor({ exporter, maxQueueSize: SPAN_QUEUE_MAX });
  return new TracerProvider({
    resource,
    sampler: createSampler(processor === undefined ? 0 : traceRatio),
    spanProcessors: processor === undefined ? [] : [processor],
  });
}

function pushTo(otlpEndpoint: string | undefined, producer: MetricProducer): PeriodicExportingMetricReader[] {
  if (otlpEndpoint === undefined) return [];
  const exporter = new OTLPMetricExporter({ url: otlpEndpoint, timeoutMillis: EXPORT_TIMEOUT_MS });
  return [
    new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: METRIC_INTERVAL_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      metricProducers: [producer],
    }),
  ];
}

function producerOf(resource: Resource, histograms: readonly SeriesHistogram[]): MetricProducer {
  return {
    collect: async () => ({
      resourceMetrics: {
        resource,
        scopeMetrics: [{ scope: { name: SCOPE }, metrics: histograms.map((histogram) => histogram.collect()) }],
      },
      errors: [],
    }),
  };
}

function recordCall(histogram: SeriesHistogram, { method, code, seconds, system = "grpc" }: RpcObservation): void {
  const attributes = () => ({
    "rpc.system.name": system,
    "rpc.method": method,
    "rpc.response.status_code": code,
  });
  histogram.series(system, method, code, attributes).record(seconds);
}

function recordOperation(histogram: SeriesHistogram, { statement, seconds, error }: DatabaseObservation): void {
  const attributes = (): Attributes => ({
    "db.system.name": "postgresql",
    "db.operation.name": statement,
    ...(error === undefined ? {} : { "error.type": error }),
  });
  histogram.series("postgresql", statement, error ?? "", attributes).record(seconds);
}

function observePool(meter: Meter, pool: string, read: () => PoolState): Disposable {
  const name = { "db.client.connection.pool.name": pool };
  const gauges = new DisposableStack();
  gauges.use(
    observeGauge(meter, "db.client.connection.count", { description: "Connections by state" }, (report) => {
      const { used, idle } = read();
      report(used, { ...name, "db.client.connection.state": "used" });
      report(idle, { ...name, "db.client.connection.state": "idle" });
    }),
  );
  const pending = { description: "Requests that wait for a connection" };
  gauges.use(
    observeGauge(meter, "db.client.connection.pending_requests", pending, (report) => report(read().pending, name)),
  );
  const max = { description: "Connections allowed" };
  gauges.use(observeGauge(meter, "db.client.connection.max", max, (report) => report(read().max, name)));
  return gauges;
}

type Report = (value: number, attributes: Attributes) => void;

function observeGauge(
  meter: Meter,
  name: string,
  options: { readonly description: string },
  read: (report: Report) => void,
): Disposable {
  const gauge = meter.createObservableGauge(name, options);
  const callback: Parameters<typeof gauge.addCallback>[0] = (result) =>
    read((value, attributes) => result.observe(value, attributes));
  gauge.addCallback(callback);
  return { [Symbol.dispose]: () => gauge.removeCallback(callback) };
}

async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeoutMs);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
