import type { IncomingMessage, ServerResponse } from "node:http";
import { cors } from "@connectrpc/connect";

const allowedMethods = cors.allowedMethods.join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization", "X-Request-Id", "Traceparent"].join(", ");
const exposedHeaders = [...cors.exposedHeaders, "X-Trace-Id", "Retry-After"].join(", ");

/**
 * Applies the cross-origin rule: only origins of the list (exact, no wildcard) may read answers in a browser.
 * Returns true when the request was a preflight and is answered.
 */
export function applyCors(request: IncomingMessage, response: ServerResponse, origins: ReadonlySet<string>): boolean {
  const { origin } = request.headers;
  if (origin === undefined) return false;
  response.setHeader("vary", "Origin");
  const allowed = origins.has(origin);
  if (allowed) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", exposedHeaders);
  }
  if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) return false;
  if (allowed) {
    response.setHeader("access-control-allow-methods", allowedMethods);
    response.setHeader("access-control-allow-headers", allowedHeaders);
    response.setHeader("access-control-max-age", "7200");
  }
  response.writeHead(allowed ? 204 : 403).end();
  return true;
}
