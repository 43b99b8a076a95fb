import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { trace } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace";
import { manualClock } from "../clock/index.ts";
import { startTelemetry, type Telemetry } from "./index.ts";
import { parseTraceParent } from "./trace-context.ts";

const METHOD = "fujie.trust.v1.TrustService/Verify";
const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";

function start(t: TestContext, traceRatio: number, spanExporter?: SpanExporter): Telemetry {
  const telemetry = startTelemetry({
    service: "trust-gateway",
    environment: "sandbox",
    traceRatio,
    clock: manualClock(Date.UTC(2026, 0, 1)),
    ...(spanExporter === undefined ? {} : { spanExporter }),
  });
  t.after(() => telemetry[Symbol.asyncDispose]());
  return telemetry;
}

/** Keeps what was exported; the in-memory exporter forgets it on shutdown, which is what flushes it. */
function keepSpans(): { readonly spans: ReadableSpan[]; readonly exporter: SpanExporter } {
  const spans: ReadableSpan[] = [];
  const exporter = new InMemorySpanExporter();
  const keep: SpanExporter = {
    export(batch, done) {
      spans.push(...batch);
      exporter.export(batch, done);
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush(),
  };
  return { spans, exporter: keep };
}

function headersOf(headers: Readonly<Record<string, string>>) {
  return (name: string) => headers[name];
}

function injected(telemetry: Telemetry, span?: ReturnType<Telemetry["startServerSpan"]>): Record<string, string> {
  const headers: Record<string, string> = {};
  telemetry.inject((name, value) => {
    headers[name] = value;
  }, span);
  return headers;
}

const parentHeaders = (flags: string) =>
  headersOf({ traceparent: `00-${TRACE_ID}-${PARENT_ID}-${flags}`, tracestate: "vendor=1" });

test("a call that is not recorded has a stable trace id all the same, and hands it on unsampled", (t) => {
  const telemetry = start(t, 0, keepSpans().exporter);
  const span = telemetry.startServerSpan(METHOD, headersOf({}));
  assert.equal(span.sampled, false);
  assert.match(span.traceId, /^[0-9a-f]{32}$/);
  assert.equal(span.traceId, span.traceId);
  assert.deepEqual(injected(telemetry, span), { traceparent: `00-${span.traceId}-${span.spanId}-00` });
  assert.notEqual(telemetry.startServerSpan(METHOD, headersOf({})).traceId, span.traceId);
});

test("a recorded call is exported with its method, status and parent", async (t) => {
  const { spans, exporter } = keepSpans();
  const telemetry = start(t, 1, exporter);
  const span = telemetry.startServerSpan(METHOD, parentHeaders("01"), { trusted: true });
  assert.equal(span.sampled, true);
  assert.equal(span.traceId, TRACE_ID);
  span.run(() => telemetry.startClientSpan("fujie.source.v1.TrustSource/Check").end("UNAVAILABLE"));
  span.end("NOT_FOUND");
  await telemetry[Symbol.asyncDispose]();
  const [client, server] = spans;
  assert.ok(client && server);
  assert.equal(server.name, METHOD);
  assert.equal(server.parentSpanContext?.spanId, PARENT_ID);
  assert.equal(server.attributes["rpc.response.status_code"], "NOT_FOUND");
  assert.equal(server.status.code, 0, "a refusal is not the server's fault");
  assert.equal(client.parentSpanContext?.spanId, span.spanId);
  assert.equal(client.status.code, 2);
});

test("a trusted parent decides about recording; a stranger's flag does not, though his trace id is kept", (t) => {
  const never = start(t, 0, keepSpans().exporter);
  assert.equal(never.startServerSpan(METHOD, parentHeaders("01"), { trusted: true }).sampled, true);
  const stranger = never.startServerSpan(METHOD, parentHeaders("01"));
  assert.deepEqual([stranger.sampled, stranger.traceId], [false, TRACE_ID]);
  const always = start(t, 1, keepSpans().exporter);
  assert.equal(always.startServerSpan(METHOD, parentHeaders("00"), { trusted: true }).sampled, false);
  assert.equal(always.startServerSpan(METHOD, parentHeaders("00")).sampled, true);
});

test("without an exporter nothing is recorded, and the decision of a trusted parent passes through", (t) => {
  const telemetry = start(t, 1);
  const span = telemetry.startServerSpan(METHOD, parentHeaders("01"), { trusted: true });
  assert.equal(span.sampled, false);
  assert.deepEqual(injected(telemetry, span), {
    traceparent: `00-${TRACE_ID}-${span.spanId}-01`,
    tracestate: "vendor=1",
  });
});

test("the active span travels through asynchronous work, recorded or not, and ends with it", async (t) => {
  for (const ratio of [0, 1]) {
    const telemetry = start(t, ratio, keepSpans().exporter);
    const span = telemetry.startServerSpan(METHOD, headersOf({}));
    const seen = await span.run(async () => {
      await Promise.resolve();
      return { active: trace.getActiveSpan()?.spanContext().traceId, headers: injected(telemetry) };
    });
    assert.equal(seen.active, span.traceId);
    assert.match(seen.headers["traceparent"] ?? "", new RegExp(span.traceId));
    assert.equal(telemetry.startClientSpan(METHOD, span).traceId, span.traceId);
    assert.equal(trace.getActiveSpan(), undefined);
    assert.deepEqual(injected(telemetry), {});
    span.end("OK");
  }
});

test("malformed trace headers begin a new trace", () => {
  const good = `00-${TRACE_ID}-${PARENT_ID}-01`;
  assert.deepEqual(parseTraceParent(good), { traceId: TRACE_ID, spanId: PARENT_ID, sampled: true });
  assert.equal(parseTraceParent(`cc-${TRACE_ID}-${PARENT_ID}-03-more`)?.sampled, true);
  const bad = [
    "",
    "x",
    `${good}-more`,
    `ff${good.slice(2)}`,
    good.toUpperCase(),
    good.replace(TRACE_ID, "0".repeat(32)),
    good.replace(PARENT_ID, "0".repeat(16)),
    `${good}\n`,
  ];
  for (const header of [...bad, undefined]) assert.equal(parseTraceParent(header), undefined, header);
});

test("calls are counted in the Prometheus text by method, code and duration", async (t) => {
  const telemetry = start(t, 0);
  for (const seconds of [0.0004, 0.003, 20]) telemetry.recordRpc({ method: METHOD, code: "OK", seconds });
  telemetry.recordRpc({ method: METHOD, code: "NOT_FOUND", seconds: 0.001, system: "connectrpc" });
  telemetry.recordClientRpc({ method: METHOD, code: "OK", seconds: 0.001 });
  telemetry.recordDatabase({ statement: "find_account", seconds: 0.002 });
  telemetry.recordDatabase({ statement: "find_account", seconds: 0.002, error: "40001" });
  const text = await telemetry.prometheusText();
  const labels = `rpc_system_name="grpc",rpc_method="${METHOD}",rpc_response_status_code="OK"`;
  for (const line of [
    `rpc_server_call_duration_seconds_count{${labels}} 3`,
    `rpc_server_call_duration_seconds_bucket{${labels},le="0.0005"} 1`,
    `rpc_server_call_duration_seconds_bucket{${labels},le="0.005"} 2`,
    `rpc_server_call_duration_seconds_bucket{${labels},le="10"} 2`,
    `rpc_server_call_duration_seconds_bucket{${labels},le="+Inf"} 3`,
    `rpc_server_call_duration_seconds_count{rpc_system_name="connectrpc",rpc_method="${METHOD}",rpc_response_status_code="NOT_FOUND"} 1`,
    `rpc_client_call_duration_seconds_count{${labels}} 1`,
    'db_client_operation_duration_seconds_count{db_system_name="postgresql",db_operation_name="find_account"} 1',
    'db_client_operation_duration_seconds_count{db_system_name="postgresql",db_operation_name="find_account",error_type="40001"} 1',
  ]) {
    assert.ok(text.includes(line), `${line}\n${text}`);
  }
});

test("a value on a bucket's bound belongs to that bucket", async (t) => {
  const telemetry = start(t, 0);
  telemetry.recordRpc({ method: METHOD, code: "OK", seconds: 0.005 });
  assert.match(await telemetry.prometheusText(), /duration_seconds_bucket\{[^}]*le="0.0025"\} 0\n[^\n]*le="0.005"\} 1/);
});

