/**
 * Spans of calls. The sampling decision is made before anything else: of a call that is not recorded only its ids
 * exist, and those only once somebody asks.
 */
import {
  type Context,
  context,
  createContextKey,
  createTraceState,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { ParentBasedSampler, type Sampler, SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import type { CallSpan, GetHeader, Telemetry } from "./telemetry.ts";
import { acceptTraceState, formatTraceParent, newSpanId, newTraceId, parseTraceParent } from "./trace-context.ts";

export type CallSpans = Pick<Telemetry, "startServerSpan" | "startClientSpan" | "inject">;

export interface CallSpansOptions {
  readonly tracer: Tracer;
  readonly traceRatio: number;
  /** False when no exporter would take the spans: nothing is recorded then, and flags pass through untouched. */
  readonly records: boolean;
}

/** Marks a context whose call was chosen for recording already. */
const CHOSEN = createContextKey("fujie.telemetry.chosen");

/** Parent-based with a ratio for new traces; calls that were chosen before their span existed are always recorded. */
export function createSampler(traceRatio: number): Sampler {
  const parentBased = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(traceRatio) });
  return {
    shouldSample: (parent, ...rest) =>
      parent.getValue(CHOSEN) === true
        ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
        : parentBased.shouldSample(parent, ...rest),
    toString: () => `FujieSampler{${parentBased.toString()}}`,
  };
}

let contextManagerInstalled = false;

/** The active span travels by AsyncLocalStorage. One per process is enough: it carries values, not configuration. */
export function installContextManager(): void {
  if (contextManagerInstalled) return;
  contextManagerInstalled = true;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

export function createCallSpans({ tracer, traceRatio, records }: CallSpansOptions): CallSpans {
  const chooseByRatio = () => records && Math.random() < traceRatio;
  const startRecording = (method: string, kind: SpanKind, parent: Context): CallSpan => {
    const attributes = { "rpc.system.name": "grpc", "rpc.method": method };
    return recordingSpan(tracer.startSpan(method, { kind, attributes }, parent.setValue(CHOSEN, true)), kind);
  };

  return {
    startServerSpan(method, getHeader, { trusted = false } = {}) {
      const parent = readParent(getHeader);
      const parentSampled = trusted && parent?.traceFlags === TraceFlags.SAMPLED;
      const chosen = trusted && parent !== undefined ? records && parentSampled : chooseByRatio();
      if (!chosen) return new IdleSpan(parent?.traceId, parent?.traceState, parentSampled);
      return startRecording(
        method,
        SpanKind.SERVER,
        parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent),
      );
    },
    startClientSpan(method, parent) {
      const above = parent?.spanContext() ?? trace.getActiveSpan()?.spanContext();
      const aboveSampled = above?.traceFlags === TraceFlags.SAMPLED;
      const chosen = above === undefined ? chooseByRatio() : records && aboveSampled;
      if (!chosen) return new IdleSpan(above?.traceId, above?.traceState, aboveSampled);
      const over = above === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, above);
      return startRecording(method, SpanKind.CLIENT, over);
    },
    inject(setHeader, span) {
      const { traceId, spanId, traceFlags, traceState } =
        span?.spanContext() ?? trace.getActiveSpan()?.spanContext() ?? {};
      if (traceId === undefined || spanId === undefined) return;
      setHeader("traceparent", formatTraceParent(traceId, spanId, traceFlags === TraceFlags.SAMPLED));
      const state = traceState?.serialize();
      if (state !== undefined && state !== "") setHeader("tracestate", state);
    },
  };
}

function readParent(getHeader: GetHeader): SpanContext | undefined {
  const parent = parseTraceParent(getHeader("traceparent"));
  if (parent === undefined) return undefined;
  const state = acceptTraceState(getHeader("tracestate"));
  return {
    traceId: parent.traceId,
    spanId: parent.spanId,
    traceFlags: parent.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(state) }),
  };
}

/** A call that nobody records. It is its own span context, so that handing it on allocates nothing. */
class IdleSpan implements CallSpan, SpanContext {
  readonly sampled = false;
  readonly traceFlags: number;
  readonly #traceState: SpanContext["traceState"];
  #traceId: string | undefined;
  #spanId: string | undefined;

  constructor(traceId: string | undefined, traceState: SpanContext["traceState"], parentSampled: boolean) {
    this.#traceId = traceId;
    this.#traceState = traceState;
    this.traceFlags = parentSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  }

  get traceId(): string {
    this.#traceId ??= newTraceId();
    return this.#traceId;
  }

  get spanId(): string {
    this.#spanId ??= newSpanId();
    return this.#spanId;
  }

  get traceState(): Exclude<SpanContext["traceState"], undefined> {
    return this.#traceState ?? NO_TRACE_STATE;
  }

  spanContext(): SpanContext {
    return this;
  }

  run<Result>(work: () => Result): Result {
    return context.with(trace.setSpan(context.active(), trace.wrapSpanContext(this)), work);
  }

  setAttribute(): void {}

  end(): void {}
}

const NO_TRACE_STATE = createTraceState("");

function recordingSpan(span: Span, kind: SpanKind): CallSpan {
  const spanContext = span.spanContext();
  return {
    traceId: spanContext.traceId,
    spanId: spanContext.spanId,
    sampled: true,
    spanContext: () => spanContext,
    run: (work) => context.with(trace.setSpan(context.active(), span), work),
    setAttribute(name, value) {
      span.setAttribute(name, value);
    },
    end(code) {
      span.setAttribute("rpc.response.status_code", code);
      if (kind === SpanKind.CLIENT ? code !== "OK" : SERVER_FAULTS.has(code)) {
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  };
}

/** The codes that are the server's fault; a refusal of a bad request is no error of the server. */
const SERVER_FAULTS: ReadonlySet<string> = new Set([
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
]);
