import { randomBytes } from "node:crypto";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

/** W3C trace context of one step, so that everything it causes carries one trace id. */
export interface Trace {
  readonly traceId: string;
  readonly traceparent: string;
}

export function newTrace(): Trace {
  const traceId = randomBytes(16).toString("hex");
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01` };
}

/** A client over Connect + JSON, as a gateway consumer has it. */
export function callService<S extends DescService>(
  service: S,
  baseUrl: string,
  { token, trace }: { token?: string | undefined; trace: Trace },
): Client<S> {
  const headers: Interceptor = (next) => (request) => {
    request.header.set("traceparent", trace.traceparent);
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    useBinaryFormat: false,
    interceptors: [headers],
  });
  return createClient(service, transport);
}
