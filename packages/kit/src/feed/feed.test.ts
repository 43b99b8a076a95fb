import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import { FeedService, type WatchResponse, WatchResponseSchema } from "@fujie/api/fujie/feed/v1/feed";
import fc from "fast-check";
import { createFuse, fuseDatabase } from "../../tests/fuse.ts";
import { openTestRing } from "../../tests/key-ring.ts";
import { type KitDatabase, openKitDatabase, openTestDatabase, silentLog, until } from "../../tests/kit-database.ts";
import { type Database, type Statement, transaction } from "../db/index.ts";
import type { FileKeyRing } from "../keys/index.ts";
import { type ManualTime, manualTime } from "../timers/index.ts";
import {
  ephemeralFollow,
  type Feed,
  type FeedClient,
  type FeedOptions,
  type FeedVerifier,
  feedService,
  followFeed,
  publish,
  purgeFeed,
  signedBytes,
} from "./index.ts";
import { timeMsOf } from "./signed-bytes.ts";

const TOPIC = "registry.accounts";
const tables = {
  "0001-applied.sql": `CREATE TABLE applied (n serial PRIMARY KEY, event text NOT NULL);
    GRANT SELECT, INSERT, DELETE ON applied TO :"runtime_role";
    GRANT USAGE ON SEQUENCE applied_n_seq TO :"runtime_role"`,
};

let kit: KitDatabase;
let ring: FileKeyRing;
let verifier: FeedVerifier;
const cleanups: (() => Promise<void>)[] = [];
before(async () => {
  const t = { after: (fn: () => Promise<void>) => cleanups.push(fn) };
  kit = await openKitDatabase(t, tables, { alone: true });
  ring = await openTestRing(t);
  verifier = {
    knows: (keyId) => ring.publicKeys().some((key) => key.keyId === keyId),
    verify: (keyId, bytes, signature) => ring.verify("feed", keyId, bytes, signature),
  };
});
beforeEach(async () => {
  await kit.db.query("DELETE FROM kit.feed_event");
  await kit.db.query("UPDATE kit.feed_horizon SET tx = '0', seq = 0");
  await kit.db.query("UPDATE kit.feed_position SET resume_token = '', fresh_at_ms = 0, lease_until_ms = 0");
  await kit.db.query("DELETE FROM applied");
});
test.after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

function event(name: string): Any {
  return create(AnySchema, { typeUrl: `type.test/${name.length}`, value: Buffer.from(name) });
}

function nameOf(message: Pick<WatchResponse, "event">): string {
  return Buffer.from(message.event?.value ?? []).toString();
}

function put(...names: string[]): Promise<void> {
  return transaction(kit.db, (tx) => publish(tx, TOPIC, ...names.map(event)));
}

function serve(time: ManualTime, options: Partial<FeedOptions> = {}): Feed {
  return feedService({
    db: kit.db,
    topics: { [TOPIC]: { peers: ["auth"] } },
    ring,
    peerOf: () => "auth",
    clock: time.clock,
    timers: time.timers,
    log: silentLog,
    ...options,
  });
}

/** A client in the same process: what a transport does, without one. */
function clientOf(feed: Feed): FeedClient {
  return {
    watch: async function* (request, { signal }) {
      const url = "http://localhost/fujie.feed.v1.FeedService/Watch";
      const call = createHandlerContext({
        service: FeedService,
        method: FeedService.method.watch,
        protocolName: "grpc",
        requestMethod: "POST",
        url,
        requestSignal: signal,
        contextValues: createContextValues(),
      });
      const watching = { $typeName: "fujie.feed.v1.WatchRequest" as const, ...request };
      for await (const message of feed.impl.watch(watching, call)) yield create(WatchResponseSchema, message);
    },
  };
}

/**
 * Reads the names of events until there are `count`, and the token after the last. Time passes meanwhile: any
 * transaction on the server, of another database too, may hold back an event for a moment.
 */
