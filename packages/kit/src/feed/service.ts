// One poller per process reads what became complete in every watched topic, signs it once, and keeps the newest events
// as the topic's tail. A watcher is a position: while it stands in the tail it is served from there, and when it is
// behind, because it resumes or is slow, it reads pages of its own until it has caught up. It is pulled by its
// transport, so that a slow follower costs a position and not a queue.

import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { FeedService, WatchRequest, WatchResponse } from "@fujie/api/fujie/feed/v1/feed";
import type { Clock } from "../clock/index.ts";
import type { Database } from "../db/index.ts";
import { DomainError } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";
import type { Logger } from "../log/index.ts";
import { backoffMs, createNudge, type Nudge, systemTimers, type Timers } from "../timers/index.ts";
import {
  BEGINNING,
  CURSOR_PATTERN,
  END,
  isBefore,
  openPlace,
  type Place,
  type Position,
  signPlace,
} from "./position.ts";
import { signedBytes } from "./signed-bytes.ts";
import { type FeedPage, readTopics, type StoredEvent } from "./store.ts";

/** One item of a snapshot: an event that tells the present state of one thing, and where it stands in the listing. */
export interface SnapshotItem {
  readonly event: Any;
  /** An id by which the listing goes on after this item: at most 60 of A–Z a–z 0–9 _ -. */
  readonly cursor: string;
}

export interface FeedTopic {
  /** The services that may follow it. */
  readonly peers: readonly string[];
  /** The present state, by keyset: what a follower without a position gets first. Items are in the order of cursors. */
  readonly snapshot?: (after: string | undefined, limit: number) => Promise<readonly SnapshotItem[]>;
}

export interface FeedOptions {
  readonly db: Database;
  readonly topics: Readonly<Record<string, FeedTopic>>;
  readonly ring: Pick<KeyRing, "sign" | "hmac" | "hmacMatches">;
  /** The service that calls, as mutual TLS tells it. */
  readonly peerOf: (call: HandlerContext) => string | undefined;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
  readonly timers?: Timers;
  /** How soon events of other processes are found; those of this process nudge. Default 100 ms. */
  readonly pollMs?: number;
  /** Default 1 s; feed.proto promises 2 s. */
  readonly heartbeatMs?: number;
  /** Events read at once and kept per topic. Default 500. */
  readonly pageMax?: number;
}

export interface Feed extends AsyncDisposable {
  readonly impl: ServiceImpl<typeof FeedService>;
  /**
   * Follows a topic that the service offers to its own callers, one each, by a method of its own: whether the caller may
   * is that method's to tell. Without a token from the oldest event that is kept; heartbeats have no event.
   * @throws DomainError RESUME_TOKEN_INVALID, RESUME_TOKEN_EXPIRED
   */
  follow(topic: string, resumeToken: string, signal: AbortSignal): AsyncGenerator<WatchInit>;
  /** Looks for events now. Commits that published through this process's database do so by themselves. */
  nudge(): void;
}

type WatchInit = Omit<WatchResponse, "$typeName" | "$unknown">;

/** What is sent, and where its receiver then stands. */
interface Sent {
  readonly message: WatchInit;
  readonly position: Position;
}

/** The newest events of a topic: all of them after `start`, up to `end`. */
interface Tail {
  readonly cluster: string;
  start: Position;
  end: Position;
  events: readonly Sent[];
  heartbeat: Sent | undefined;
  heartbeatAtMs: number;
  /** Watchers that wait for something new. */
  readonly waiting: Set<() => void>;
  /** Nothing comes any more: read on from the database. */
  closed: boolean;
}

const PAGE_MAX = 500;

/** Where a watcher stands. */
interface Standing {
  readonly cluster: string;
  readonly position: Position;
  /** It came here from somewhere, so that nothing may be missing before its next event. */
  readonly resumed: boolean;
}

interface Feeding {
  readonly options: FeedOptions;
  readonly tails: Map<string, Tail>;
  /** How many watch each topic: a tail is kept for somebody. */
  readonly watchers: Map<string, number>;
  readonly nudge: Nudge;
  readonly stop: AbortController;
}

/** Serves the topics of one service. Disposing ends all streams, so that followers go elsewhere. */
export function feedService(options: FeedOptions): Feed {
  const feeding: Feeding = {
    options,
    tails: new Map(),
    watchers: new Map(),
    nudge: createNudge(),
    stop: new AbortController(),
  };
  const unlisten = options.db.listen("feed", feeding.nudge.nudge);
  const polling = pollForEver(feeding);
  return {
    nudge: feeding.nudge.nudge,
    impl: { watch: (request, call) => watch(feeding, request, call) },
    follow: (topic, resumeToken, signal) => follow(feeding, topic, { peers: [] }, resumeToken, signal),
    [Symbol.asyncDispose]: async () => {
      unlisten();
      feeding.stop.abort();
      for (const topic of feeding.tails.keys()) dropTail(feeding, topic);
      await polling;
    },
  };
}

