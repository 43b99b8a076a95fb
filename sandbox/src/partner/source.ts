import { readFileSync } from "node:fs";
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type CheckRequest,
  type CheckResponse,
  CheckResponseSchema,
  type DescribeResponse,
  DescribeResponseSchema,
  type GetOutcomeRequest,
  type GetOutcomeResponse,
  GetOutcomeResponseSchema,
  TrustSourceService,
} from "@fujie/api/fujie/source/v1/source";
import {
  type handleUnaryCall,
  type MethodDefinition,
  ServerCredentials,
  type ServerUnaryCall,
  type StatusObject,
} from "@grpc/grpc-js";
import type { Log } from "../log.ts";
import type { LoopbackAddress } from "../loopback.ts";
import { type CheckDesk, createCheckDesk } from "../manners/check.ts";
import { BIZ_SEQ_FORM } from "../manners/elements.ts";
import { FieldError, requireText } from "../manners/field-error.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { type GrpcListener, listenGrpc } from "./listener.ts";
import { isPlatform } from "./peer.ts";
import { type AssertionKey, PARTNER_ID, PARTNER_LEVELS, type PartnerAnswer, readPartnerCheck } from "./rules.ts";
import { away, fault, limited, malformed, reused, stranger, unknownCheck } from "./status.ts";

/** The grant and the pace of a partner. */
export const PARTNER_DEFAULTS = { latencyMs: 60, quotaPerSecond: 50 } as const;

/** PEM files: the partner's certificate and key, and the authorities whose clients it accepts. */
export type TlsFiles = { readonly certFile: string; readonly keyFile: string; readonly caFile: string };

export type Partner = AsyncDisposable & { readonly manners: Manners; readonly port: number };

/** A reply, a status, or silence: hang and drop answer nothing. */
type Result<Reply> = { readonly reply: Reply } | { readonly status: StatusObject } | "hang" | "drop";

type PartnerContext = { readonly desk: CheckDesk<PartnerAnswer>; readonly key: AssertionKey };

/** A third-party source that implements fujie.source.v1 over mutual TLS (SZ-9). */
export async function openPartner(
  address: LoopbackAddress,
  tls: TlsFiles,
  key: AssertionKey,
  surroundings: Surroundings,
): Promise<Partner> {
  const desk = createCheckDesk<PartnerAnswer>(PARTNER_ID, PARTNER_DEFAULTS, surroundings);
  const context = { desk, key };
  const credentials = ServerCredentials.createSsl(
    readFileSync(tls.caFile),
    [{ cert_chain: readFileSync(tls.certFile), private_key: readFileSync(tls.keyFile) }],
    true,
  );
  // Calls need a connection and connections the listener: it is there before the first call.
  let listener: GrpcListener | undefined;
  const answer = <Request, Reply>(handle: (request: Request) => Promise<Result<Reply>>) =>
    unary(handle, desk.manners, surroundings.log, (peer) => listener?.drop(peer));
  const { describe, check, getOutcome } = TrustSourceService.method;
  listener = await listenGrpc(
    address,
    credentials,
    {
      describe: methodDefinition(describe),
      check: methodDefinition(check),
      getOutcome: methodDefinition(getOutcome),
    },
    {
      describe: answer(async () => describeSource(desk.manners)),
      check: answer((request: CheckRequest) => checkClaim(request, context)),
      getOutcome: answer((request: GetOutcomeRequest) => tellOutcome(request, context)),
    },
  );
  return { manners: desk.manners, port: listener.port, [Symbol.asyncDispose]: listener.close };
}

function describeSource(manners: Manners): Result<DescribeResponse> {
  const { latencyMs, quotaPerSecond } = manners.settings();
  return {
    reply: create(DescribeResponseSchema, {
      sourceId: PARTNER_ID,
      claimTypes: [...PARTNER_LEVELS.keys()],
      level: Math.max(...PARTNER_LEVELS.values()),
      rateLimitPerSecond: quotaPerSecond,
      maintenance: manners.maintenance().map(({ startMs, endMs }) => ({
        startTime: timestampFromMs(startMs),
        endTime: timestampFromMs(endMs),
      })),
      usualLatency: durationFromMs(latencyMs),
    }),
  };
}

async function checkClaim(request: CheckRequest, { desk, key }: PartnerContext): Promise<Result<CheckResponse>> {
  const delivery = await desk.check(() => readPartnerCheck(request, key));
  switch (delivery.kind) {
    case "answered":
      return { reply: create(CheckResponseSchema, { assertion: delivery.answer.assertion }) };
    case "conflict":
      return { status: reused() };
    case "limited":
      return { status: limited(delivery.retryAfterMs) };
    case "away":
      return { status: away(delivery.retryAfterMs) };
    case "failed":
      return { status: fault() };
    case "hung":
      return "hang";
    case "dropped":
      return "drop";
  }
}

async function tellOutcome(request: GetOutcomeRequest, { desk }: PartnerContext): Promise<Result<GetOutcomeResponse>> {
  const outcome = await desk.outcome(requireText(request.bizSeq, "biz_seq", BIZ_SEQ_FORM));
  switch (outcome.kind) {
    case "answered":
      return { reply: create(GetOutcomeResponseSchema, { assertion: outcome.answer.assertion }) };
    case "away":
      return { status: away(outcome.retryAfterMs) };
    case "unknown":
      return { status: unknownCheck() };
  }
}

/** The steps around every method: the peer's certificate, the handler, errors. */
function unary<Request, Reply>(
  handle: (request: Request) => Promise<Result<Reply>>,
  { ledger }: Pick<Manners, "ledger">,
  log: Log,
  drop: (peer: string) => void,
): handleUnaryCall<Request, Reply> {
  async function run(call: ServerUnaryCall<Request, Reply>): Promise<Result<Reply>> {
    if (!isPlatform(call.getAuthContext().sslPeerCertificate)) {
      ledger.refuse("unauthenticated");
      return { status: stranger() };
    }
    try {
      return await handle(call.request);
    } catch (error) {
      if (error instanceof FieldError) return { status: malformed(error.field, error.message) };
      log.error({ source: PARTNER_ID, error: error instanceof Error ? error.name : "unknown" }, "a call failed");
      return { status: fault() };
    }
  }
  return (call, callback) => {
    run(call).then((result) => {
      if (result === "hang") return;
      if (result === "drop") drop(call.getPeer());
      else if ("status" in result) callback(result.status);
      else callback(null, result.reply);
    }, callback);
  };
}

function methodDefinition<Input extends DescMessage, Output extends DescMessage>(method: {
  readonly parent: { readonly typeName: string };
  readonly name: string;
  readonly input: Input;
  readonly output: Output;
}): MethodDefinition<MessageShape<Input>, MessageShape<Output>> {
  const { parent, name, input, output } = method;
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(toBinary(input, message)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}