async function take(time: ManualTime, feed: Feed, count: number, resumeToken = "") {
  const stop = new AbortController();
  const messages = clientOf(feed).watch({ topic: TOPIC, resumeToken }, { signal: stop.signal })[Symbol.asyncIterator]();
  const names: string[] = [];
  let token = resumeToken;
  while (names.length < count) {
    const { value: message } = await passing(time, messages.next());
    assert.ok(message !== undefined && "keyId" in message, "the stream goes on");
    assert.ok(verifier.verify(message.keyId, signedBytes(TOPIC, message), message.signature), "signed");
    if (message.event === undefined) continue;
    names.push(nameOf(message));
    token = message.resumeToken;
  }
  stop.abort();
  await messages.return?.();
  return { names, token };
}

async function passing<T>(time: ManualTime, work: Promise<T>): Promise<T> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  work.then(settle, settle);
  await passUntil(time, () => settled, "something from the feed");
  return work;
}

async function applied(): Promise<string[]> {
  const { rows } = await kit.db.query<{ event: string }>("SELECT event FROM applied ORDER BY n");
  return rows.map((row) => row.event);
}

function follow(
  client: FeedClient,
  time: ManualTime,
  options: { db?: Database; onFresh?: (atMs: number) => void } = {},
) {
  return followFeed({
    client,
    topic: TOPIC,
    db: kit.db,
    verifier,
    clock: time.clock,
    timers: time.timers,
    log: silentLog,
    apply: async (tx, any) => {
      await tx.query({ text: "INSERT INTO applied (event) VALUES ($1)", values: [nameOf({ event: any })] });
    },
    reset: async (tx) => {
      await tx.query("INSERT INTO applied (event) VALUES ('reset')");
    },
    ...options,
  });
}

async function passUntil(time: ManualTime, holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  await until(async () => {
    if (await holds()) return true;
    // Little by little, so that leases do not run out while the machine is busy.
    time.advance(20);
    return false;
  }, what);
}

test("a watcher gets committed events in order, and resumes after any of them", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time, { pageMax: 3 });
  await put("a", "b", "c", "d");
  const first = await take(time, feed, 2);
  assert.deepEqual(first.names, ["a", "b"]);
  const second = take(time, feed, 5, first.token);
  await passUntil(time, () => time.sleeping() > 0, "a live watcher");
  await put("e");
  await put("f", "g");
  assert.deepEqual((await second).names, ["c", "d", "e", "f", "g"]);
});

/** A transaction of the test below: publishes at one step, commits or rolls back at a later one. */
interface Shape {
  readonly begin: number;
  readonly end: number;
  readonly commits: boolean;
  readonly names: readonly string[];
}

const STEPS = 18;

const shapes: fc.Arbitrary<Shape[]> = fc
  .array(
    fc.record({
      begin: fc.nat(8),
      lasts: fc.integer({ min: 1, max: 8 }),
      events: fc.integer({ min: 1, max: 3 }),
      commits: fc.boolean(),
    }),
    { minLength: 2, maxLength: 7 },
  )
  .map((all) =>
    all.map(({ begin, lasts, events, commits }, index) => {
      const names = Array.from({ length: events }, (_, n) => `${index}/${n}`);
      // The first holds an id from before everybody else, and commits last.
      if (index === 0) return { begin: 0, end: STEPS - 1, commits: true, names };
      return { begin, end: begin + lasts, commits, names };
    }),
  );

