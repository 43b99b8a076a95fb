/** Bounds of one server. Everything that a caller can make large, many or slow has one. */
export interface Limits {
  /** Largest message that is read, in bytes, compressed or not. */
  readonly receiveBytesMax: number;
  /** Largest sum of the header names and values of one call, in bytes. */
  readonly headerBytesMax: number;
  /** Calls at once on one connection. */
  readonly streamsPerConnectionMax: number;
  /** Memory that one HTTP/2 connection may hold, in MiB. */
  readonly connectionMemoryMebibytes: number;
  /** A connection without calls is closed after this time. */
  readonly connectionIdleMs: number;
  /** A connection is drained after this time, so that clients spread over new replicas, and cut `connectionAgeGraceMs` later. */
  readonly connectionAgeMs: number;
  readonly connectionAgeGraceMs: number;
  /** Time in which a caller must have sent headers, and (HTTP/1.1) the whole request. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

export const defaultLimits: Limits = {
  receiveBytesMax: 1024 * 1024,
  headerBytesMax: 16 * 1024,
  streamsPerConnectionMax: 256,
  connectionMemoryMebibytes: 32,
  connectionIdleMs: 5 * 60_000,
  connectionAgeMs: 30 * 60_000,
  connectionAgeGraceMs: 60_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
};
