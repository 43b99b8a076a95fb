import { lookup as resolveName } from "node:dns/promises";
import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { isPublicAddress } from "./address.ts";

export type EgressReason =
  /** Not an absolute http(s) URL, or one with credentials or a fragment. */
  | "URL_INVALID"
  /** Clear text, and the host is not on the allow-list. */
  | "SCHEME_FORBIDDEN"
  /** The name has no address. */
  | "NAME_UNRESOLVED"
  /** The host is, or resolves to, an address that is not public. */
  | "ADDRESS_FORBIDDEN"
  /** The answer is a redirect: it is not followed. */
  | "REDIRECT_REFUSED"
  | "RESPONSE_TOO_LARGE"
  | "TIMEOUT"
  /** No connection, no TLS, or a connection that broke. */
  | "UNREACHABLE";

/** Why a call was refused or failed. The message names the host at most: paths and queries may be secret. */
export class EgressError extends Error {
  override readonly name = "EgressError";
  readonly reason: EgressReason;

  constructor(reason: EgressReason, host: string, cause?: unknown) {
    super(`${reason} ${host}`, { cause });
    this.reason = reason;
  }
}

export interface EgressOptions {
  /**
   * Hosts ("name", or "name:port" for one port) that may be private and may be called in clear text: the sandbox's,
   * and endpoints that the operator configured. Compared exactly; there are no wildcards.
   */
  readonly allowHosts?: readonly string[];
  /** For the whole call, from resolving the name to the last byte. */
  readonly timeoutMs: number;
  /** Of the response's body. It is never decompressed. */
  readonly maxBytes: number;
  /** Extra trust anchors in PEM, for the sandbox. */
  readonly ca?: string | readonly string[];
  /** All addresses of a name; for tests. */
  readonly resolve?: (hostname: string) => Promise<readonly string[]>;
}

export interface EgressRequest {
  readonly method?: "GET" | "HEAD" | "POST" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface EgressResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export type Egress = (url: string, request?: EgressRequest) => Promise<EgressResponse>;

/**
 * The client for URLs that others chose: webhooks, keys of applications, and AIA, CRL and OCSP addresses in
 * certificates. It calls public addresses over https only. The name is resolved once, every address of it must be
 * public, and the connection goes to the very address that was checked, so that a name cannot change its mind in
 * between (DNS rebinding). Redirects are refused. Time and size are bounded; connections are not kept.
 * Each call throws EgressError.
 */
export function createEgress(options: EgressOptions): Egress {
  const allowed = new Set(options.allowHosts?.map((host) => host.toLowerCase()));
  return async (given, request = {}) => {
    const url = parseUrl(given);
    const isAllowed = allowed.has(url.hostname) || allowed.has(`${url.hostname}:${portOf(url)}`);
    if (url.protocol === "http:" && !isAllowed) throw new EgressError("SCHEME_FORBIDDEN", url.hostname);
    const timeout = AbortSignal.timeout(options.timeoutMs);
    const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
    try {
      const address = await abortable(chooseAddress(url, isAllowed, options), signal);
      return await call(url, address, request, options, signal);
    } catch (error) {
      if (error instanceof EgressError) throw error;
      if (timeout.aborted) throw new EgressError("TIMEOUT", url.hostname, error);
      throw new EgressError("UNREACHABLE", url.hostname, error);
    }
  };
}

function parseUrl(given: string): URL {
  const url = URL.parse(given);
  if (url === null) throw new EgressError("URL_INVALID", "(unparsable)");
  const plain = url.username === "" && url.password === "" && url.hash === "" && url.hostname !== "";
  // The parser has already turned 2130706433, 0x7f.1 and 017700000001 into 127.0.0.1.
  if (!plain || !["http:", "https:"].includes(url.protocol)) throw new EgressError("URL_INVALID", url.hostname);
  return url;
}

function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

async function chooseAddress(url: URL, isAllowed: boolean, options: EgressOptions): Promise<string> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const addresses = isIP(host) === 0 ? await resolveAll(host, options) : [host];
  const [first] = addresses;
  if (first === undefined) throw new EgressError("NAME_UNRESOLVED", url.hostname);
  // One private address among public ones is a trick, too.
  if (!isAllowed && !addresses.every(isPublicAddress)) throw new EgressError("ADDRESS_FORBIDDEN", url.hostname);
  return first;
}

async function resolveAll(host: string, { resolve = resolveBySystem }: EgressOptions): Promise<readonly string[]> {
  try {
    return await resolve(host);
  } catch (cause) {
    throw new EgressError("NAME_UNRESOLVED", host, cause);
  }
}

async function resolveBySystem(host: string): Promise<string[]> {
  return (await resolveName(host, { all: true })).map(({ address }) => address);
}

function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", onAbort));
}

function call(
  url: URL,
  address: string,
  { method = "GET", headers = {}, body }: EgressRequest,
  { maxBytes, ca }: EgressOptions,
  signal: AbortSignal,
): Promise<EgressResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<EgressResponse>();
  const family = isIP(address);
  const settings = {
    method,
    signal,
    // Never the pooled agent: a kept connection may lead to an address that was checked for another URL.
    agent: false,
    headers: { ...headers, "accept-encoding": "identity", host: url.host },
    // The name stays for TLS and Host; the address is the checked one.
    lookup: (
      _host: string,
      { all }: { all?: boolean | undefined },
      done: (error: null, found: string | { address: string; family: number }[], family?: number) => void,
    ) => (all === true ? done(null, [{ address, family }]) : done(null, address, family)),
  };
  const sent =
    url.protocol === "https:"
      ? requestHttps(url, { ...settings, ...(ca === undefined ? {} : { ca: typeof ca === "string" ? ca : [...ca] }) })
      : requestHttp(url, settings);
  sent.on("error", reject);
  sent.on("response", (response) => {
    readResponse(url, response, maxBytes).then(resolve, (error: unknown) => {
      sent.destroy();
      reject(error);
    });
  });
  sent.end(body);
  return promise;
}

async function readResponse(url: URL, response: IncomingMessage, maxBytes: number): Promise<EgressResponse> {
  const status = response.statusCode ?? 0;
  if (status >= 300 && status < 400) throw new EgressError("REDIRECT_REFUSED", url.hostname);
  const chunks: Buffer[] = [];
  let bytes = 0;
  const body: AsyncIterable<Buffer> = response;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new EgressError("RESPONSE_TOO_LARGE", url.hostname);
    chunks.push(chunk);
  }
  return { status, headers: response.headers, body: Buffer.concat(chunks) };
}