async function play(all: readonly Shape[], feed: Feed): Promise<void> {
  const running = await Promise.all(all.map(async (shape) => ({ shape, connection: await kit.db.connect() })));
  for (let step = 0; step < STEPS; step += 1) {
    for (const { shape, connection } of running) {
      if (step === shape.begin) {
        await connection.command("BEGIN");
        const tx = {
          query: connection.query,
          copyOut: connection.copyOut,
          send: (statement: Statement) => void connection.query(statement),
          announce: () => {},
        };
        await publish(tx, TOPIC, ...shape.names.map(event));
      }
      if (step === shape.end) {
        await connection.command(shape.commits ? "COMMIT" : "ROLLBACK");
        connection.release();
      }
    }
    feed.nudge();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("out-of-order commits never lose an event: any interleaving of transactions, one of them long", async () => {
  const property = fc.asyncProperty(shapes, fc.integer({ min: 1, max: 4 }), async (all, pageMax) => {
    await kit.db.query("DELETE FROM kit.feed_event");
    const time = manualTime(1_000_000);
    await using feed = serve(time, { pageMax });
    const expected = all.filter((shape) => shape.commits).flatMap((shape) => shape.names);
    const watching = [take(time, feed, expected.length), take(time, feed, expected.length)];
    await play(all, feed);
    feed.nudge();
    const late = await take(time, feed, expected.length);
    assert.deepEqual(late.names.toSorted(), expected.toSorted());
    for (const { names } of all.filter((shape) => shape.commits)) {
      const own = late.names.filter((name) => names.includes(name));
      assert.deepEqual(own, names, "a transaction's own events stay in order");
    }
    for (const { names } of await Promise.all(watching)) assert.deepEqual(names, late.names, "all see the same");
  });
  await fc.assert(property, { numRuns: 25 });
});

test("a heartbeat says up to when the feed is complete, and not more while a commit is held back", async () => {
  const time = manualTime(Date.now() + 60_000);
  await using feed = serve(time);
  const beats: number[] = [];
  const names: string[] = [];
  const reading = (async () => {
    const { signal } = new AbortController();
    for await (const message of clientOf(feed).watch({ topic: TOPIC, resumeToken: "" }, { signal })) {
      if (message.event === undefined) beats.push(timeMsOf(message));
      else names.push(nameOf(message));
    }
  })();
  await passUntil(time, () => beats.length === 2, "heartbeats");
  assert.ok(time.clock.nowMs() - Number(beats[1]) < 1_000);

  const old = await kit.db.connect();
  await old.command("BEGIN");
  await old.query("SELECT pg_current_xact_id()");
  await put("held back");
  const { rows } = await kit.db.query<{ ms: number }>("SELECT written_at_ms::float8 AS ms FROM kit.feed_event");
  const writtenAtMs = rows[0]?.ms ?? 0;
  // One may have been under way.
  beats.length = 0;
  await passUntil(time, () => beats.length >= 4, "heartbeats while the event is held back");
  assert.deepEqual(names, []);
  assert.ok(writtenAtMs > 0 && beats.slice(1).every((atMs) => atMs < writtenAtMs), "none claims the event's time");

  await old.command("COMMIT");
  old.release();
  await passUntil(time, () => (beats.at(-1) ?? 0) > writtenAtMs, "a heartbeat that does");
  assert.deepEqual(names, ["held back"]);
  await feed[Symbol.asyncDispose]();
  await reading;
});

test("a follower applies each event exactly once, whatever step it is killed at", async () => {
  const names = ["a", "b", "c", "d", "e"];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ step: fc.nat(14), moment: fc.constantFrom("before" as const, "after" as const) }), {
        minLength: 1,
        maxLength: 4,
      }),
      async (kills) => {
        await kit.db.query("DELETE FROM applied");
        await kit.db.query("DELETE FROM kit.feed_event");
        await kit.db.query("UPDATE kit.feed_position SET resume_token = '', lease_until_ms = 0");
        const time = manualTime(1_000_000);
        await using feed = serve(time, { pageMax: 2 });
        for (const name of names) await put(name);
        for (const { step, moment } of kills) {
          const fuse = createFuse(step, moment);
          await using _ = follow(clientOf(feed), time, { db: fuseDatabase(kit.db, fuse) });
          await passUntil(
            time,
            async () => fuse.isBlown() || (await applied()).length === names.length,
            "a killed follower",
          );
          time.advance(10_000);
        }
        await using _ = follow(clientOf(feed), time);
        await passUntil(time, async () => (await applied()).length >= names.length, "everything applied");
        assert.deepEqual(await applied(), names);
      },
    ),
    { numRuns: 20 },
  );
});

