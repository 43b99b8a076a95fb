import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import type { TlsMaterial } from "../tls/index.ts";
import type { Address } from "./address.ts";
import { applyCors } from "./cors.ts";
import type { Limits } from "./limits.ts";

/** A server certificate of the HTTP listener. Reloaded like the gRPC one. */
export interface HttpTls {
  readonly cert: string;
  readonly key: string;
  onReload?(listener: (material: Pick<TlsMaterial, "cert" | "key">) => void): Disposable;
}

export interface HttpListener {
  readonly port: number;
  drain(timeoutMs: number): Promise<void>;
}

export interface HttpListenerOptions {
  readonly address: Address;
  readonly tls: HttpTls | undefined;
  readonly allowedOrigins: readonly string[];
  readonly limits: Limits;
  /** Serves the request, or returns false when the path is not one of its own. */
  serve(request: IncomingMessage, response: ServerResponse): boolean;
  /** Serves every path that `serve` leaves alone. */
  readonly mount: RequestListener | undefined;
}

/**
 * Opens the HTTP listener: HTTP/1.1 in clear text on loopback; HTTP/2 and HTTP/1.1 by ALPN over TLS (Node cannot tell
 * the two apart on one clear-text port).
 */
export async function openHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const { address, tls, limits } = options;
  const state = { draining: false };
  const listener = createListener(options, state);
  const sessions = new Set<ServerHttp2Session>();
  const server =
    tls === undefined ? createClearServer(listener, limits) : createTlsServer(tls, listener, limits, sessions);
  // For the HTTP/1.1 side of either server. Node's types know these only on one of them.
  Object.assign(server, {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    maxHeaderSize: limits.headerBytesMax,
  });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => resolve());
  });
  return {
    port: portOf(server.address()),
    drain(timeoutMs) {
      state.draining = true;
      return drainServer(server, sessions, sockets, timeoutMs);
    },
  };
}

function createListener(options: HttpListenerOptions, state: { readonly draining: boolean }): RequestListener {
  const origins = new Set(options.allowedOrigins);
  return (request, response) => {
    response.on("error", ignore);
    // Tells a kept HTTP/1.1 connection to end with this answer, instead of cutting the next request off.
    if (state.draining && request.httpVersionMajor === 1) response.setHeader("connection", "close");
    if (applyCors(request, response, origins)) return;
    if (options.serve(request, response)) return;
    if (options.mount === undefined) response.writeHead(404).end();
    else options.mount(request, response);
  };
}

function createClearServer(listener: RequestListener, limits: Limits): Server {
  const { headerBytesMax, headersTimeoutMs } = limits;
  const server = createServer(
    { maxHeaderSize: headerBytesMax, connectionsCheckingInterval: Math.min(headersTimeoutMs, 5000) },
    listener,
  );
  server.keepAliveTimeout = limits.connectionIdleMs;
  server.maxRequestsPerSocket = 0;
  return server;
}

function createTlsServer(
  tls: HttpTls,
  listener: RequestListener,
  limits: Limits,
  sessions: Set<ServerHttp2Session>,
): Http2SecureServer {
  const server = createSecureServer({
    cert: tls.cert,
    key: tls.key,
    minVersion: "TLSv1.2",
    allowHTTP1: true,
    maxSessionMemory: limits.connectionMemoryMebibytes,
    settings: {
      maxConcurrentStreams: limits.streamsPerConnectionMax,
      maxHeaderListSize: limits.headerBytesMax,
      enablePush: false,
    },
  });
  // HTTP/2 requests come through Node's compatibility API: the same shape as HTTP/1.1's, with types of their own.
  Reflect.apply(server.on, server, ["request", listener]);
  server.on("session", (session) => {
    sessions.add(session);
    const age = setTimeout(() => session.close(), limits.connectionAgeMs).unref();
    session.setTimeout(limits.connectionIdleMs, () => session.close());
    session.on("close", () => {
      clearTimeout(age);
      sessions.delete(session);
    });
  });
  tls.onReload?.(({ cert, key }) => server.setSecureContext({ cert, key }));
  return server;
}

/** How long a kept connection without a request may still bring one, to be answered with "connection: close". */
const idleGraceMs = 300;

async function drainServer(
  server: Server | Http2SecureServer,
  sessions: ReadonlySet<ServerHttp2Session>,
  sockets: ReadonlySet<Socket>,
  timeoutMs: number,
): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    // Not http's own close, which would cut idle connections at once.
    NetServer.prototype.close.call(server, () => resolve());
  });
  for (const session of sessions) session.close();
  const closeIdle = () => {
    if ("closeIdleConnections" in server) server.closeIdleConnections();
  };
  const sweep = setInterval(closeIdle, Math.min(timeoutMs, idleGraceMs));
  const cut = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, timeoutMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

export function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("the listener has no port");
  return address.port;
}

function ignore(): void {}
