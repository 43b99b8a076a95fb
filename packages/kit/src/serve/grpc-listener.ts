import { EventEmitter } from "node:events";
import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { createSecureContext } from "node:tls";
import {
  Server,
  ServerCredentials,
  type ServerInterceptingCallInterface,
  type ServerMethodDefinition,
  type ServerOptions,
} from "@grpc/grpc-js";
import { DomainError } from "../errors/index.ts";
import type { TlsMaterial } from "../tls/index.ts";
import { type Address, formatHost } from "./address.ts";
import { noPeer, type PeerIdentity, type Wire } from "./call.ts";
import { parseGrpcTimeout } from "./deadline.ts";
import { codeNumbers, describeFailure, failureToStatusBytes } from "./failure.ts";
import { GrpcCall } from "./grpc-call.ts";
import type { Limits } from "./limits.ts";
import { readPeerIdentity } from "./peer-identity.ts";
import type { Pipeline } from "./pipeline.ts";
import type { ServedMethod } from "./served-method.ts";

/** Server TLS that names callers by their certificates and reloads without restart; absent on loopback only. */
export interface GrpcTls extends TlsMaterial {
  onReload?(listener: (material: TlsMaterial) => void): Disposable;
}

export interface GrpcListener {
  readonly port: number;
  /** Tells connected clients to go away, lets calls under way finish, and cuts what is left after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>;
}

export interface GrpcListenerOptions {
  readonly address: Address;
  readonly tls: GrpcTls | undefined;
  readonly limits: Limits;
  readonly methods: ReadonlyMap<string, ServedMethod>;
  readonly pipeline: Pipeline;
}

/**
 * Opens the gRPC listener.
 *
 * grpc-js does connections, framing, flow control and compression. Around it stand a gate in front of each stream
 * (`guardStreams`), which sees the raw headers that grpc-js would read leniently, and `GrpcCall` behind it.
 */
export async function openGrpcListener(options: GrpcListenerOptions): Promise<GrpcListener> {
  const { address, tls, limits, methods, pipeline } = options;
  // The gate hands each stream's facts to the interceptor, which grpc-js calls within the same synchronous step.
  let arriving: Arrival | undefined;
  const server = new Server({
    ...serverOptions(limits),
    interceptors: [
      (_method: ServerMethodDefinition<Buffer, Buffer>, base: ServerInterceptingCallInterface) => {
        if (arriving === undefined) throw new Error("a stream passed the gate unseen");
        return new GrpcCall(base, pipeline, pipeline.begin(arriving.served, new GrpcWire(arriving)));
      },
    ],
  });
  for (const path of methods.keys()) server.register(path, ignore, passOn, passOn, "bidi");

  const credentials = tls === undefined ? ServerCredentials.createInsecure() : new OptionalPeerCredentials(tls);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${formatHost(address.host)}:${address.port}`, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const peers = new WeakMap<Http2Session, PeerIdentity>();
  const sockets = guardStreams(server, (accept, stream, headers) => {
    const served = methods.get(headers[":path"] ?? "");
    if (served === undefined) return refuse(stream, "METHOD_UNKNOWN");
    if (headerBytes(headers) > limits.headerBytesMax) return refuse(stream, "REQUEST_MALFORMED");
    const timeout = parseGrpcTimeout(headers["grpc-timeout"]?.toString());
    arriving = { served, stream, headers, timeout, peer: tls === undefined ? noPeer : peerOf(peers, stream) };
    accept(stream, framingHeaders(headers));
    arriving = undefined;
  });
  return { port, drain: (timeoutMs) => drainServer(server, sockets, timeoutMs) };
}

interface Arrival {
  readonly served: ServedMethod;
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly timeout: Wire["timeout"];
  readonly peer: PeerIdentity;
}

function serverOptions(limits: Limits): ServerOptions {
  return {
    "grpc.max_receive_message_length": limits.receiveBytesMax,
    "grpc.max_concurrent_streams": limits.streamsPerConnectionMax,
    "grpc.max_connection_idle_ms": limits.connectionIdleMs,
    "grpc.max_connection_age_ms": limits.connectionAgeMs,
    "grpc.max_connection_age_grace_ms": limits.connectionAgeGraceMs,
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc-node.max_session_memory": limits.connectionMemoryMebibytes,
    "grpc.enable_channelz": 0,
  };
}

/** The pipeline's view of a gRPC call. */
class GrpcWire implements Wire {
  readonly protocolName = "grpc";
  readonly requestMethod = "POST";
  readonly timeout: Wire["timeout"];
  readonly peer: PeerIdentity;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;

  constructor(arrival: Arrival) {
    this.timeout = arrival.timeout;
    this.peer = arrival.peer;
    this.#stream = arrival.stream;
    this.#headers = arrival.headers;
  }
  get connectedAddress(): string | undefined {
    return this.#stream.session?.socket.remoteAddress;
  }
  get url(): string {
    return `${this.header(":scheme") ?? "http"}://${this.header(":authority") ?? ""}${this.header(":path") ?? ""}`;
  }
  header(name: string): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }
  requestHeader(): Headers {
    const headers = new Headers();
    for (const name of Object.keys(this.#headers)) {
      if (!name.startsWith(":")) headers.set(name, this.header(name) ?? "");
    }
    return headers;
  }
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
type Gate = (accept: StreamListener, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * Puts a gate before grpc-js' own handler of new streams. grpc-js has no hook that early; its HTTP/2 servers are
 * reached through a field that it does not publish, so a version without it refuses to start instead of going on ungated.
 * Gives the connections that are open.
 */
function guardStreams(server: Server, gate: Gate): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  const held: unknown = Reflect.get(server, "http2Servers");
  const http2Servers = held instanceof Map ? [...held.keys()] : [];
  if (http2Servers.length === 0) throw new Error("this version of grpc-js keeps its HTTP/2 servers elsewhere");
  for (const http2Server of http2Servers) {
    if (!(http2Server instanceof EventEmitter)) throw new Error("this version of grpc-js keeps other servers");
    const [handle] = http2Server.listeners("stream");
    if (handle === undefined) throw new Error("this version of grpc-js handles streams elsewhere");
    const accept: StreamListener = handle.bind(http2Server);
    http2Server.removeAllListeners("stream");
    http2Server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      gate(accept, stream, headers);
    });
    http2Server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
  }
  return sockets;
}

