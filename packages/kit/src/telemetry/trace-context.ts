/** W3C Trace Context: the header `traceparent`, and identifiers of our own from a pool of random bytes. */
import { randomFillSync } from "node:crypto";

export interface RemoteParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

const TRACE_PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const SAMPLED = 1;
/** tracestate goes on as it came, unless it is longer than the standard's 512 characters or not printable ASCII. */
const TRACE_STATE = /^[\x20-\x7e]{1,512}$/;

/** Undefined for an absent or malformed header: a new trace then begins (W3C Trace Context §3.2). */
export function parseTraceParent(header: string | undefined): RemoteParent | undefined {
  const [, version, traceId, spanId, flags, rest] = TRACE_PARENT.exec(header ?? "") ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const malformed = version === "ff" || (version === "00" && rest !== undefined);
  if (malformed || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED };
}

export function formatTraceParent(traceId: string, spanId: string, sampled: boolean): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

export function acceptTraceState(header: string | undefined): string | undefined {
  return header !== undefined && TRACE_STATE.test(header) ? header : undefined;
}

export function newTraceId(): string {
  return randomHex(16);
}

export function newSpanId(): string {
  return randomHex(8);
}

const pool = Buffer.allocUnsafe(8_192);
let poolOffset = pool.length;

/** Never all zeros in practice (2⁻⁶⁴); a receiver would begin a new trace. */
function randomHex(bytes: number): string {
  if (poolOffset + bytes > pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const start = poolOffset;
  poolOffset += bytes;
  return pool.toString("hex", start, poolOffset);
}
