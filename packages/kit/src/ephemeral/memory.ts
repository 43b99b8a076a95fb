import type { Clock } from "../clock/index.ts";
import { type Bucket, checkBucket, checkKey, checkTtl, checkValue, type Ephemeral, type Expiry } from "./ephemeral.ts";

export interface MemoryEphemeralOptions {
  /** Entries at most; beyond that the one that was used longest ago goes. */
  readonly maxEntries: number;
  readonly clock: Clock;
}

interface Entry {
  readonly value: string | number;
  readonly expiresAtMs: number;
}

/** The store of one process: the embedded default. */
export function memoryEphemeral({ maxEntries, clock }: MemoryEphemeralOptions): Ephemeral {
  // A Map iterates in the order of insertion: the first is the one used longest ago.
  const entries = new Map<string, Entry>();
  const read = (key: string): Entry | undefined => {
    checkKey(key);
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    entries.delete(key);
    if (entry.expiresAtMs <= clock.nowMs()) return undefined;
    entries.set(key, entry);
    return entry;
  };
  const write = (key: string, value: string | number, expiresAtMs: number): void => {
    checkKey(key);
    entries.delete(key);
    entries.set(key, { value, expiresAtMs });
    for (const [oldest] of entries) {
      if (entries.size <= maxEntries) break;
      entries.delete(oldest);
    }
  };
  const writeValue = (key: string, value: string, expiry: Expiry): void => {
    checkTtl(expiry);
    checkValue(value);
    write(key, value, clock.nowMs() + expiry.ttlMs);
  };

  return {
    get: async (key) => {
      const value = read(key)?.value;
      return value === undefined ? undefined : String(value);
    },
    set: async (key, value, expiry) => writeValue(key, value, expiry),
    setIfAbsent: async (key, value, expiry) => {
      if (read(key) !== undefined) return false;
      writeValue(key, value, expiry);
      return true;
    },
    delete: async (key) => {
      checkKey(key);
      entries.delete(key);
    },
    increment: async (key, expiry) => {
      checkTtl(expiry);
      const found = read(key);
      const count = Number(found?.value ?? 0) + 1;
      write(key, count, found?.expiresAtMs ?? clock.nowMs() + expiry.ttlMs);
      return count;
    },
    takeToken: async (key, bucket) => {
      checkBucket(bucket);
      const nowMs = clock.nowMs();
      const { fullAtMs, retryAfterMs } = takeFrom(Number(read(key)?.value ?? nowMs), nowMs, bucket);
      if (retryAfterMs > 0) return { allowed: false, retryAfterMs };
      write(key, fullAtMs, Math.ceil(fullAtMs));
      return { allowed: true, retryAfterMs: 0 };
    },
    [Symbol.asyncDispose]: async () => entries.clear(),
  };
}

/**
 * The generic cell rate algorithm (ITU-T I.371): a bucket is one number, the time at which it will be full again. A
 * token may be taken while that lies less than the whole bucket minus one token ahead.
 */
function takeFrom(storedMs: number, nowMs: number, { ratePerSecond, burst }: Bucket) {
  const tokenMs = 1_000 / ratePerSecond;
  const fullAtMs = Math.max(storedMs, nowMs) + tokenMs;
  return { fullAtMs, retryAfterMs: Math.max(0, Math.ceil(fullAtMs - burst * tokenMs - nowMs)) };
}