/** Answers a stream that never becomes a call: there is no span yet, so the trace id says so. */
function refuse(stream: ServerHttp2Stream, reason: "METHOD_UNKNOWN" | "REQUEST_MALFORMED"): void {
  stream.on("error", ignore);
  const failure = describeFailure(new DomainError(reason), "");
  stream.respond(
    {
      ":status": 200,
      "content-type": "application/grpc+proto",
      "grpc-status": codeNumbers[failure.code],
      "grpc-message": encodeURI(failure.message),
      "grpc-status-details-bin": failureToStatusBytes(failure).toString("base64"),
    },
    { endStream: true },
  );
}

/**
 * What grpc-js needs to know of the headers. The rest is ours: it would copy and check each one, long tokens, too, and
 * read the deadline again, more leniently, with a timer of its own.
 */
function framingHeaders(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return {
    ":path": headers[":path"],
    ":authority": headers[":authority"],
    "content-type": headers["content-type"],
    ...(headers["grpc-encoding"] === undefined ? undefined : { "grpc-encoding": headers["grpc-encoding"] }),
  };
}

function headerBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) bytes += name.length + (headers[name]?.length ?? 0);
  return bytes;
}

function peerOf(peers: WeakMap<Http2Session, PeerIdentity>, stream: ServerHttp2Stream): PeerIdentity {
  const { session } = stream;
  if (session === undefined) return noPeer;
  const known = peers.get(session);
  if (known !== undefined) return known;
  const peer = readPeerIdentity(session.socket);
  peers.set(session, peer);
  return peer;
}

/**
 * TLS that asks for a client certificate without insisting: services present one, platform teams come with an access
 * token alone. A certificate that is presented and does not verify refuses the connection's calls (`readPeerIdentity`).
 */
class OptionalPeerCredentials extends ServerCredentials {
  constructor(tls: GrpcTls) {
    super({ requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.2" }, contextOf(tls));
    tls.onReload?.((material) => this.updateSecureContextOptions(contextOf(material)));
  }
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function contextOf({ cert, key, ca }: TlsMaterial) {
  // Fails here, at start or reload, rather than at the first handshake.
  createSecureContext({ cert, key, ca });
  return { cert, key, ca };
}

async function drainServer(server: Server, sockets: ReadonlySet<Socket>, timeoutMs: number): Promise<void> {
  let cut: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    server.tryShutdown(() => resolve());
    cut = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, timeoutMs);
  });
  clearTimeout(cut);
  // A closed session leaves its socket waiting for the other side, which may never come.
  for (const socket of sockets) socket.destroySoon();
}

function passOn(bytes: Buffer): Buffer {
  return bytes;
}

function ignore(): void {}