test("a flood of method names ends in one series for the rest", async (t) => {
  const telemetry = start(t, 0);
  for (let index = 0; index < 2_100; index += 1)
    telemetry.recordRpc({ method: `method-${index}`, code: "OK", seconds: 0.001 });
  const counts = (await telemetry.prometheusText()).match(/^rpc_server_call_duration_seconds_count.*$/gm) ?? [];
  assert.equal(counts.length, 2_001);
  assert.ok(counts.some((line) => line.endsWith('{otel_metric_overflow="true"} 100')));
});

test("pools, gauges and the runtime are read when asked, and no longer once disposed", async (t) => {
  const telemetry = start(t, 0);
  const pool = telemetry.observePool("registry", () => ({ used: 2, idle: 3, pending: 1, max: 16 }));
  const lag = telemetry.observeGauge("fujie.outbox.lag", "Age of the oldest message, in seconds", () => 7, {
    destination: "audit",
  });
  const text = await telemetry.prometheusText();
  for (const line of [
    'db_client_connection_count{db_client_connection_pool_name="registry",db_client_connection_state="used"} 2',
    'db_client_connection_count{db_client_connection_pool_name="registry",db_client_connection_state="idle"} 3',
    'db_client_connection_pending_requests{db_client_connection_pool_name="registry"} 1',
    'fujie_outbox_lag{destination="audit"} 7',
    "nodejs_eventloop_utilization ",
    "process_memory_usage_bytes ",
    'process_cpu_time_seconds_total{cpu_mode="user"} ',
    'service_name="trust-gateway"',
  ]) {
    assert.ok(text.includes(line), line);
  }
  pool[Symbol.dispose]();
  lag[Symbol.dispose]();
  assert.doesNotMatch(await telemetry.prometheusText(), /fujie_outbox_lag\{|connection_count\{/);
});

test("two services in one process keep their numbers apart", async (t) => {
  const one = start(t, 0);
  const other = start(t, 0);
  one.recordRpc({ method: METHOD, code: "OK", seconds: 1 });
  assert.doesNotMatch(await other.prometheusText(), /TrustService/);
});
