import { createHash } from "node:crypto";
import { Cluster, Redis } from "ioredis";
import { DomainError } from "../errors/index.ts";
import { backoffMs } from "../timers/index.ts";
import { checkBucket, checkKey, checkTtl, checkValue, type Ephemeral } from "./ephemeral.ts";
import { parseRedisUrl, type RedisTarget } from "./redis-url.ts";

export interface RedisEphemeralOptions {
  /**
   * `redis://[user:password@]host:port[/db]`, `rediss://…` with TLS, `redis+sentinel://[user:password@]host:port,…/name[/db]`
   * or `redis+cluster://[user:password@]host:port,…`; `rediss+sentinel://` and `rediss+cluster://` with TLS.
   */
  readonly url: string;
  /** Before every key: several services may share one Redis. */
  readonly prefix: string;
  /** For one command. Default 250 ms: a slow cache is worse than none. */
  readonly commandTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
}

interface Script {
  readonly text: string;
  readonly sha1: string;
}

// Each script touches one key, as a cluster wants it.
const INCREMENT = script(`
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count`);

// The same algorithm as in memory, by Redis' own clock: replicas need not agree on the time.
const TAKE_TOKEN = script(`
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local token_ms = 1000 / tonumber(ARGV[1])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now_ms), now_ms) + token_ms
local wait = math.ceil(full_at - tonumber(ARGV[2]) * token_ms - now_ms)
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.max(1, math.ceil(full_at - now_ms)))
return 0`);

/**
 * The store that replicas share. Commands fail at once while the connection is away (nothing queues up behind a dead
 * Redis) and work again after it has come back.
 */
export function redisEphemeral(options: RedisEphemeralOptions): Ephemeral {
  const redis = connectRedis(parseRedisUrl(options.url), options);
  // Every failed command tells its caller; without a listener the event would end the process.
  redis.on("error", () => {});
  const run = async <T>(key: string, command: (prefixed: string) => Promise<T>): Promise<T> => {
    checkKey(key);
    try {
      return await command(`${options.prefix}${key}`);
    } catch (cause) {
      throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "ephemeral", cause });
    }
  };
  return {
    get: (key) => run(key, async (k) => (await redis.get(k)) ?? undefined),
    set: async (key, value, expiry) => {
      checkTtl(expiry);
      checkValue(value);
      await run(key, (k) => redis.set(k, value, "PX", expiry.ttlMs));
    },
    setIfAbsent: async (key, value, expiry) => {
      checkTtl(expiry);
      checkValue(value);
      return (await run(key, (k) => redis.set(k, value, "PX", expiry.ttlMs, "NX"))) === "OK";
    },
    delete: async (key) => {
      await run(key, (k) => redis.del(k));
    },
    increment: async (key, expiry) => {
      checkTtl(expiry);
      return run(key, (k) => runScript(redis, INCREMENT, k, [expiry.ttlMs]));
    },
    takeToken: async (key, bucket) => {
      checkBucket(bucket);
      const values = [bucket.ratePerSecond, bucket.burst];
      const retryAfterMs = await run(key, (k) => runScript(redis, TAKE_TOKEN, k, values));
      return { allowed: retryAfterMs === 0, retryAfterMs };
    },
    [Symbol.asyncDispose]: async () => redis.disconnect(),
  };
}

function connectRedis(target: RedisTarget, options: RedisEphemeralOptions): Redis | Cluster {
  const { user, password, tls, nodes } = target;
  const shared = {
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
    commandTimeout: options.commandTimeoutMs ?? 250,
    connectTimeout: options.connectTimeoutMs ?? 2_000,
    maxRetriesPerRequest: 0,
  };
  const single = { ...shared, enableOfflineQueue: false, retryStrategy: reconnectDelayMs };
  switch (target.kind) {
    case "node":
      return new Redis({ ...single, ...target.node, db: target.db });
    case "sentinel":
      return new Redis({
        ...single,
        sentinels: nodes.map((node) => ({ ...node })),
        name: target.name,
        db: target.db,
        enableTLSForSentinelMode: tls,
        sentinelRetryStrategy: reconnectDelayMs,
      });
    case "cluster":
      return new Cluster(
        nodes.map((node) => ({ ...node })),
        { redisOptions: shared, enableOfflineQueue: false, clusterRetryStrategy: reconnectDelayMs, maxRedirections: 4 },
      );
  }
}

function reconnectDelayMs(attempt: number): number {
  return backoffMs(attempt, { baseMs: 50, capMs: 2_000 });
}

/** Runs a script by its digest; a Redis that was restarted has forgotten it and gets the text. */
async function runScript(
  redis: Redis | Cluster,
  { text, sha1 }: Script,
  key: string,
  values: number[],
): Promise<number> {
  try {
    return Number(await redis.evalsha(sha1, 1, key, ...values));
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return Number(await redis.eval(text, 1, key, ...values));
  }
}

function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}
