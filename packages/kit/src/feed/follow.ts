// following ── a message whose signature does not fit ──▶ halted (until the process starts again)
//  │   ▲
//  │   └── back-off ── stream broken, silent, unknown key, `apply` failed
//  └────── standby ─── another replica holds the lease
//
// Applied is what committed: the position moves in the transaction of `apply`, so that a kill at any point repeats
// nothing and leaves nothing out. Nothing unsigned is applied, and freshness comes from signed heartbeats alone.

import { randomUUID } from "node:crypto";
import type { Any } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { WatchResponse } from "@fujie/api/fujie/feed/v1/feed";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import type { Clock } from "../clock/index.ts";
import type { Database, Transaction } from "../db/index.ts";
import { DomainError } from "../errors/index.ts";
import type { KeyBundle } from "../keys/index.ts";
import type { Logger } from "../log/index.ts";
import { backoffMs, systemTimers, type Timers } from "../timers/index.ts";
import { batchReady } from "./batch-ready.ts";
import { databaseKeeper, type Keeper, LeaseLostError, memoryKeeper } from "./keeper.ts";
import { signedBytes, timeMsOf } from "./signed-bytes.ts";

/** The call that a follower needs; a client of FeedService is one. */
export interface FeedClient {
  watch(
    request: { readonly topic: string; readonly resumeToken: string },
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<WatchResponse>;
}

/** The followed service's feed keys, from the public-key bundle. */
export interface FeedVerifier {
  /** False: the key may have been published since the bundle was read; the follower waits and tries again. */
  knows(keyId: string): boolean;
  /** Whether a feed key of exactly the followed service made the signature. */
  verify(keyId: string, bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** Verifies by the public-key bundle, with the feed keys of one service. */
export function feedVerifier(bundle: KeyBundle, service: string): FeedVerifier {
  return {
    knows: (keyId) => bundle.find(keyId) !== undefined,
    verify: (keyId, bytes, signature) => bundle.verify({ keyId, use: "feed", service, bytes, signature }),
  };
}

export type FollowerState = "following" | "standby" | "waiting" | "halted" | "stopped";

export interface Follower extends AsyncDisposable {
  state(): FollowerState;
  /** Up to which time, by the followed service's clock, everything is known; 0 before the first heartbeat. */
  freshAtMs(): number;
}

export interface EphemeralFollowOptions {
  readonly client: FeedClient;
  readonly topic: string;
  readonly verifier: FeedVerifier;
  /** Called with each advance of freshness. */
  readonly onFresh?: (atMs: number) => void;
  readonly log: Pick<Logger, "warn" | "error">;
  readonly timers?: Timers;
  /** Events may come again after the stream was broken. `atMs` is when the event was written. */
  readonly apply: (event: Any, atMs: number) => void | Promise<void>;
}

export interface FollowOptions extends Omit<EphemeralFollowOptions, "apply"> {
  readonly db: Database;
  readonly clock: Clock;
  /** Applies one event. Throwing rolls back, and the event comes again after a back-off: nothing is skipped. */
  readonly apply: (tx: Transaction, event: Any, atMs: number) => Promise<void>;
  /**
   * The followed service no longer has all that came since the position: what follows is everything, from the
   * beginning. Called in the transaction that forgets the position.
   */
  readonly reset?: (tx: Transaction) => Promise<void>;
  /** Events applied in one transaction at most. Default 100. */
  readonly batchMax?: number;
  /** How long a replica that was killed keeps the others waiting. Default 3 s. */
  readonly leaseMs?: number;
}

const RECONNECT_BACKOFF = { baseMs: 100, capMs: 5_000 };
const BATCH_MAX = 100;

/** More than two heartbeats. */
const SILENCE_MS = 5_000;

/**
 * Follows a topic into this service's database. Of all replicas one follows at a time; the others stand by and learn
 * freshness from the database. `kit.feed_position` holds the position, one per topic.
 */
export function followFeed(options: FollowOptions): Follower {
  const { leaseMs = 3_000 } = options;
  return startFollower(
    options,
    options.batchMax ?? BATCH_MAX,
    databaseKeeper({ ...options, leaseMs, id: randomUUID() }),
  );
}

/**
 * Follows a topic into this process's memory, from the oldest event that the topic keeps: for short-lived facts like
 * revocations, whose topic keeps them as long as they matter.
 */
export function ephemeralFollow(options: EphemeralFollowOptions): Follower {
  return startFollower(options, BATCH_MAX, memoryKeeper(options.apply));
}

interface Following {
  readonly options: Omit<EphemeralFollowOptions, "apply">;
  readonly batchMax: number;
  readonly timers: Timers;
  readonly keeper: Keeper;
  readonly stop: AbortController;
  state: FollowerState;
  freshAtMs: number;
  failures: number;
}

function startFollower(options: Omit<EphemeralFollowOptions, "apply">, batchMax: number, keeper: Keeper): Follower {
  const following: Following = {
    options,
    batchMax,
    timers: options.timers ?? systemTimers,
    keeper,
    stop: new AbortController(),
    state: "waiting",
    freshAtMs: 0,
    failures: 0,
  };
  const running = followForEver(following);
  return {
    state: () => following.state,
    freshAtMs: () => following.freshAtMs,
    [Symbol.asyncDispose]: async () => {
      following.stop.abort();
      await running;
    },
  };
}

async function followForEver(following: Following): Promise<void> {
  const { options, keeper, stop, timers } = following;
  while (!stop.signal.aborted && following.state !== "halted") {
    try {
      const held = await keeper.begin();
      if (held.token === undefined) {
        following.state = "standby";
        becomeFresh(following, held.freshAtMs);
        await timers.sleep(keeper.standbyMs, stop.signal);
      } else {
        await followStream(following, held.token);
      }
    } catch (error) {
      if (stop.signal.aborted) break;
      await recover(following, error);
    }
  }
  await keeper.end().catch((error: unknown) => {
    options.log.warn({ error, topic: options.topic }, "feed lease not given back");
  });
  if (following.state !== "halted") following.state = "stopped";
}

async function followStream(following: Following, token: string): Promise<void> {
  const { options, keeper, stop, timers, batchMax } = following;
  const stream = new AbortController();
  const signal = AbortSignal.any([stop.signal, stream.signal]);
  try {
    const messages = options.client.watch({ topic: options.topic, resumeToken: token }, { signal });
    for await (const batch of batchReady(messages, { batchMax, silenceMs: SILENCE_MS, timers, signal })) {
      const events = batch.flatMap((message) => {
        checkSignature(options, message);
        const { event, resumeToken } = message;
        return event === undefined ? [] : [{ event, resumeToken, atMs: timeMsOf(message) }];
      });
      const freshAtMs = Math.max(0, ...batch.filter((message) => message.event === undefined).map(timeMsOf));
      if (events.length > 0) await keeper.apply(events);
      if (freshAtMs > 0) await keeper.fresh(freshAtMs);
      becomeFresh(following, freshAtMs);
      following.state = "following";
      following.failures = 0;
    }
    if (!stop.signal.aborted) throw new Error("the feed ended the stream");
  } finally {
    stream.abort();
  }
}

async function recover(following: Following, error: unknown): Promise<void> {
  const { options, keeper, stop, timers } = following;
  const { topic } = options;
  if (error instanceof ForgedMessageError) {
    following.state = "halted";
    options.log.error({ error, topic }, "forged feed message: the follower halts");
    return;
  }
  following.state = "waiting";
  if (error instanceof LeaseLostError) return;
  following.failures += 1;
  const reason = reasonOf(error);
  options.log.warn({ error, topic, reason, failures: following.failures }, "feed interrupted");
  if (reason === "RESUME_TOKEN_EXPIRED" || reason === "RESUME_TOKEN_INVALID") {
    await keeper.reset().catch((cause: unknown) => {
      options.log.warn({ error: cause, topic }, "feed position not reset");
    });
  }
  await timers.sleep(backoffMs(following.failures, RECONNECT_BACKOFF), stop.signal);
}

/** Freshness never goes back: an old heartbeat that is played again says nothing. */
function becomeFresh(following: Following, atMs: number): void {
  if (atMs <= following.freshAtMs) return;
  following.freshAtMs = atMs;
  following.options.onFresh?.(atMs);
}

class ForgedMessageError extends Error {
  override readonly name = "ForgedMessageError";
}

function checkSignature({ topic, verifier }: Pick<FollowOptions, "topic" | "verifier">, message: WatchResponse): void {
  const { keyId, signature } = message;
  // Any key id: the sender chose it, so it is not worth logging.
  if (!verifier.knows(keyId)) throw new Error("the feed signs with a key that the bundle does not hold");
  if (!verifier.verify(keyId, signedBytes(topic, message), signature)) {
    throw new ForgedMessageError(`a message of ${topic} is not signed by its service`);
  }
}

function reasonOf(error: unknown): string | undefined {
  if (error instanceof DomainError) return error.reason;
  if (error instanceof ConnectError) return error.findDetails(ErrorInfoSchema)[0]?.reason;
  return undefined;
}
