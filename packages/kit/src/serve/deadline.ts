/** The longest deadline that a caller may set. */
export const deadlineMsMax = 5 * 60_000;
/** The deadline of a unary call whose method and caller set none. */
export const deadlineMsDefault = 10_000;

/** Milliseconds, undefined when the caller set no deadline, or the word that it cannot be read. */
export type Timeout = number | undefined | "malformed";

const grpcUnitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Reads `grpc-timeout`: up to eight digits and a unit, nothing else (gRPC over HTTP/2). */
export function parseGrpcTimeout(header: string | undefined): Timeout {
  if (header === undefined) return undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  const unitMs = grpcUnitMs[match?.[2] ?? ""];
  return match === null || unitMs === undefined ? "malformed" : bounded(Number(match[1]) * unitMs);
}

/** Reads `connect-timeout-ms`: up to ten digits (Connect protocol). */
export function parseConnectTimeout(header: string | null): Timeout {
  if (header === null) return undefined;
  return /^\d{1,10}$/.test(header) ? bounded(Number(header)) : "malformed";
}

function bounded(timeoutMs: number): Timeout {
  return timeoutMs > deadlineMsMax ? "malformed" : timeoutMs;
}
