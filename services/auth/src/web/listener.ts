/** The HTTP paths that are no methods: OpenID Connect and the sign-in pages, each request with a span and a trace id. */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { DomainError } from "@fujie/kit/errors";
import { openidRoutes } from "../openid/provider.ts";
import { acceptsJson } from "../sign-in/body.ts";
import { networkKeyOf } from "../sign-in/network.ts";
import { pageLanguage, renderFailure } from "../sign-in/pages.ts";
import { sendPage, sendRefusal, setRetryAfter, statusOf } from "../sign-in/respond.ts";
import { type SignInContext, serveSignIn, signInRoute } from "../sign-in/routes.ts";
import { requestScope } from "./request-scope.ts";

const openidPaths: ReadonlySet<string> = new Set([
  ...Object.values(openidRoutes),
  "/.well-known/openid-configuration",
  `${openidRoutes.end_session}/confirm`,
  `${openidRoutes.end_session}/success`,
]);
/** Where the OpenID library goes on after an interaction. */
const RESUME = new RegExp(`^${openidRoutes.authorization}/[A-Za-z0-9_-]{1,64}$`);

export function createListener(context: SignInContext): RequestListener {
  const secure = context.issuer.startsWith("https:");
  return (request, response) => {
    const { pathname } = URL.parse(request.url ?? "", "http://any") ?? { pathname: "" };
    const route = routeOf(pathname);
    if (route === undefined) {
      response.writeHead(404).end();
      return;
    }
    const started = performance.now();
    const span = context.telemetry.startServerSpan(`auth.web${route}`, (name) => headerOf(request, name));
    response.setHeader("x-trace-id", span.traceId);
    if (secure) response.setHeader("strict-transport-security", "max-age=31536000");
    response.once("close", () => {
      const code = codeOf(response);
      span.end(code);
      const seconds = (performance.now() - started) / 1_000;
      context.telemetry.recordRpc({ method: `auth.web${route}`, code, seconds, system: "connectrpc" });
    });
    speakAsIssuer(request, context.issuer);
    const scope = { traceId: span.traceId };
    const work = () =>
      requestScope.run(scope, () => serveRoute(context, pathname, route, { request, response, ...scope }));
    span.run(work).catch((error: unknown) => fail(context, error, { request, response, ...scope }));
  };
}

function routeOf(path: string): string | undefined {
  if (openidPaths.has(path)) return path;
  if (RESUME.test(path)) return `${openidRoutes.authorization}/resume`;
  return signInRoute(path);
}

async function serveRoute(
  context: SignInContext,
  path: string,
  route: string,
  exchange: { readonly request: IncomingMessage; readonly response: ServerResponse; readonly traceId: string },
): Promise<void> {
  if (route.startsWith("/interaction")) return serveSignIn(context, path, exchange);
  if (path === openidRoutes.authorization) await countAuthorization(context, exchange.request);
  await context.openid.serve(exchange.request, exchange.response);
}

/** From one network. Each request leaves a row for ten minutes, and anybody may make one. */
const AUTHORIZATIONS = { ratePerSecond: 50, burst: 500 };

async function countAuthorization(context: SignInContext, request: IncomingMessage): Promise<void> {
  const key = `authorizations:${networkKeyOf(context, request)}`;
  const { allowed, retryAfterMs } = await context.ephemeral.takeToken(key, AUTHORIZATIONS);
  if (!allowed) throw new DomainError("RATE_LIMITED", { retryDelayMs: retryAfterMs });
}

/**
 * The OpenID library makes addresses from the request's scheme and host. They are the issuer's, whatever the request or
 * a proxy says; what was forwarded about the client is for `networkOf` alone.
 */
function speakAsIssuer(request: IncomingMessage, issuer: string): void {
  const { host, protocol } = new URL(issuer);
  request.headers.host = host;
  request.headers["x-forwarded-host"] = host;
  request.headers["x-forwarded-proto"] = protocol.slice(0, -1);
}

function fail(
  context: SignInContext,
  error: unknown,
  { request, response, traceId }: { request: IncomingMessage; response: ServerResponse; traceId: string },
): void {
  const known = error instanceof DomainError ? error : new DomainError("INTERNAL");
  if (known !== error) context.log.error({ error, trace_id: traceId }, "a web request failed unexpectedly");
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (acceptsJson(request)) {
    sendRefusal(request, response, known, traceId);
    return;
  }
  setRetryAfter(response, known);
  const { reason, retryDelayMs } = known;
  sendPage(response, statusOf(known), renderFailure(pageLanguage(request), { reason, traceId, retryDelayMs }));
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The canonical code nearest to an HTTP status, for metrics. */
function codeOf({ statusCode, writableFinished }: ServerResponse): string {
  if (!writableFinished) return "CANCELLED";
  if (statusCode < 400) return "OK";
  if (statusCode === 401) return "UNAUTHENTICATED";
  if (statusCode === 429) return "RESOURCE_EXHAUSTED";
  if (statusCode === 503) return "UNAVAILABLE";
  return statusCode < 500 ? "INVALID_ARGUMENT" : "INTERNAL";
}
