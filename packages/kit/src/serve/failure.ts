import { create, type DescMessage, type Message, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "@fujie/api/google/rpc/error_details";
import { type Status, StatusSchema } from "@fujie/api/google/rpc/status";
import { type CanonicalCode, type DomainError, type Reason, reasons } from "../errors/index.ts";

interface Detail {
  readonly desc: DescMessage;
  readonly value: Message;
}

/** How a call fails, before a protocol gives it a shape. The same over all of them. */
export interface Failure {
  readonly code: CanonicalCode;
  readonly reason: Reason;
  readonly message: string;
  readonly details: readonly Detail[];
  /** Whole seconds for Retry-After. */
  readonly retryAfterSeconds: number | undefined;
}

/** Canonical codes as gRPC and Connect number them. */
export const codeNumbers = {
  CANCELLED: Code.Canceled,
  INVALID_ARGUMENT: Code.InvalidArgument,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  OUT_OF_RANGE: Code.OutOfRange,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  UNAUTHENTICATED: Code.Unauthenticated,
} as const satisfies Record<CanonicalCode, Code>;

/** Describes a DomainError with all the details that callers can act on. Nothing of the error's own text leaves. */
export function describeFailure(error: DomainError, traceId: string): Failure {
  const entry = reasons[error.reason];
  const details = [
    detail(ErrorInfoSchema, { reason: error.reason, domain: "fujie", metadata: metadataOf(error, traceId) }),
    ...inputDetails(error),
    ...retryDetails(error),
    ...stateDetails(error, entry.code),
    detail(LocalizedMessageSchema, { locale: "zh-CN", message: entry.zh }),
    detail(LocalizedMessageSchema, { locale: "en", message: entry.en }),
  ];
  const retryAfterSeconds = error.retryDelayMs === undefined ? undefined : Math.ceil(error.retryDelayMs / 1000);
  return { code: entry.code, reason: error.reason, message: entry.en, details, retryAfterSeconds };
}

/** The subject is what a caller names to the operator: a cap, a precondition, a rule. */
function metadataOf({ subject }: DomainError, traceId: string): Record<string, string> {
  return { trace_id: traceId, ...(subject === undefined ? {} : { subject }) };
}

function inputDetails(error: DomainError): Detail[] {
  if (error.violations.length === 0) return [];
  return [
    detail(BadRequestSchema, {
      fieldViolations: error.violations.map(({ field, description }) => ({ field, description, reason: error.reason })),
    }),
  ];
}

function retryDetails(error: DomainError): Detail[] {
  if (error.retryDelayMs === undefined) return [];
  const seconds = Math.floor(error.retryDelayMs / 1000);
  const nanos = Math.round((error.retryDelayMs - seconds * 1000) * 1e6);
  return [detail(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } })];
}

function stateDetails(error: DomainError, code: CanonicalCode): Detail[] {
  const { reason } = error;
  const subject = error.subject ?? "";
  const description = reasons[reason].en;
  if (code === "FAILED_PRECONDITION") {
    return [detail(PreconditionFailureSchema, { violations: [{ type: reason, subject, description }] })];
  }
  if (code === "RESOURCE_EXHAUSTED" && reasons[reason].retryable) {
    return [detail(QuotaFailureSchema, { violations: [{ subject, description }] })];
  }
  return [];
}

function detail<Desc extends DescMessage>(desc: Desc, init: MessageInitShape<Desc>): Detail {
  return { desc, value: create(desc, init) };
}

/** What a call would have failed with, as a message: for a refusal of one item of many. */
export function refusalStatus(error: DomainError, traceId: string): Status {
  return failureToStatus(describeFailure(error, traceId));
}

/** The failure as a message. */
export function failureToStatus({ code, message, details }: Failure): Status {
  const packed = details.map(({ desc, value }) => anyPack(desc, value));
  return create(StatusSchema, { code: codeNumbers[code], message, details: packed });
}

/** The value of `grpc-status-details-bin`: google.rpc.Status. */
export function failureToStatusBytes(failure: Failure): Buffer {
  return Buffer.from(toBinary(StatusSchema, failureToStatus(failure)));
}

/** The same failure as Connect and gRPC-Web know it. */
export function failureToConnectError(failure: Failure): ConnectError {
  const headers = failure.retryAfterSeconds === undefined ? {} : { "retry-after": String(failure.retryAfterSeconds) };
  return new ConnectError(failure.message, codeNumbers[failure.code], headers, [...failure.details]);
}
