import type { Meter, SpanContext, Tracer } from "@opentelemetry/api";
import type { PushMetricExporter } from "@opentelemetry/sdk-metrics";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../clock/index.ts";

export type GetHeader = (name: string) => string | undefined;
export type SetHeader = (name: string, value: string) => void;

export interface TelemetryOptions {
  readonly service: string;
  readonly environment: string;
  /** Share of traces begun here that are recorded, 0 to 1. */
  readonly traceRatio: number;
  /** Takes the spans; absent: none are recorded. */
  readonly spanExporter?: SpanExporter;
  /** Takes the metrics every few seconds; absent: they are only asked for. */
  readonly metricExporter?: PushMetricExporter;
  readonly clock?: Clock;
}

/** One call as traces see it: recording or not, it has a trace id. */
export interface CallSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Whether anything is recorded. When false, everything below costs next to nothing. */
  readonly sampled: boolean;
  /** Ids, flags and trace state, as OpenTelemetry's own API wants them. */
  spanContext(): SpanContext;
  /** Runs `work` with this span as the active one (log lines and outgoing calls pick it up). */
  run<Result>(work: () => Result): Result;
  setAttribute(name: string, value: string | number | boolean): void;
  /** Ends the span with the canonical code the call ended with, for example "OK" or "NOT_FOUND". */
  end(code: string): void;
}

export interface RpcObservation {
  /** "fujie.trust.v1.TrustService/Verify" */
  readonly method: string;
  /** Canonical code: "OK", "NOT_FOUND" … */
  readonly code: string;
  readonly seconds: number;
  /** Default "grpc". */
  readonly system?: "grpc" | "connectrpc";
}

export interface DatabaseObservation {
  /** Name of the statement, never its text or values. */
  readonly statement: string;
  readonly seconds: number;
  /** SQLSTATE or error class when it failed. */
  readonly error?: string | undefined;
}

/** State of a connection pool, read when metrics are collected. */
export interface PoolState {
  readonly used: number;
  readonly idle: number;
  readonly pending: number;
  readonly max: number;
}

export interface Telemetry extends AsyncDisposable {
  /** For further instruments of a service: names and attributes must never hold personal data. */
  readonly meter: Meter;
  readonly tracer: Tracer;
  /**
   * Opens the span of an incoming call. The sampling decision comes first: without it no span is made.
   * The caller's trace id is taken over; its sampled flag only when `trusted` (a peer known by mutual TLS), so that
   * strangers cannot switch recording on.
   */
  startServerSpan(method: string, getHeader: GetHeader, options?: { readonly trusted?: boolean }): CallSpan;
  /** Opens the span of an outgoing call, below `parent` or the active span. */
  startClientSpan(method: string, parent?: CallSpan): CallSpan;
  /** Writes traceparent (and tracestate) of `span`, or of the active span, for an outgoing call. */
  inject(setHeader: SetHeader, span?: CallSpan): void;
  /** Histogram rpc.server.call.duration. */
  recordRpc(call: RpcObservation): void;
  /** Histogram rpc.client.call.duration. */
  recordClientRpc(call: RpcObservation): void;
  /** Histogram db.client.operation.duration. */
  recordDatabase(operation: DatabaseObservation): void;
  /** Gauges db.client.connection.*; dispose when the pool closes. */
  observePool(pool: string, read: () => PoolState): Disposable;
  /** One gauge of a single number, read when metrics are collected; dispose to stop. */
  observeGauge(name: string, description: string, read: () => number, attributes?: Record<string, string>): Disposable;
  /** All metrics in Prometheus' text format, for the admin port. */
  prometheusText(): Promise<string>;
}