test("of several replicas one follows; when it dies another goes on, and all know how fresh they are", async (t) => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  let killed = false;
  const mortal: Database = {
    ...kit.db,
    query: (statement) => (killed ? Promise.reject(new Error("killed")) : kit.db.query(statement)),
    connect: () => (killed ? Promise.reject(new Error("killed")) : kit.db.connect()),
  };
  const fresh = { one: 0, two: 0 };
  const one = follow(clientOf(feed), time, {
    db: mortal,
    onFresh: (atMs) => {
      fresh.one = atMs;
    },
  });
  await put("a");
  await passUntil(time, () => one.state() === "following", "the first replica follows");
  const second = openTestDatabase(t, kit.runtimeUrl);
  await using two = follow(clientOf(feed), time, {
    db: second,
    onFresh: (atMs) => {
      fresh.two = atMs;
    },
  });
  await passUntil(time, () => two.state() === "standby", "the second stands by");
  await passUntil(time, () => fresh.one > 1_000_000 && fresh.two > 1_000_000, "both fresh");
  assert.equal(two.state(), "standby");
  killed = true;
  await one[Symbol.asyncDispose]();
  await put("b");
  await passUntil(time, async () => (await applied()).length === 2, "the second goes on");
  assert.equal(two.state(), "following");
  assert.deepEqual(await applied(), ["a", "b"]);
});

test("a follower that was paused past its lease applies nothing when it wakes", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  const gate = Promise.withResolvers<void>();
  let pause = false;
  const slow: FeedClient = {
    watch: async function* (request, options) {
      for await (const message of clientOf(feed).watch(request, options)) {
        if (pause) await gate.promise;
        yield message;
      }
    },
  };
  await using one = follow(slow, time);
  await put("a");
  await passUntil(time, async () => (await applied()).length === 1, "the first event");
  pause = true;
  await put("b");
  time.advance(3_001);
  await using two = follow(clientOf(feed), time);
  await passUntil(time, async () => (await applied()).length === 2, "the second replica applied it");
  gate.resolve();
  await passUntil(time, () => one.state() === "standby", "the first notices");
  assert.deepEqual(await applied(), ["a", "b"]);
  assert.notEqual(two.state(), "halted");
});

test("a forged signature stops the follower: nothing of it is applied, now or later", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  await put("a", "b", "c");
  const forgeries: Record<string, (message: WatchResponse) => WatchResponse> = {
    content: (message) => ({ ...message, event: event("forged") }),
    signature: (message) => ({ ...message, signature: message.signature.map((byte) => byte ^ 1) }),
    token: (message) => ({ ...message, resumeToken: `${message.resumeToken}x` }),
    "no signature": (message) => ({ ...message, signature: new Uint8Array() }),
    "content taken away": ({ event: _, ...message }) => message,
  };
  for (const [name, forge] of Object.entries(forgeries)) {
    await kit.db.query("DELETE FROM applied");
    await kit.db.query("UPDATE kit.feed_position SET resume_token = '', lease_until_ms = 0");
    let fresh = 0;
    const client: FeedClient = {
      watch: async function* (request, options) {
        for await (const message of clientOf(feed).watch(request, options)) {
          yield nameOf(message) === "b" ? forge(message) : message;
        }
      },
    };
    await using follower = follow(client, time, {
      onFresh: () => {
        fresh += 1;
      },
    });
    await passUntil(time, () => follower.state() === "halted", `halted by a forged ${name}`);
    for (let second = 0; second < 5; second += 1) time.advance(10_000);
    await put("later");
    assert.ok(
      (await applied()).every((one) => one === "a"),
      name,
    );
    assert.equal(fresh, 0);
  }
});

