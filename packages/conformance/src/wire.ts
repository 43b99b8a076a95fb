/** Calls a source as the platform's gateway does, and keeps of each answer what the suite looks at. */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type CheckRequest,
  CheckRequestSchema,
  CheckResponseSchema,
  DescribeRequestSchema,
  DescribeResponseSchema,
  GetOutcomeRequestSchema,
  GetOutcomeResponseSchema,
  TrustSourceService,
} from "@fujie/api/fujie/source/v1/source";
import { RetryInfoSchema } from "@fujie/api/google/rpc/error_details";
import { StatusSchema } from "@fujie/api/google/rpc/status";
import { peerNameFromCertificate } from "@fujie/kit/tls";
import {
  Client,
  type ClientUnaryCall,
  credentials,
  status as grpcStatus,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

export type StatusName = keyof typeof grpcStatus;

/** How a call ended. The source's own words are kept for the search for elements in them, and are never reported. */
export interface Reply<Message> {
  readonly code: StatusName;
  /** Only with OK, and only if it could be parsed. */
  readonly message: Message | undefined;
  readonly bytes: number;
  /** Names of headers and trailers, sorted. */
  readonly metadataKeys: readonly string[];
  /** google.rpc.RetryInfo of the refusal, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Everything that the source said in text: status message, headers, trailers. */
  readonly said: string;
  readonly elapsedMs: number;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  /** Cancels the call after this time. */
  readonly cancelAfterMs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface Wire extends Disposable {
  describe(options?: CallOptions): Promise<Reply<MessageShape<typeof DescribeResponseSchema>>>;
  check(
    request: CheckRequest | Uint8Array,
    options?: CallOptions,
  ): Promise<Reply<MessageShape<typeof CheckResponseSchema>>>;
  getOutcome(bizSeq: string, options?: CallOptions): Promise<Reply<MessageShape<typeof GetOutcomeResponseSchema>>>;
}

export interface ClientIdentity {
  readonly cert: string;
  readonly key: string;
}

export interface WireOptions {
  /** "host:port" */
  readonly endpoint: string;
  /** Authorities of the source's certificate, PEM; undefined: clear text. */
  readonly ca: string | undefined;
  /** The source's certificate must name spiffe://fujie/<peerName>. */
  readonly peerName: string;
  readonly client: ClientIdentity | undefined;
  /** Called with every answer. */
  readonly onReply?: (reply: Reply<unknown>) => void;
}

/** The platform waits for no check longer than that. */
export const PATIENCE_MS = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024;

const path = (method: string) => `/${TrustSourceService.typeName}/${method}`;

export function openWire(options: WireOptions): Wire {
  const client = new Client(options.endpoint, credentialsOf(options), {
    "grpc.ssl_target_name_override": options.peerName,
    "grpc.max_receive_message_length": ANSWER_BYTES_MAX,
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    // Each wire is a connection of its own: an identity is never served by another's.
    "grpc.use_local_subchannel_pool": 1,
  });
  const ask = async <Output extends DescMessage>(
    method: string,
    request: Uint8Array,
    output: Output,
    more: CallOptions = {},
  ) => {
    const reply = await callOnce(client, path(method), request, output, more);
    options.onReply?.(reply);
    return reply;
  };
  return {
    describe: (more) =>
      ask("Describe", toBinary(DescribeRequestSchema, create(DescribeRequestSchema)), DescribeResponseSchema, more),
    check: (request, more) =>
      ask(
        "Check",
        request instanceof Uint8Array ? request : toBinary(CheckRequestSchema, request),
        CheckResponseSchema,
        more,
      ),
    getOutcome: (bizSeq, more) =>
      ask(
        "GetOutcome",
        toBinary(GetOutcomeRequestSchema, create(GetOutcomeRequestSchema, { bizSeq })),
        GetOutcomeResponseSchema,
        more,
      ),
    [Symbol.dispose]: () => client.close(),
  };
}

function credentialsOf({ ca, client, peerName }: WireOptions) {
  if (ca === undefined) return credentials.createInsecure();
  const key = client === undefined ? null : Buffer.from(client.key);
  const cert = client === undefined ? null : Buffer.from(client.cert);
  return credentials.createSsl(Buffer.from(ca), key, cert, {
    checkServerIdentity: (_host, certificate) =>
      peerNameFromCertificate(certificate) === peerName ? undefined : new Error("the certificate names another peer"),
  });
}

function callOnce<Output extends DescMessage>(
  client: Client,
  method: string,
  request: Uint8Array,
  output: Output,
  { timeoutMs = PATIENCE_MS, cancelAfterMs, metadata = {} }: CallOptions,
): Promise<Reply<MessageShape<Output>>> {
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  const startedMs = performance.now();
  return new Promise((resolve) => {
    let headers = new Metadata();
    let bytes: Buffer | undefined;
    let cancelling: NodeJS.Timeout | undefined;
    const call: ClientUnaryCall = client.makeUnaryRequest(
      method,
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes,
      request,
      sent,
      { deadline: new Date(Date.now() + timeoutMs) },
      (_error: ServiceError | null, received?: Buffer) => {
        bytes = received;
      },
    );
    call.on("metadata", (received: Metadata) => {
      headers = received;
    });
    // The last of a call's events, after its callback.
    call.on("status", (status) => {
      clearTimeout(cancelling);
      const all = [headers, status.metadata];
      resolve({
        code: nameOf(status.code),
        message: status.code === grpcStatus.OK && bytes !== undefined ? parse(output, bytes) : undefined,
        bytes: bytes?.length ?? 0,
        metadataKeys: [...new Set(all.flatMap((one) => Object.keys(one.getMap())))].sort(),
        retryAfterMs: retryAfterOf(status.metadata),
        said: [status.details, ...all.flatMap(textsIn)].join("\n"),
        elapsedMs: performance.now() - startedMs,
      });
    });
    if (cancelAfterMs !== undefined) cancelling = setTimeout(() => call.cancel(), cancelAfterMs);
  });
}

function nameOf(code: number): StatusName {
  const found = Object.entries(grpcStatus).find(([, value]) => value === code);
  const [name] = found ?? ["UNKNOWN"];
  return isStatusName(name) ? name : "UNKNOWN";
}

function isStatusName(name: string): name is StatusName {
  return name in grpcStatus;
}

function parse<Output extends DescMessage>(output: Output, bytes: Uint8Array): MessageShape<Output> | undefined {
  try {
    return fromBinary(output, bytes);
  } catch {
    return undefined;
  }
}

function retryAfterOf(trailers: Metadata): number | undefined {
  const [bytes] = trailers.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) return undefined;
  for (const detail of parse(StatusSchema, bytes)?.details ?? []) {
    if (!detail.typeUrl.endsWith("/google.rpc.RetryInfo")) continue;
    const delay = parse(RetryInfoSchema, detail.value)?.retryDelay;
    if (delay !== undefined) return Number(delay.seconds) * 1_000 + delay.nanos / 1e6;
  }
  return undefined;
}

function textsIn(metadata: Metadata): string[] {
  return Object.keys(metadata.getMap()).flatMap((key) => metadata.get(key).map((value) => value.toString("utf8")));
}
