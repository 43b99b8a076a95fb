import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  status as grpcStatus,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { fromRemoteError } from "../serve/remote-error.ts";
import type { CallSpan, Telemetry } from "../telemetry/index.ts";
import { readStatusDetails } from "./status-details.ts";

/** The span that an outgoing call hangs below, put into a call's context values by `outgoing`. */
export const parentSpanKey = createContextKey<CallSpan | undefined>(undefined);

/** Deadline of a unary call that states none. */
const unaryTimeoutMsDefault = 10_000;

export type ClientTelemetry = Pick<Telemetry, "startClientSpan" | "inject" | "recordClientRpc">;

/**
 * Connect's transport over a grpc-js channel, so that Connect's typed clients speak gRPC at grpc-js' speed. Errors
 * leave it as `fromRemoteError` makes them.
 */
export function createGrpcTransport(channel: () => Client, telemetry: ClientTelemetry | undefined): Transport {
  return {
    unary: (method, signal, timeoutMs, header, input, values) =>
      callOnce(
        channel(),
        telemetry,
        method,
        { signal, timeoutMs: timeoutMs ?? unaryTimeoutMsDefault, header, values },
        input,
      ),
    stream: async (method, signal, timeoutMs, header, input, values) =>
      callStream(channel(), telemetry, method, { signal, timeoutMs, header, values }, input),
  };
}

interface Conditions {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: ConstructorParameters<typeof Headers>[0];
  readonly values: ContextValues | undefined;
}

/** What is kept of one outgoing call until it ends. */
interface Outgoing {
  readonly metadata: Metadata;
  readonly options: CallOptions;
  end(code: string): void;
}

function begin(
  method: DescMethodUnary | DescMethodStreaming,
  conditions: Conditions,
  telemetry?: ClientTelemetry,
): Outgoing {
  const { timeoutMs, header, values } = conditions;
  const metadata = new Metadata();
  new Headers(header).forEach((value, key) => {
    metadata.set(key, value);
  });
  const options: CallOptions = timeoutMs === undefined ? {} : { deadline: new Date(Date.now() + timeoutMs) };
  if (telemetry === undefined) return { metadata, options, end: ignore };
  const name = nameOf(method);
  const startedMs = performance.now();
  const span = telemetry.startClientSpan(name, values?.get(parentSpanKey));
  telemetry.inject((key, value) => metadata.set(key, value), span);
  return {
    metadata,
    options,
    end(code) {
      span.end(code);
      telemetry.recordClientRpc({ method: name, code, seconds: (performance.now() - startedMs) / 1000 });
    },
  };
}

function callOnce<I extends DescMessage, O extends DescMessage>(
  channel: Client,
  telemetry: ClientTelemetry | undefined,
  method: DescMethodUnary<I, O>,
  conditions: Conditions,
  input: MessageInitShape<I>,
): Promise<UnaryResponse<I, O>> {
  const { signal } = conditions;
  const { metadata, options, end } = begin(method, conditions, telemetry);
  const [header, trailer] = [new Headers(), new Headers()];
  return new Promise((resolve, reject) => {
    const call = channel.makeUnaryRequest(
      `/${nameOf(method)}`,
      (message: MessageInitShape<I>) => encode(method.input, message),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      input,
      metadata,
      options,
      (error: ServiceError | null, message?: MessageShape<O>) => {
        signal?.removeEventListener("abort", cancel);
        end(grpcStatus[error?.code ?? grpcStatus.OK] ?? "UNKNOWN");
        if (error !== null) return reject(toError(error));
        if (message === undefined) return reject(new Error(`${method.name} answered nothing`));
        resolve({ stream: false, service: method.parent, method, header, trailer, message });
      },
    );
    const cancel = () => call.cancel();
    call.on("metadata", (received) => copyMetadata(received, header));
    call.on("status", (status) => copyMetadata(status.metadata, trailer));
    if (signal?.aborted === true) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

/** On the wire all kinds of streams are one: messages there, messages back. */
function callStream<I extends DescMessage, O extends DescMessage>(
  channel: Client,
  telemetry: ClientTelemetry | undefined,
  method: DescMethodStreaming<I, O>,
  conditions: Conditions,
  input: AsyncIterable<MessageInitShape<I>>,
): StreamResponse<I, O> {
  const { signal } = conditions;
  const { metadata, options, end } = begin(method, conditions, telemetry);
  const call = channel.makeBidiStreamRequest(
    `/${nameOf(method)}`,
    (message: MessageInitShape<I>) => encode(method.input, message),
    (bytes: Buffer) => fromBinary(method.output, bytes),
    metadata,
    options,
  );
  const [header, trailer] = [new Headers(), new Headers()];
  call.on("metadata", (received) => copyMetadata(received, header));
  const cancel = () => call.cancel();
  call.on("status", (status) => {
    signal?.removeEventListener("abort", cancel);
    copyMetadata(status.metadata, trailer);
    end(grpcStatus[status.code] ?? "UNKNOWN");
  });
  // The reader below gets the error, too; without a listener it would be thrown while nobody reads.
  call.on("error", ignore);
  if (signal?.aborted === true) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  void sendAll(call, input);
  return { stream: true, service: method.parent, method, header, trailer, message: receiveAll(call) };
}

async function sendAll<Sent, Received>(
  call: ClientDuplexStream<Sent, Received>,
  messages: AsyncIterable<Sent>,
): Promise<void> {
  try {
    for await (const message of messages) {
      if (call.destroyed || call.writableEnded) return;
      if (!call.write(message)) await drained(call);
    }
    call.end();
  } catch {
    // What feeds the stream has failed: the other side must not take the half for the whole.
    call.cancel();
  }
}

function drained<Sent, Received>(call: ClientDuplexStream<Sent, Received>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done).off("close", done).off("status", done);
      resolve();
    };
    call.on("drain", done).on("close", done).on("status", done);
  });
}

async function* receiveAll<Sent, Received>(call: ClientDuplexStream<Sent, Received>): AsyncIterable<Received> {
  try {
    for await (const message of call) yield message;
  } catch (error) {
    throw isServiceError(error) ? toError(error) : error;
  } finally {
    call.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && error.metadata instanceof Metadata;
}

function toError(error: ServiceError): Error {
  const connectError = new ConnectError(error.details, isCode(error.code) ? error.code : Code.Unknown);
  connectError.details = readStatusDetails(error.metadata);
  return fromRemoteError(connectError);
}

function isCode(code: number): code is Code {
  return code in Code;
}

function encode<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function copyMetadata(metadata: Metadata, headers: Headers): void {
  for (const key of Object.keys(metadata.getMap())) {
    for (const value of metadata.get(key)) {
      headers.append(key, typeof value === "string" ? value : value.toString("base64"));
    }
  }
}

function nameOf(method: DescMethodUnary | DescMethodStreaming): string {
  return `${method.parent.typeName}/${method.name}`;
}

function ignore(): void {}
