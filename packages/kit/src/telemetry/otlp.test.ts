import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Http2Server } from "node:http2";
import { type TestContext, test } from "node:test";
import { startTelemetry } from "./index.ts";
import { otlpExporters } from "./otlp-exporters.ts";

/** A collector that takes everything (an empty gRPC answer) and remembers which methods were called with what size. */
async function startCollector(t: TestContext) {
  const received = new Map<string, Buffer[]>();
  const server: Http2Server = createServer();
  server.on("stream", (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const method = String(headers[":path"]);
      received.set(method, [...(received.get(method) ?? []), Buffer.concat(chunks)]);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.alloc(5));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  return { endpoint: `http://127.0.0.1:${bound.port}`, received };
}

test("spans and metrics reach an OTLP collector, at the latest when telemetry ends", async (t) => {
  const { endpoint, received } = await startCollector(t);
  const options = { service: "registry", environment: "sandbox", traceRatio: 1 };
  const telemetry = startTelemetry({ ...options, ...otlpExporters(endpoint) });
  const span = telemetry.startServerSpan("fujie.registry.v1.AccountService/GetAccount", () => undefined);
  span.end("OK");
  telemetry.recordRpc({ method: "fujie.registry.v1.AccountService/GetAccount", code: "OK", seconds: 0.01 });
  await telemetry[Symbol.asyncDispose]();
  const bodies = (name: string) => Buffer.concat(received.get(`/opentelemetry.proto.collector.${name}/Export`) ?? []);
  assert.ok(bodies("trace.v1.TraceService").includes("AccountService/GetAccount"));
  assert.ok(bodies("trace.v1.TraceService").includes(Buffer.from(span.traceId, "hex")));
  assert.ok(bodies("metrics.v1.MetricsService").includes("rpc.server.call.duration"));
});
