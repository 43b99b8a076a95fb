/** How the sign-in pages answer: headers that keep a page from being framed, cached, sniffed or scripted. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type DomainError, reasons } from "@fujie/kit/errors";
import { scriptSource, styleSource } from "./page-assets.ts";
import { failureText, pageLanguage } from "./pages.ts";

/** Where a form of the page may lead: browsers hold the redirects after a submit to it as well. */
export interface PageOptions {
  readonly formTargets?: readonly string[];
}

/**
 * Sends a page. Given Koa's context of the OpenID library the response is handed over to it, because the library sets
 * cookies after its callback has returned.
 */
export function sendPage(
  response: ServerResponse,
  status: number,
  page: string,
  ctx?: { status: number; type: string; body: unknown },
  { formTargets = [] }: PageOptions = {},
): void {
  const policy = [
    "default-src 'none'",
    `style-src ${styleSource}`,
    `script-src ${scriptSource}`,
    "connect-src 'self'",
    `form-action ${["'self'", ...formTargets].join(" ")}`,
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ];
  response.setHeader("content-security-policy", policy.join("; "));
  setPrivateHeaders(response);
  if (ctx !== undefined) {
    ctx.status = status;
    ctx.type = "html";
    ctx.body = page;
    return;
  }
  response.writeHead(status, { "content-type": "text/html; charset=utf-8" }).end(page);
}

/** Browsers hold the redirects that follow a form to its policy: the application's own origin is the last of them. */
export function redirectTargets(redirectUri: unknown): readonly string[] {
  const url = typeof redirectUri === "string" ? URL.parse(redirectUri) : null;
  if (url === null) return [];
  return [url.origin === "null" ? url.protocol : url.origin];
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  setPrivateHeaders(response);
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body));
}

export function sendRedirect(response: ServerResponse, location: string): void {
  setPrivateHeaders(response);
  response.writeHead(303, { location }).end();
}

/** A refusal as JSON: the reason is for programs, the message for people. */
export function sendRefusal(
  request: IncomingMessage,
  response: ServerResponse,
  error: DomainError,
  traceId: string,
): void {
  const { reason, retryDelayMs } = error;
  const message = failureText(pageLanguage(request), { reason, traceId, retryDelayMs });
  setRetryAfter(response, error);
  sendJson(response, statusOf(error), { reason, message, traceId });
}

export function setRetryAfter(response: ServerResponse, { retryDelayMs }: DomainError): void {
  if (retryDelayMs !== undefined) response.setHeader("retry-after", Math.ceil(retryDelayMs / 1_000));
}

const statuses: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 503,
  CANCELLED: 503,
  INTERNAL: 500,
};

/** Whatever else keeps somebody from signing in is a failed authentication. */
export function statusOf({ reason }: DomainError): number {
  if (reason === "MESSAGE_TOO_LARGE") return 413;
  return statuses[reasons[reason].code] ?? 401;
}

function setPrivateHeaders(response: ServerResponse): void {
  response.setHeader("cache-control", "no-store");
  response.setHeader("referrer-policy", "no-referrer");
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("x-frame-options", "DENY");
}
