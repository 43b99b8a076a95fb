import { fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  status as grpcStatus,
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";
import { DomainError } from "../errors/index.ts";
import { type Call, type EndedBy, endError } from "./call.ts";
import { type Failure, failureToStatusBytes } from "./failure.ts";
import type { Reply } from "./handler.ts";
import type { Pipeline } from "./pipeline.ts";
import { toMessage } from "./served-method.ts";

type PartialStatus = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** What a receiver waits for: the bytes of the next message, or undefined after the last. */
interface Receiver {
  resolve(bytes: Buffer | undefined): void;
  reject(error: unknown): void;
}

/**
 * One gRPC call: drives grpc-js' framing below it and the pipeline above it.
 *
 * It takes the place of grpc-js' own handling of the four kinds of call (`start` ignores the listener it is given), so
 * that a unary call makes no event emitter and no stream, and its answer, message and status leave in one write.
 */
export class GrpcCall extends ServerInterceptingCall {
  readonly #base: ServerInterceptingCallInterface;
  readonly #pipeline: Pipeline;
  readonly #call: Call;
  #request: Buffer | undefined;
  #halfClosed = false;
  #receiver: Receiver | undefined;
  #resumeSending: (() => void) | undefined;
  #headerSent = false;

  constructor(base: ServerInterceptingCallInterface, pipeline: Pipeline, call: Call) {
    super(base);
    this.#base = base;
    this.#pipeline = pipeline;
    this.#call = call;
    call.onEnd = (by) => this.#stop(by);
    // Where grpc-js itself ends a call (too large, not decompressible), the caller gets our details, too.
    const send = base.sendStatus;
    base.sendStatus = (status) => send.call(base, this.#call.finished ? status : this.#explain(status));
  }

  override start(): void {
    this.#base.start(this);
  }

  /** grpc-js: the headers have arrived. */
  onReceiveMetadata(): void {
    try {
      const admitting = this.#pipeline.admit(this.#call);
      if (admitting === undefined) this.#read();
      else
        admitting.then(
          () => this.#read(),
          (error: unknown) => this.#fail(error),
        );
    } catch (error) {
      this.#fail(error);
    }
  }

  /** grpc-js: a message has arrived that was asked for. */
  onReceiveMessage(bytes: Buffer): void {
    if (this.#receiver !== undefined) this.#receive(bytes);
    else if (this.#request !== undefined) this.#fail(new DomainError("REQUEST_MALFORMED"));
    else {
      this.#request = bytes;
      this.#base.startRead();
    }
  }

  /** grpc-js: no message follows. */
  onReceiveHalfClose(): void {
    this.#halfClosed = true;
    if (this.#receiver !== undefined) this.#receive(undefined);
    else if (this.#call.finished) return;
    else if (this.#request === undefined) this.#fail(new DomainError("REQUEST_MALFORMED"));
    else if (this.#call.served.desc.methodKind === "unary") this.#answerOnce(this.#request);
    else void this.#answerStream(this.#single(this.#request));
  }

  /** grpc-js: the stream is closed, by whomever; also after a good end. */
  onCancel(): void {
    this.#call.end("caller");
    this.#resumeSending?.();
  }

  #read(): void {
    if (this.#call.finished) return;
    const kind = this.#call.served.desc.methodKind;
    if (kind === "client_streaming" || kind === "bidi_streaming") void this.#answerStream(this.#incoming());
    else this.#base.startRead();
  }

  #answerOnce(bytes: Buffer): void {
    try {
      const replying = this.#pipeline.runOnce(this.#call, this.#decode(bytes));
      if (replying instanceof Promise) {
        replying.then(
          (reply) => this.#reply(reply),
          (error: unknown) => this.#fail(error),
        );
      } else this.#reply(replying);
    } catch (error) {
      this.#fail(error);
    }
  }

  #reply(reply: Reply): void {
    if (this.#call.finished) return;
    try {
      const bytes = this.#encode(reply);
      this.#sendHeader();
      this.#base.sendMessage(bytes, ignore);
      this.#succeed();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #answerStream(messages: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const reply of this.#pipeline.runStream(this.#call, messages)) {
        if (this.#call.finished) return;
        await this.#send(this.#encode(reply));
        if (this.#call.finished) return;
      }
      if (this.#call.finished) return;
      this.#sendHeader();
      this.#succeed();
    } catch (error) {
      this.#fail(error);
    }
  }

  async *#incoming(): AsyncIterable<Message> {
    while (!this.#halfClosed) {
      const bytes = await new Promise<Buffer | undefined>((resolve, reject) => {
        if (this.#call.endedBy !== undefined) return reject(endError(this.#call.endedBy));
        this.#receiver = { resolve, reject };
        this.#base.startRead();
      });
      if (bytes === undefined) return;
      yield this.#decode(bytes);
    }
  }

  async *#single(bytes: Buffer): AsyncIterable<Message> {
    yield this.#decode(bytes);
  }

  #receive(bytes: Buffer | undefined): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.resolve(bytes);
  }

  /** Sends one message of a stream and waits until the connection has taken it, or the call has ended. */
  #send(bytes: Buffer): Promise<void> {
    this.#sendHeader();
    return new Promise((resolve) => {
      this.#resumeSending = resolve;
      this.#base.sendMessage(bytes, resolve);
      if (this.#call.endedBy !== undefined) resolve();
    });
  }

  #decode(bytes: Buffer): Message {
    try {
      return fromBinary(this.#call.served.desc.input, bytes);
    } catch {
      // Without its cause: a parser's message may quote what it could not read.
      throw new DomainError("REQUEST_MALFORMED");
    }
  }

  #encode(reply: Reply): Buffer {
    const bytes = toBinary(this.#call.served.desc.output, toMessage(this.#call.served, reply));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #sendHeader(): void {
    if (this.#headerSent) return;
    this.#headerSent = true;
    const metadata = new TraceMetadata(this.#call.span.traceId);
    copyHeaders(this.#call.sentHeader, metadata);
    this.#base.sendMetadata(metadata);
  }

  #succeed(): void {
    const trailer = this.#call.sentTrailer;
    this.#pipeline.succeed(this.#call);
    const metadata = trailer === undefined ? null : copyHeaders(trailer, new Metadata());
    this.#base.sendStatus({ code: grpcStatus.OK, details: "", metadata });
  }

  #fail(error: unknown): void {
    if (this.#call.finished) return;
    this.#sendFailure(this.#pipeline.fail(this.#call, error));
  }

  #sendFailure(failure: Failure): void {
    this.#receiver?.reject(new DomainError(failure.reason));
    this.#receiver = undefined;
    this.#base.sendStatus(this.#toStatus(failure));
  }

  #stop(by: EndedBy): void {
    this.#receiver?.reject(endError(by));
    this.#receiver = undefined;
    this.#fail(endError(by));
    this.#resumeSending?.();
  }

  #explain(status: PartialStatus): PartialStatus {
    const reason = status.code === grpcStatus.RESOURCE_EXHAUSTED ? "MESSAGE_TOO_LARGE" : "REQUEST_MALFORMED";
    const failure = this.#pipeline.fail(this.#call, new DomainError(reason));
    this.#receiver?.reject(new DomainError(reason));
    this.#receiver = undefined;
    return this.#toStatus(failure);
  }

  #toStatus(failure: Failure): PartialStatus {
    const metadata = new TraceMetadata(this.#call.span.traceId);
    metadata.set("grpc-status-details-bin", failureToStatusBytes(failure));
    copyHeaders(this.#call.sentTrailer, metadata);
    return { code: grpcStatus[failure.code], details: failure.message, metadata };
  }
}

/** Metadata with `x-trace-id`, without the cost of grpc-js checking what we made ourselves. */
class TraceMetadata extends Metadata {
  readonly #traceId: string;
  constructor(traceId: string) {
    super();
    this.#traceId = traceId;
  }
  override clone(): Metadata {
    const copy = new TraceMetadata(this.#traceId);
    copy.merge(this);
    return copy;
  }
  override toHttp2Headers() {
    const headers = super.toHttp2Headers();
    headers["x-trace-id"] = this.#traceId;
    // grpc-js would send both with every answer. They say nothing new: absent means identity.
    headers["grpc-encoding"] = undefined;
    headers["grpc-accept-encoding"] = undefined;
    return headers;
  }
}

/** Copies headers that a handler set. Binary ones are base64 in Headers (the Connect convention) and bytes in gRPC. */
function copyHeaders(headers: Headers | undefined, metadata: Metadata): Metadata {
  headers?.forEach((value, key) => {
    metadata.add(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  });
  return metadata;
}

function ignore(): void {}