async function* watch(feeding: Feeding, request: WatchRequest, call: HandlerContext): AsyncGenerator<WatchInit> {
  const { options } = feeding;
  const name = request.topic;
  const topic = Object.hasOwn(options.topics, name) ? options.topics[name] : undefined;
  if (topic === undefined) throw new DomainError("FEED_TOPIC_UNKNOWN");
  const peer = options.peerOf(call);
  if (peer === undefined || !topic.peers.includes(peer)) throw new DomainError("PEER_FORBIDDEN");
  yield* follow(feeding, name, topic, request.resumeToken, call.signal);
}

async function* follow(
  feeding: Feeding,
  name: string,
  topic: FeedTopic,
  resumeToken: string,
  signal: AbortSignal,
): AsyncGenerator<WatchInit> {
  const { options, watchers } = feeding;
  const place = resumeToken === "" ? undefined : openPlace(name, resumeToken, options.ring);

  const over = AbortSignal.any([signal, feeding.stop.signal]);
  watchers.set(name, (watchers.get(name) ?? 0) + 1);
  try {
    let at = yield* begin(options, name, topic, place, over);
    while (!over.aborted) {
      const tail = feeding.tails.get(name);
      const inTail = tail?.cluster === at.cluster && !isBefore(at.position, tail.start);
      at = inTail ? yield* followTail(tail, at, over) : yield* readAhead(feeding, name, at, over);
    }
  } finally {
    const left = (watchers.get(name) ?? 1) - 1;
    watchers.set(name, left);
    if (left === 0) dropTail(feeding, name);
  }
}

/** Resumes, or begins with a snapshot where the topic has one. */
async function* begin(
  options: FeedOptions,
  name: string,
  topic: FeedTopic,
  place: Place | undefined,
  over: AbortSignal,
): AsyncGenerator<WatchInit, Standing> {
  const now = await readTopic(options, name, END);
  if (place !== undefined && isGone(now, place)) throw new DomainError("RESUME_TOKEN_EXPIRED");
  const from: Standing = { cluster: now.cluster, position: place?.position ?? now.end, resumed: true };
  if (place?.kind === "position") return from;
  // A cursor whose topic has no snapshot any more: all that is kept, from the oldest.
  if (topic.snapshot === undefined) return { ...from, position: BEGINNING, resumed: false };

  const { pageMax = PAGE_MAX } = options;
  let after = place?.cursor;
  for (let full = true; full && !over.aborted; ) {
    const items = await topic.snapshot(after, pageMax);
    for (const { event, cursor } of items) {
      if (!CURSOR_PATTERN.test(cursor)) throw new RangeError(`a snapshot cursor of ${name} is not an id`);
      const resumeToken = signPlace(name, { kind: "snapshot", ...from, cursor }, options.ring);
      yield await sign(options, name, { resumeToken, event, atMs: options.clock.nowMs() });
      after = cursor;
    }
    full = items.length >= pageMax;
  }
  return from;
}

/** Sends the next page from the database; at its end the watcher joins the tail, or starts it. */
async function* readAhead(
  feeding: Feeding,
  name: string,
  at: Standing,
  over: AbortSignal,
): AsyncGenerator<WatchInit, Standing> {
  const { options, tails } = feeding;
  const page = await readTopic(options, name, at.position);
  if (at.cluster !== page.cluster || (at.resumed && isGone(page, at))) throw new DomainError("RESUME_TOKEN_EXPIRED");
  for (const event of page.events) {
    if (over.aborted) break;
    yield (await signEvent(options, name, page.cluster, event)).message;
  }
  const { cluster, end } = page;
  if (!page.full && !tails.has(name) && !over.aborted) {
    const tail: Tail = {
      cluster,
      start: end,
      end,
      events: [],
      heartbeat: undefined,
      heartbeatAtMs: Number.NEGATIVE_INFINITY,
      waiting: new Set(),
      closed: false,
    };
    tails.set(name, tail);
    feeding.nudge.nudge();
  }
  return { cluster, position: end, resumed: true };
}

/** Sends what the tail has after the watcher's position, then waits for more. */
async function* followTail(tail: Tail, at: Standing, over: AbortSignal): AsyncGenerator<WatchInit, Standing> {
  let position = at.position;
  let heartbeat: Sent | undefined;
  while (!over.aborted && !tail.closed && !isBefore(position, tail.start)) {
    // Taken together: the poller may move the tail while a slow transport takes its time with an event.
    const { events, end, heartbeat: newest } = tail;
    for (const event of events) {
      if (over.aborted) break;
      if (!isBefore(position, event.position)) continue;
      yield event.message;
      position = event.position;
    }
    if (isBefore(position, end)) position = end;
    if (newest !== undefined && newest !== heartbeat && !isBefore(newest.position, position)) {
      heartbeat = newest;
      yield newest.message;
    }
    // Only if nothing came meanwhile, else once more.
    if (tail.end === end && tail.heartbeat === newest) await changeOf(tail, over);
  }
  return { ...at, position };
}