test("a message signed for another topic does not pass, and an unknown key is waited for", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time, { topics: { [TOPIC]: { peers: ["auth"] }, "other.topic": { peers: ["auth"] } } });
  await transaction(kit.db, (tx) => publish(tx, "other.topic", event("other")));
  const crossed: FeedClient = {
    watch: (request, options) => clientOf(feed).watch({ ...request, topic: "other.topic" }, options),
  };
  await using halted = follow(crossed, time);
  await passUntil(time, () => halted.state() === "halted", "halted");
  await halted[Symbol.asyncDispose]();

  let published = false;
  await put("a");
  await using waiting = followFeed({
    client: clientOf(feed),
    topic: TOPIC,
    db: kit.db,
    verifier: { ...verifier, knows: () => published },
    clock: time.clock,
    timers: time.timers,
    log: silentLog,
    apply: async (tx) => {
      await tx.query("INSERT INTO applied (event) VALUES ('a')");
    },
  });
  await passUntil(time, () => waiting.state() === "waiting" && time.sleeping() > 0, "waiting");
  assert.deepEqual(await applied(), []);
  published = true;
  await passUntil(time, async () => (await applied()).length === 1, "applied after the bundle came");
});

test("a topic with a snapshot starts with it, resumes inside it, and goes on with events", async () => {
  const time = manualTime(1_000_000);
  const accounts = ["a1", "a2", "a3", "a4", "a5"];
  const asked: (string | undefined)[] = [];
  const snapshot = async (after: string | undefined, limit: number) => {
    asked.push(after);
    const rest = accounts.filter((id) => after === undefined || id > after);
    return rest.slice(0, limit).map((id) => ({ event: event(id), cursor: id }));
  };
  await using feed = serve(time, { pageMax: 2, topics: { [TOPIC]: { peers: ["auth"], snapshot } } });
  await put("before the snapshot");
  const start = await take(time, feed, 3);
  assert.deepEqual(start.names, ["a1", "a2", "a3"]);
  await put("during");
  const rest = await take(time, feed, 3, start.token);
  assert.deepEqual(rest.names, ["a4", "a5", "during"]);
  assert.equal(asked.filter((after) => after === undefined).length, 1);
  await put("after");
  assert.deepEqual((await take(time, feed, 1, rest.token)).names, ["after"]);
});

test("events are purged from the front in bounded batches, and a token before the gap is refused", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  await put("a");
  const early = (await take(time, feed, 1)).token;
  await put("b", "c", "d", "e");
  const tokenOfC = (await take(time, feed, 2, early)).token;
  await kit.db.query("UPDATE kit.feed_horizon SET tx = '0', seq = 0");
  const farFuture = Date.now() + 3_600_000;
  assert.equal(await purgeFeed(kit.db, TOPIC, 0, 10), 0);
  assert.equal(await purgeFeed(kit.db, TOPIC, farFuture, 2), 2);
  await assert.rejects(take(time, feed, 1, early), { reason: "RESUME_TOKEN_EXPIRED" });
  assert.equal(await purgeFeed(kit.db, TOPIC, farFuture, 1), 1);
  assert.deepEqual((await take(time, feed, 2, tokenOfC)).names, ["d", "e"], "exactly at the gap nothing is missing");
  assert.deepEqual((await take(time, feed, 2)).names, ["d", "e"], "an empty token starts at the oldest kept");
});

test("a follower whose token has expired forgets its position, is told so, and starts again", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  await put("a");
  {
    await using _ = follow(clientOf(feed), time);
    await passUntil(time, async () => (await applied()).length === 1, "the first event");
  }
  await put("b", "c");
  assert.equal(await purgeFeed(kit.db, TOPIC, Date.now() + 3_600_000, 2), 2);
  await using _ = follow(clientOf(feed), time);
  await passUntil(time, async () => (await applied()).at(-1) === "c", "the rest");
  assert.deepEqual(await applied(), ["a", "reset", "c"]);
});

