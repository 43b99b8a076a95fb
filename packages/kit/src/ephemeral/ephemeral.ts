import { channel } from "node:diagnostics_channel";

/**
 * A small store for what may be lost: session caches, rate limits, results that can be had again. Losing it costs
 * speed and sign-ins, never safety: what must happen once at most is a unique insert in PostgreSQL.
 * Keys are at most 200 bytes and hold nothing personal (keyed digests where need be); values at most 256 KiB.
 * @throws DomainError DEPENDENCY_UNAVAILABLE from every call while the store is away.
 */
export interface Ephemeral extends AsyncDisposable {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string, expiry: Expiry): Promise<void>;
  /** Sets the value unless there is one; tells whether it did. Of several at once exactly one gets true. */
  setIfAbsent(key: string, value: string, expiry: Expiry): Promise<boolean>;
  delete(key: string): Promise<void>;
  /** Adds one to a counter and returns it. The time runs from the first increment: a fixed window. */
  increment(key: string, expiry: Expiry): Promise<number>;
  /** Takes one token from a bucket that holds at most `burst` and refills steadily. */
  takeToken(key: string, bucket: Bucket): Promise<Taken>;
}

export interface Expiry {
  /** Milliseconds, from 1. */
  readonly ttlMs: number;
}

export interface Bucket {
  readonly ratePerSecond: number;
  /** Tokens at once, from 1. */
  readonly burst: number;
}

export interface Taken {
  readonly allowed: boolean;
  /** When a token will be there; 0 when allowed. */
  readonly retryAfterMs: number;
}

/** Tells which keys are used; tests listen, to prove that nobody is named in one. */
export const KEYS_CHANNEL = "fujie.ephemeral.keys";

const keys = channel(KEYS_CHANNEL);
const KEY_BYTES_MAX = 200;
const VALUE_LENGTH_MAX = 262_144;

/** A key or value out of bounds is a fault of the program. */
export function checkKey(key: string): void {
  if (key === "" || Buffer.byteLength(key) > KEY_BYTES_MAX) throw new RangeError("ephemeral key is empty or too long");
  if (keys.hasSubscribers) keys.publish({ key });
}

export function checkValue(value: string): void {
  if (value.length > VALUE_LENGTH_MAX) throw new RangeError("ephemeral value is too long");
}

export function checkTtl({ ttlMs }: Expiry): void {
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 1) throw new RangeError("ttlMs is not a positive integer");
}

export function checkBucket({ ratePerSecond, burst }: Bucket): void {
  if (!(ratePerSecond > 0) || !Number.isFinite(ratePerSecond)) throw new RangeError("ratePerSecond is not positive");
  if (!(burst >= 1) || !Number.isFinite(burst)) throw new RangeError("burst is less than 1");
}
