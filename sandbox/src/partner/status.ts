import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, RetryInfoSchema } from "@fujie/api/google/rpc/error_details";
import { StatusSchema } from "@fujie/api/google/rpc/status";
import { Metadata, type StatusObject, status } from "@grpc/grpc-js";

type Details = MessageInitShape<typeof StatusSchema>["details"];

export const malformed = (field: string, description: string): StatusObject =>
  failure(status.INVALID_ARGUMENT, "malformed", [
    anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [{ field, description }] })),
  ]);
export const stranger = (): StatusObject => failure(status.PERMISSION_DENIED, "not the platform's certificate");
export const reused = (): StatusObject => failure(status.ALREADY_EXISTS, "biz_seq was used with other elements");
export const unknownCheck = (): StatusObject => failure(status.NOT_FOUND, "no such check");
export const limited = (retryAfterMs: number): StatusObject =>
  failure(status.RESOURCE_EXHAUSTED, "quota", retryDetails(retryAfterMs));
export const away = (retryAfterMs: number): StatusObject =>
  failure(status.UNAVAILABLE, "away", retryDetails(retryAfterMs));
export const fault = (): StatusObject => failure(status.UNAVAILABLE, "fault");

function retryDetails(retryAfterMs: number): Details {
  const retryDelay = durationFromMs(Math.ceil(retryAfterMs));
  return [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }))];
}

/** A status with google.rpc.Status in the trailer that gRPC reserves for it. */
function failure(code: status, message: string, details: Details = []): StatusObject {
  const metadata = new Metadata();
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
  metadata.set("grpc-status-details-bin", Buffer.from(bytes));
  return { code, details: message, metadata };
}
