import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethodBiDiStreaming, DescMethodUnary, Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { createAsyncIterable, type UniversalHandler, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createHandlerFactory as createConnectFactory,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { createHandlerFactory as createGrpcWebFactory } from "@connectrpc/connect/protocol-grpc-web";
import { compressionBrotli, compressionGzip, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { DomainError } from "../errors/index.ts";
import type { Logger } from "../log/index.ts";
import { type Call, endError, noPeer, type Wire } from "./call.ts";
import { parseConnectTimeout, parseGrpcTimeout, type Timeout } from "./deadline.ts";
import { codeNumbers, describeFailure, failureToConnectError } from "./failure.ts";
import type { Limits } from "./limits.ts";
import type { Pipeline } from "./pipeline.ts";
import { type ServedMethod, toMessage } from "./served-method.ts";
import { strictTextDecoder } from "./strict-text.ts";

export interface ConnectHandlerOptions {
  readonly methods: ReadonlyMap<string, ServedMethod>;
  readonly pipeline: Pipeline;
  readonly limits: Limits;
  readonly log: Pick<Logger, "debug">;
}

/** The pipeline's call of the request that connect-node is working on. */
const callKey = createContextKey<Call | undefined>(undefined);

/**
 * Makes the request handler for the Connect and gRPC-Web protocols. It returns false for paths that are no method.
 *
 * connect-node does the protocols. Its request gate runs `admit` before a body is read; all but unary Connect calls are
 * handed to it as streams, so that its parse errors come to light in our hands; the errors of a unary Connect call that
 * it makes itself are explained on their way out.
 */
export function createConnectHandler(
  options: ConnectHandlerOptions,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { pipeline, limits, log } = options;
  const handlers = new Map([...options.methods].map(([path, served]) => [path, createMethodHandlers(served, options)]));

  return (request, response) => {
    // Every path of two parts whose first has a dot is a method, ours or not.
    const path = request.url?.split("?", 1)[0] ?? "";
    const handled = handlers.get(path);
    if (handled === undefined) return methodPath.test(path) && refuseUnknown(response);
    const protocol = findProtocol(request.headers["content-type"] ?? "");
    if (protocol === undefined) {
      response.writeHead(415).end();
      return true;
    }
    if (request.method !== "POST") {
      response.writeHead(405, { allow: "POST" }).end();
      return true;
    }
    if (handled.served.desc.methodKind === "bidi_streaming" && request.httpVersionMajor === 1) {
      response.writeHead(505, { connection: "close" }).end();
      return true;
    }
    const call = pipeline.begin(handled.served, new HttpWire(request, protocol));
    response.setHeader("x-trace-id", call.span.traceId);
    serve(call, handled[protocol], request, response).catch((error: unknown) => {
      // The caller went away while the answer was written.
      pipeline.fail(call, new DomainError("CANCELLED"));
      log.debug({ error, method: handled.served.name }, "answer not delivered");
      response.destroy();
    });
    return true;
  };

  async function serve(call: Call, handle: UniversalHandler, request: IncomingMessage, response: ServerResponse) {
    response.once("close", () => call.end("caller"));
    call.onEnd = (by) => {
      // Without this a caller that sends its body slowly would be read for ever: connect-node waits for the end.
      if (by === "deadline" && !request.complete && !response.headersSent) answerSlowBody(call, request, response);
    };
    const values = createContextValues().set(callKey, call);
    const single = call.served.desc.methodKind === "unary" && call.protocolName === "connect";
    const body = single ? wholeBody(request, limits.receiveBytesMax) : request;
    const answer = await handle({ ...requestHead(request), body, contextValues: values });
    if (response.writableEnded) return;
    if (single) await sendWhole(await explain(call, answer), response);
    else await universalResponseToNodeResponse(await explain(call, answer), response);
  }

  function answerSlowBody(call: Call, request: IncomingMessage, response: ServerResponse): void {
    const failure = pipeline.fail(call, new DomainError("DEADLINE_EXCEEDED"));
    const body = errorToJsonBytes(failureToConnectError(failure), undefined);
    response.writeHead(504, { "content-type": "application/json", connection: "close" });
    response.end(body, () => request.destroy());
  }

  /** Gives an answer that connect-node refused by itself our reason and details. */
  async function explain(call: Call, answer: UniversalServerResponse): Promise<UniversalServerResponse> {
    const { status, header } = answer;
    if (status === 200 || header === undefined || header.has("content-encoding")) return answer;
    const bytes = await readAll(answer.body);
    const error = errorFromJsonBytes(bytes, undefined, new ConnectError("", Code.InvalidArgument));
    if (error.details.length > 0) return { status, header, body: createAsyncIterable([bytes]) };
    const failure = pipeline.fail(call, call.finished ? error : fromProtocolError(error));
    const body = errorToJsonBytes(failureToConnectError(failure), undefined);
    header.set("content-type", "application/json");
    header.set("content-length", String(body.byteLength));
    return { status: codeToHttpStatus(codeNumbers[failure.code]), header, body: createAsyncIterable([body]) };
  }
}

/** "/fujie.trust.v1.TrustService/Verify": no page or tile that is mounted beside has such a path. */
const methodPath = /^\/[A-Za-z_]\w*(\.\w+)+\/\w+$/;

function refuseUnknown(response: ServerResponse): boolean {
  const failure = describeFailure(new DomainError("METHOD_UNKNOWN"), "");
  response.writeHead(codeToHttpStatus(codeNumbers[failure.code]), { "content-type": "application/json" });
  response.end(errorToJsonBytes(failureToConnectError(failure), undefined));
  return true;
}

type Protocol = "connect" | "grpc-web";

function findProtocol(contentType: string): Protocol | undefined {
  if (/^application\/(connect\+)?(json|proto)\s*(;|$)/i.test(contentType)) return "connect";
  return /^application\/grpc-web(\+(json|proto))?\s*(;|$)/i.test(contentType) ? "grpc-web" : undefined;
}

/** The pipeline's view of an HTTP call. Callers are known by token: this listener asks for no certificates. */
class HttpWire implements Wire {
  readonly requestMethod = "POST";
  readonly peer = noPeer;
  readonly protocolName: Protocol;
  readonly timeout: Timeout;
  readonly #request: IncomingMessage;

  constructor(request: IncomingMessage, protocol: Protocol) {
    this.#request = request;
    this.protocolName = protocol;
    this.timeout =
      protocol === "connect"
        ? parseConnectTimeout(this.header("connect-timeout-ms") ?? null)
        : parseGrpcTimeout(this.header("grpc-timeout"));
  }
  get connectedAddress(): string | undefined {
    return this.#request.socket.remoteAddress;
  }
  get url(): string {
    return `http://${this.header("host") ?? this.header(":authority") ?? ""}${this.#request.url ?? ""}`;
  }
  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }
  requestHeader(): Headers {
    const headers = new Headers();
    for (const name of Object.keys(this.#request.headers)) {
      if (!name.startsWith(":")) headers.set(name, this.header(name) ?? "");
    }
    return headers;
  }
}

interface MethodHandlers {
  readonly served: ServedMethod;
  readonly connect: UniversalHandler;
  readonly "grpc-web": UniversalHandler;
}

function createMethodHandlers(served: ServedMethod, options: ConnectHandlerOptions): MethodHandlers {
  const { pipeline, limits } = options;
  const factoryOptions = {
    readMaxBytes: limits.receiveBytesMax,
    acceptCompression: [compressionGzip, compressionBrotli],
    jsonOptions: { ignoreUnknownFields: false, textDecoder: strictTextDecoder },
    requestGate: async (context: HandlerContext) => {
      const call = callOf(context);
      try {
        await pipeline.admit(call);
      } catch (error) {
        throw failureToConnectError(pipeline.fail(call, error));
      }
    },
  };
  const streaming = asStream(served, pipeline);
  const unary = served.desc.methodKind === "unary" ? asUnary(served, pipeline) : streaming;
  return {
    served,
    connect: createConnectFactory(factoryOptions)(unary),
    "grpc-web": createGrpcWebFactory(factoryOptions)(streaming),
  };
}

function asUnary(served: ServedMethod, pipeline: Pipeline): MethodImplSpec {
  const method: DescMethodUnary = { ...served.desc, methodKind: "unary" };
  return {
    kind: "unary",
    method,
    async impl(message, context) {
      const call = callOf(context);
      try {
        const reply = toMessage(served, await untilEnd(call, pipeline.runOnce(call, message)));
        copyAnswerHeaders(call, context);
        pipeline.succeed(call);
        return reply;
      } catch (error) {
        throw refusal(pipeline, call, context, error);
      }
    },
  };
}

/** Any kind of method as a stream of requests and replies: the shape in which parse errors reach the pipeline. */
function asStream(served: ServedMethod, pipeline: Pipeline): MethodImplSpec {
  const method: DescMethodBiDiStreaming = { ...served.desc, methodKind: "bidi_streaming" };
  return {
    kind: "bidi_streaming",
    method,
    async *impl(messages, context) {
      const call = callOf(context);
      const replies = pipeline.runStream(call, readable(messages))[Symbol.asyncIterator]();
      try {
        for (;;) {
          const step = await untilEnd(call, replies.next());
          copyAnswerHeaders(call, context);
          if (step.done === true) break;
          yield toMessage(served, step.value);
        }
        pipeline.succeed(call);
      } catch (error) {
        throw refusal(pipeline, call, context, error);
      } finally {
        // Not awaited: a handler that is deaf to its signal may never come to it.
        replies.return?.()?.catch(ignore);
      }
    },
  };
}

function callOf(context: HandlerContext): Call {
  const call = context.values.get(callKey);
  if (call === undefined) throw new Error("a request passed without its call");
  return call;
}

/** The handler's answer, or the end of the call when that comes first. */
function untilEnd<Value>(call: Call, work: Promise<Value> | Value): Promise<Value> | Value {
  if (!(work instanceof Promise)) return work;
  return new Promise((resolve, reject) => {
    call.onEnd = (by) => reject(endError(by));
    if (call.endedBy !== undefined) reject(endError(call.endedBy));
    work.then(resolve, reject);
  });
}

function refusal(pipeline: Pipeline, call: Call, context: HandlerContext, error: unknown): ConnectError {
  copyAnswerHeaders(call, context);
  return failureToConnectError(pipeline.fail(call, error));
}

function copyAnswerHeaders(call: Call, context: HandlerContext): void {
  call.sentHeader?.forEach((value, key) => {
    context.responseHeader.set(key, value);
  });
  call.sentTrailer?.forEach((value, key) => {
    context.responseTrailer.set(key, value);
  });
}

async function* readable(messages: AsyncIterable<Message>): AsyncIterable<Message> {
  try {
    for await (const message of messages) yield message;
  } catch (error) {
    throw fromProtocolError(ConnectError.from(error));
  }
}

/** What connect-node found wrong with a request before it was a message. */
function fromProtocolError(error: ConnectError): DomainError {
  if (error.code === Code.ResourceExhausted) return new DomainError("MESSAGE_TOO_LARGE");
  if (error.code === Code.Canceled || error.code === Code.Aborted) return new DomainError("CANCELLED");
  return new DomainError("REQUEST_MALFORMED");
}

/** The headers that the protocols read; handlers see all of them, through `Call`. */
const protocolHeaders = [
  "content-type",
  "content-encoding",
  "content-length",
  "accept-encoding",
  "connect-protocol-version",
  "connect-timeout-ms",
  "connect-content-encoding",
  "connect-accept-encoding",
  "grpc-encoding",
  "grpc-accept-encoding",
  "grpc-timeout",
];

/**
 * The request as connect-node takes it, made by us because its own way costs a fifth of a small call: all headers twice,
 * a URL, and an abort at each end whose DOMException captures a stack. Cancellation is the pipeline's: see `Call`.
 */
function requestHead(request: IncomingMessage) {
  const header = new Headers();
  for (const name of protocolHeaders) {
    const value = request.headers[name];
    if (typeof value === "string") header.set(name, value);
  }
  const { httpVersion, url = "/" } = request;
  return { httpVersion, method: "POST", url: `http://localhost${url}`, header, signal: new AbortController().signal };
}

/** The body of a unary call in one piece, read when it is first asked for: a refused call's never is. */
async function* wholeBody(request: IncomingMessage, bytesMax: number): AsyncIterable<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  await new Promise<void>((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= bytesMax) chunks.push(chunk);
      else reject(new ConnectError("message too large", Code.ResourceExhausted));
    });
    request.on("end", resolve);
    request.on("error", reject);
    request.on("close", () => {
      if (!request.complete) reject(new ConnectError("request ended early", Code.Canceled));
    });
  });
  const [only] = chunks;
  yield only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks);
}

/** Header and body of a unary answer in one write. */
async function sendWhole(answer: UniversalServerResponse, response: ServerResponse): Promise<void> {
  const body = await readAll(answer.body);
  answer.header?.forEach((value, name) => {
    response.setHeader(name, value);
  });
  response.statusCode = answer.status;
  response.end(body);
}

async function readAll(body: AsyncIterable<Uint8Array> | undefined): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  const [only] = chunks;
  return only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks);
}

function ignore(): void {}