test("tokens of another topic, another cluster or another hand are refused", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time, { topics: { [TOPIC]: { peers: ["auth"] }, "other.topic": { peers: ["auth"] } } });
  await put("a");
  const { token } = await take(time, feed, 1);
  const watchOther = clientOf(feed).watch(
    { topic: "other.topic", resumeToken: token },
    { signal: new AbortController().signal },
  );
  await assert.rejects(
    async () => {
      for await (const _ of watchOther) break;
    },
    { reason: "RESUME_TOKEN_INVALID" },
  );
  for (const bad of ["x", `${token}x`, token.replace(/:\d+:/, ":1:"), "A".repeat(200)]) {
    await assert.rejects(take(time, feed, 1, bad), { reason: "RESUME_TOKEN_INVALID" });
  }
  const [text = ""] = token.split(".");
  const moved = text.replace(/^\w+:/, "0123456789ABCDEF00000002:");
  const digest = ring.hmac("resume-token", `fujie-resume-v1\n${TOPIC}\n${moved}`).digest.toString("base64url");
  await assert.rejects(take(time, feed, 1, `${moved}.${digest}`), { reason: "RESUME_TOKEN_EXPIRED" });
});

test("only granted peers may watch, and only topics that exist", async () => {
  const time = manualTime(1_000_000);
  const watchAs = async (peer: string | undefined, topic = TOPIC) => {
    await using feed = serve(time, { peerOf: () => peer });
    for await (const _ of clientOf(feed).watch({ topic, resumeToken: "" }, { signal: new AbortController().signal }))
      break;
  };
  await assert.rejects(watchAs("registry"), { reason: "PEER_FORBIDDEN" });
  await assert.rejects(watchAs(undefined), { reason: "PEER_FORBIDDEN" });
  await assert.rejects(watchAs("auth", "no.topic"), { reason: "FEED_TOPIC_UNKNOWN" });
  await assert.rejects(watchAs("auth", "constructor"), { reason: "FEED_TOPIC_UNKNOWN" });
  await watchAs("auth");
});

test("a slow watcher holds up nobody, gets everything, and disposing ends all streams", async () => {
  const time = manualTime(1_000_000);
  const feed = serve(time, { pageMax: 3 });
  const slow = clientOf(feed)
    .watch({ topic: TOPIC, resumeToken: "" }, { signal: new AbortController().signal })
    [Symbol.asyncIterator]();
  await slow.next();
  const names = Array.from({ length: 20 }, (_, index) => `event ${index}`);
  const fast = take(time, feed, names.length);
  for (const name of names) await put(name);
  assert.deepEqual((await fast).names, names);
  const got: string[] = [];
  while (got.length < names.length) {
    const { value } = await slow.next();
    if (value?.event !== undefined) got.push(nameOf(value));
  }
  assert.deepEqual(got, names);
  const ended = (async () => {
    while ((await slow.next()).done !== true);
  })();
  await feed[Symbol.asyncDispose]();
  await ended;
});

test("a stream that falls silent or breaks is taken up again after the last event", async () => {
  const time = manualTime(1_000_000);
  await using feed = serve(time);
  await put("a", "b");
  let streams = 0;
  const shaky: FeedClient = {
    watch: async function* (request, options) {
      streams += 1;
      const dies = streams <= 2;
      for await (const message of clientOf(feed).watch(request, options)) {
        yield message;
        if (dies && streams === 1) throw new Error("connection reset");
        if (dies) await new Promise(() => {});
      }
    },
  };
  const got: string[] = [];
  await using _ = ephemeralFollow({
    client: shaky,
    topic: TOPIC,
    verifier,
    timers: time.timers,
    log: silentLog,
    apply: (any) => void got.push(nameOf({ event: any })),
  });
  await passUntil(time, () => got.length === 1 && time.sleeping() > 0, "the first event");
  await put("c");
  await passUntil(time, () => got.length >= 3, "everything after the breaks");
  assert.deepEqual(got, ["a", "b", "c"]);
  assert.equal(streams, 3);
});
