// Loaded into every test process: keeps the addresses that its servers, the sandbox's included, are asked for, the errors
// that they answer with, and the keys under which services keep what may be lost, for the canary scan.
import { subscribe } from "node:diagnostics_channel";
import { type IncomingMessage, ServerResponse } from "node:http";
import { keepObserved } from "../../packages/embedded/src/observed.ts";
import { KEYS_CHANNEL } from "../../packages/kit/src/ephemeral/ephemeral.ts";

subscribe("http.server.request.start", (message) => {
  const { request } = message as { request: IncomingMessage };
  keepObserved("url", request.url ?? "");
});

const keys = new Set<string>();

subscribe(KEYS_CHANNEL, (message) => {
  const { key } = message as { key: string };
  if (keys.has(key)) return;
  keys.add(key);
  keepObserved("ephemeral", key);
});

type Headers = Readonly<Record<string, unknown>>;
type ServedStream = { sendTrailers(headers: Headers): void; respond(headers?: Headers, options?: object): void };

subscribe("http2.server.stream.created", (message) => {
  const { stream, headers } = message as { stream: ServedStream; headers: Headers };
  keepObserved("url", String(headers[":path"]));
  const sendTrailers = stream.sendTrailers.bind(stream);
  stream.sendTrailers = (trailers) => {
    keepGrpcError(trailers);
    sendTrailers(trailers);
  };
  const respond = stream.respond.bind(stream);
  stream.respond = (first = {}, options) => {
    keepGrpcError(first);
    respond(first, options);
  };
});

/** gRPC tells its errors in trailers: a message, and details in base64. */
function keepGrpcError(headers: Headers): void {
  const status = headers["grpc-status"];
  if (status === undefined || String(status) === "0") return;
  const details = Buffer.from(String(headers["grpc-status-details-bin"] ?? ""), "base64");
  keepObserved("error", `${decodeURIComponent(String(headers["grpc-message"] ?? ""))} ${details.toString()}`);
}

const { write, end } = ServerResponse.prototype;

function keepHttpError({ statusCode }: ServerResponse, chunk: unknown): void {
  if (statusCode < 400) return;
  if (typeof chunk === "string" || chunk instanceof Uint8Array) keepObserved("error", chunk);
}

ServerResponse.prototype.write = function (this: ServerResponse, ...args: unknown[]): boolean {
  keepHttpError(this, args[0]);
  return Reflect.apply(write, this, args);
};

ServerResponse.prototype.end = function (this: ServerResponse, ...args: unknown[]): ServerResponse {
  keepHttpError(this, args[0]);
  return Reflect.apply(end, this, args);
};
