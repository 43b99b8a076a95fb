/** Sets traces and metrics of one service up: nothing here is process-wide but the way the active span travels. */
import { randomUUID } from "node:crypto";
import type { Attributes } from "@opentelemetry/api";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  MeterProvider,
  type MetricData,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import { systemClock } from "../clock/index.ts";
import { createGauges, type Gauge, type Gauges } from "./gauges.ts";
import { createHistogram, durationBoundaries, type SeriesHistogram } from "./histogram.ts";
import { withUnitSuffixes } from "./prometheus-names.ts";
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
  const { service, environment, spanExporter, metricExporter, traceRatio, clock = systemClock } = options;
  installContextManager();
  const resource = resourceFromAttributes({
    "service.name": service,
    "service.namespace": SCOPE,
    "service.instance.id": randomUUID(),
    "deployment.environment.name": environment,
  });

  const tracerProvider = startTracing(resource, traceRatio, spanExporter);
  const tracer = tracerProvider.getTracer(SCOPE);

  const histogramOf = (name: string, description: string) =>
    createHistogram({ name, description, boundaries: durationBoundaries, clock });
  const served = histogramOf("rpc.server.call.duration", "Duration of calls served");
  const called = histogramOf("rpc.client.call.duration", "Duration of calls made to peers");
  const queried = histogramOf("db.client.operation.duration", "Duration of database statements");

  const gauges = createGauges(clock);

  const collect = () => [...[served, called, queried].map((histogram) => histogram.collect()), ...gauges.collect()];
  const producer = producerOf(resource, collect);
  // The server of this exporter never starts: the admin port serves the text.
  const prometheus = new PrometheusExporter({ preventServerStart: true, metricProducers: [producer] });
  const serializer = new PrometheusSerializer("", false, undefined, false, true);
  const meterProvider = new MeterProvider({ resource, readers: [prometheus, ...pushTo(metricExporter, producer)] });
  const meter = meterProvider.getMeter(SCOPE);
  const runtime = observeRuntime(meter);

  return {
    meter,
    tracer,
    ...createCallSpans({ tracer, traceRatio, records: spanExporter !== undefined }),
    recordRpc: (call) => recordCall(served, call),
    recordClientRpc: (call) => recordCall(called, call),
    recordDatabase: (operation) => recordOperation(queried, operation),
    observePool: (pool, read) => observePool(gauges, pool, read),
    observeGauge: (name, description, read, attributes = {}) =>
      gauges.add({ name, description, read: (report) => report(read(), attributes) }),
    async prometheusText() {
      const { resourceMetrics } = await prometheus.collect();
      return serializer.serialize(withUnitSuffixes(resourceMetrics));
    },
    async [Symbol.asyncDispose]() {
      runtime[Symbol.dispose]();
      await within(SHUTDOWN_TIMEOUT_MS, Promise.allSettled([tracerProvider.shutdown(), meterProvider.shutdown()]));
    },
  };
}

function startTracing(resource: Resource, traceRatio: number, exporter: SpanExporter | undefined): TracerProvider {
  const processor = exporter && new BatchSpanProcessor({ exporter, maxQueueSize: SPAN_QUEUE_MAX });
  return new TracerProvider({
    resource,
    sampler: createSampler(processor === undefined ? 0 : traceRatio),
    spanProcessors: processor === undefined ? [] : [processor],
  });
}

function pushTo(exporter: PushMetricExporter | undefined, producer: MetricProducer): PeriodicExportingMetricReader[] {
  if (exporter === undefined) return [];
  return [
    new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: METRIC_INTERVAL_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      metricProducers: [producer],
    }),
  ];
}

function producerOf(resource: Resource, collect: () => MetricData[]): MetricProducer {
  return {
    collect: async () => ({
      resourceMetrics: { resource, scopeMetrics: [{ scope: { name: SCOPE }, metrics: collect() }] },
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

function observePool(gauges: Gauges, pool: string, read: () => PoolState): Disposable {
  const name = { "db.client.connection.pool.name": pool };
  const stack = new DisposableStack();
  const add = (metric: string, description: string, report: Gauge["read"]) =>
    stack.use(gauges.add({ name: `db.client.connection.${metric}`, description, read: report }));
  add("count", "Connections by state", (report) => {
    const { used, idle } = read();
    report(used, { ...name, "db.client.connection.state": "used" });
    report(idle, { ...name, "db.client.connection.state": "idle" });
  });
  add("pending_requests", "Requests that wait for a connection", (report) => report(read().pending, name));
  add("max", "Connections allowed", (report) => report(read().max, name));
  return stack;
}

async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeoutMs);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
