import { Code, type ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "@fujie/api/google/rpc/error_details";
import { DomainError, isReason, type Reason } from "../errors/index.ts";

/** Reasons that blame whoever sent the call: when a service hears one from a peer, the fault is its own. */
const ownFaults: ReadonlySet<Reason> = new Set<Reason>([
  "INTERNAL",
  "FIELD_INVALID",
  "REQUEST_MALFORMED",
  "MESSAGE_TOO_LARGE",
  "DEADLINE_MALFORMED",
  "METHOD_UNKNOWN",
  "PEER_FORBIDDEN",
  "PEER_CERTIFICATE_INVALID",
]);

/**
 * Turns the error of a call to another service into one of ours. A reason of the catalogue stays what it is, so that
 * it travels back to the first caller; what the other one says about *our* request is a fault here and becomes a
 * plain Error; without a reason (the connection broke, the deadline passed) the code decides.
 */
export function fromRemoteError(error: ConnectError): Error {
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "fujie");
  if (info !== undefined && isReason(info.reason) && !ownFaults.has(info.reason)) {
    const retryDelayMs = retryDelayOf(error);
    return new DomainError(info.reason, { cause: error, ...(retryDelayMs === undefined ? {} : { retryDelayMs }) });
  }
  if (info === undefined) {
    if (error.code === Code.Unavailable) return new DomainError("DEPENDENCY_UNAVAILABLE", { cause: error });
    if (error.code === Code.DeadlineExceeded) return new DomainError("DEADLINE_EXCEEDED", { cause: error });
    if (error.code === Code.Canceled) return new DomainError("CANCELLED", { cause: error });
  }
  return new Error(`another service answered ${Code[error.code]} ${info?.reason ?? ""}`, { cause: error });
}

function retryDelayOf(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}