async function changeOf(tail: Tail, over: AbortSignal): Promise<void> {
  if (tail.closed || over.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  tail.waiting.add(wake);
  over.addEventListener("abort", wake);
  await promise;
  tail.waiting.delete(wake);
  // A stream lives for days and waits ten times a second.
  over.removeEventListener("abort", wake);
}

function wakeWatchers(tail: Tail): void {
  for (const wake of tail.waiting) wake();
}

function dropTail({ tails }: Feeding, name: string): void {
  const tail = tails.get(name);
  if (tail === undefined) return;
  tails.delete(name);
  tail.closed = true;
  wakeWatchers(tail);
}

async function pollForEver(feeding: Feeding): Promise<void> {
  const { options, stop, nudge } = feeding;
  const { pollMs = 100, timers = systemTimers } = options;
  for (let failures = 0; !stop.signal.aborted; ) {
    try {
      const more = await pollTails(feeding);
      failures = 0;
      if (!more) await nudge.wait(feeding.tails.size === 0 ? IDLE_MS : pollMs, timers, stop.signal);
    } catch (error) {
      failures += 1;
      options.log.warn({ error, failures }, "feed poll failed");
      await timers.sleep(backoffMs(failures, { baseMs: pollMs, capMs: 5_000 }), stop.signal);
    }
  }
}

/** Nobody watches: the first tail nudges. */
const IDLE_MS = 3_600_000;

/** Extends every tail by what became complete. Returns whether there is more to read at once. */
async function pollTails(feeding: Feeding): Promise<boolean> {
  const { options } = feeding;
  const polled = [...feeding.tails];
  if (polled.length === 0) return false;
  const startedMs = options.clock.nowMs();
  const positions = new Map(polled.map(([name, tail]) => [name, tail.end]));
  const pages = await readTopics(options.db, positions, options.pageMax ?? PAGE_MAX);
  let more = false;
  for (const [name, tail] of polled) {
    const page = pages.get(name);
    if (page === undefined || tail.closed) continue;
    if (tail.cluster !== page.cluster || isGone(page, { cluster: tail.cluster, position: tail.end })) {
      dropTail(feeding, name);
      continue;
    }
    await extendTail(options, name, tail, page, startedMs);
    more ||= page.full;
  }
  return more;
}

async function extendTail(
  options: FeedOptions,
  name: string,
  tail: Tail,
  page: FeedPage,
  startedMs: number,
): Promise<void> {
  const { heartbeatMs = 1_000, pageMax = PAGE_MAX } = options;
  const sent = await Promise.all(page.events.map((event) => signEvent(options, name, page.cluster, event)));
  const events = [...tail.events, ...sent];
  const kept = events.slice(-pageMax);
  const trimmed = events[events.length - kept.length - 1];
  tail.start = trimmed?.position ?? tail.start;
  tail.events = kept;
  tail.end = page.end;
  // Fresh as of the reading, but not beyond an event that is committed and held back.
  const atMs = Math.min(startedMs, (page.heldSinceMs ?? Number.POSITIVE_INFINITY) - 1);
  const due = !page.full && startedMs - tail.heartbeatAtMs >= heartbeatMs;
  if (due) {
    const resumeToken = signPlace(name, { kind: "position", cluster: page.cluster, position: page.end }, options.ring);
    tail.heartbeat = { message: await sign(options, name, { resumeToken, atMs }), position: page.end };
    tail.heartbeatAtMs = startedMs;
  }
  if (due || sent.length > 0) wakeWatchers(tail);
}

async function signEvent(options: FeedOptions, name: string, cluster: string, event: StoredEvent): Promise<Sent> {
  const { position, typeUrl, value, writtenAtMs } = event;
  const resumeToken = signPlace(name, { kind: "position", cluster, position }, options.ring);
  const any = create(AnySchema, { typeUrl, value });
  return { message: await sign(options, name, { resumeToken, event: any, atMs: writtenAtMs }), position };
}

async function sign(
  options: FeedOptions,
  name: string,
  { resumeToken, event, atMs }: { readonly resumeToken: string; readonly event?: Any; readonly atMs: number },
): Promise<WatchInit> {
  const unsigned = { resumeToken, time: timestampFromMs(atMs), event };
  const { signature, keyId } = await options.ring.sign("feed", signedBytes(name, unsigned));
  return { ...unsigned, signature, keyId };
}

async function readTopic(options: FeedOptions, name: string, position: Position): Promise<FeedPage> {
  const page = (await readTopics(options.db, new Map([[name, position]]), options.pageMax ?? PAGE_MAX)).get(name);
  if (page === undefined) throw new Error(`no page of ${name}`);
  return page;
}

/** Whether events after the place were removed, or belong to another timeline of the database. */
function isGone(page: FeedPage, place: Pick<Place, "cluster" | "position">): boolean {
  return place.cluster !== page.cluster || (page.horizon !== undefined && isBefore(place.position, page.horizon));
}
