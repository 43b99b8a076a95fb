import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { testRedis } from "@fujie/embedded/testing";
import fc from "fast-check";
import { until } from "../../tests/kit-database.ts";
import { manualClock } from "../clock/index.ts";
import { type Ephemeral, memoryEphemeral } from "./index.ts";
import { redisEphemeral } from "./redis.ts";
import { parseRedisUrl } from "./redis-url.ts";

interface Backend {
  readonly store: Ephemeral;
  /** Lets at least this much time pass for the store. */
  readonly pass: (ms: number) => Promise<void>;
}

const backends: Record<string, (t: TestContext) => Promise<Backend>> = {
  memory: async (t) => {
    const clock = manualClock(1_000_000);
    const store = memoryEphemeral({ maxEntries: 1_000, clock });
    t.after(() => store[Symbol.asyncDispose]());
    return { store, pass: async (ms) => clock.advance(ms) };
  },
  redis: async (t) => {
    const { url } = await testRedis(t);
    const store = redisEphemeral({ url, prefix: "test:", commandTimeoutMs: 5_000 });
    t.after(() => store[Symbol.asyncDispose]());
    await until(() => works(store), "connected");
    // Redis keeps its own time.
    return { store, pass: (ms) => delay(ms) };
  },
};

function works(store: Ephemeral): Promise<boolean> {
  return store.get("probe").then(
    () => true,
    () => false,
  );
}

for (const [name, open] of Object.entries(backends)) {
  test(`${name}: values are kept until they expire, are replaced or deleted`, async (t) => {
    const { store, pass } = await open(t);
    assert.equal(await store.get("a"), undefined);
    await store.set("a", "符节 1", { ttlMs: 60_000 });
    assert.equal(await store.get("a"), "符节 1");
    await store.set("a", "", { ttlMs: 20 });
    assert.equal(await store.get("a"), "");
    await pass(25);
    assert.equal(await store.get("a"), undefined);
    await store.set("a", "3", { ttlMs: 60_000 });
    await store.delete("a");
    await store.delete("a");
    assert.equal(await store.get("a"), undefined);
  });

  test(`${name}: of many that set an absent key at once one succeeds`, async (t) => {
    const { store, pass } = await open(t);
    const results = await Promise.all(["1", "2", "3", "4"].map((v) => store.setIfAbsent("k", v, { ttlMs: 60_000 })));
    assert.equal(results.filter(Boolean).length, 1);
    await store.set("k", "x", { ttlMs: 10 });
    await pass(15);
    assert.equal(await store.setIfAbsent("k", "y", { ttlMs: 60_000 }), true);
    assert.equal(await store.get("k"), "y");
  });

  test(`${name}: a counter counts every increment of its window and starts anew after it`, async (t) => {
    const { store, pass } = await open(t);
    const counts = await Promise.all(Array.from({ length: 20 }, () => store.increment("c", { ttlMs: 60_000 })));
    assert.deepEqual(
      counts.toSorted((a, b) => a - b),
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    assert.equal(await store.increment("d", { ttlMs: 30 }), 1);
    await pass(35);
    assert.equal(await store.increment("d", { ttlMs: 60_000 }), 1, "the window runs from the first increment");
  });

  test(`${name}: a bucket gives its burst at once, then refills steadily`, async (t) => {
    const { store, pass } = await open(t);
    // So slow that nothing refills while the test runs.
    const slow = { ratePerSecond: 0.01, burst: 5 };
    const taken = await Promise.all(Array.from({ length: 9 }, () => store.takeToken("slow", slow)));
    assert.equal(taken.filter((one) => one.allowed).length, 5);
    for (const { allowed, retryAfterMs } of taken) {
      assert.ok(allowed ? retryAfterMs === 0 : retryAfterMs > 90_000 && retryAfterMs <= 100_000);
    }
    const quick = { ratePerSecond: 20, burst: 1 };
    assert.equal((await store.takeToken("quick", quick)).allowed, true);
    await pass(51);
    assert.equal((await store.takeToken("quick", quick)).allowed, true, "one token after its time");
    assert.equal((await store.takeToken("other", slow)).allowed, true, "another key, another bucket");
  });

  test(`${name}: keys, values and bounds that make no sense are refused`, async (t) => {
    const { store } = await open(t);
    await assert.rejects(async () => store.get(""), RangeError);
    await assert.rejects(async () => store.get("k".repeat(201)), RangeError);
    await assert.rejects(async () => store.set("k", "v".repeat(300_000), { ttlMs: 1 }), RangeError);
    for (const ttlMs of [0, -1, 1.5, Number.NaN]) {
      await assert.rejects(async () => store.set("k", "v", { ttlMs }), RangeError);
      await assert.rejects(async () => store.increment("k", { ttlMs }), RangeError);
    }
    await assert.rejects(async () => store.takeToken("k", { ratePerSecond: 0, burst: 1 }), RangeError);
    await assert.rejects(async () => store.takeToken("k", { ratePerSecond: 1, burst: 0 }), RangeError);
  });
}

test("memory holds no more than its bound and forgets what was used longest ago", async () => {
  const store = memoryEphemeral({ maxEntries: 3, clock: manualClock(0) });
  for (const key of ["a", "b", "c"]) await store.set(key, key, { ttlMs: 1_000 });
  await store.get("a");
  await store.set("d", "d", { ttlMs: 1_000 });
  const left = await Promise.all(["a", "b", "c", "d"].map((key) => store.get(key)));
  assert.deepEqual(left, ["a", undefined, "c", "d"]);
});

test("in any stretch of time a bucket gives at most its burst and what was refilled", async () => {
  const pauses = fc.array(fc.nat(400), { minLength: 1, maxLength: 60 });
  const bucket = fc.record({ ratePerSecond: fc.integer({ min: 1, max: 50 }), burst: fc.integer({ min: 1, max: 8 }) });
  await fc.assert(
    fc.asyncProperty(pauses, bucket, async (waits, shape) => {
      const clock = manualClock(1_000_000);
      const store = memoryEphemeral({ maxEntries: 10, clock });
      let allowed = 0;
      for (const ms of waits) {
        clock.advance(ms);
        const taken = await store.takeToken("k", shape);
        if (taken.allowed) allowed += 1;
        else {
          clock.advance(taken.retryAfterMs);
          assert.equal((await store.takeToken("k", shape)).allowed, true, "retryAfterMs is kept");
          allowed += 1;
        }
        const elapsedMs = clock.nowMs() - 1_000_000;
        assert.ok(allowed <= shape.burst + (elapsedMs * shape.ratePerSecond) / 1_000 + 1e-6);
      }
    }),
  );
});

test("Redis that goes away is a typed failure at once, no crash, and works again after its restart", async (t) => {
  const first = await testRedis();
  const store = redisEphemeral({ url: first.url, prefix: "test:" });
  t.after(() => store[Symbol.asyncDispose]());
  await until(() => works(store), "connected");
  await store.takeToken("bucket", { ratePerSecond: 1, burst: 1 });
  await first[Symbol.asyncDispose]();

  const unavailable = { name: "DomainError", reason: "DEPENDENCY_UNAVAILABLE", subject: "ephemeral" };
  const calls: (() => Promise<unknown>)[] = [
    () => store.get("k"),
    () => store.set("k", "v", { ttlMs: 1_000 }),
    () => store.setIfAbsent("k", "v", { ttlMs: 1_000 }),
    () => store.delete("k"),
    () => store.increment("k", { ttlMs: 1_000 }),
    () => store.takeToken("k", { ratePerSecond: 1, burst: 1 }),
  ];
  for (const call of calls) await assert.rejects(call(), unavailable);

  const again = spawn("redis-server", ["--port", String(first.port), "--bind", "127.0.0.1", "--save", ""], {
    stdio: "ignore",
    cwd: "/tmp",
  });
  t.after(async () => {
    again.kill();
    await once(again, "exit");
  });
  await until(() => works(store), "connected again");
  // The script is gone with the old process.
  assert.equal((await store.takeToken("bucket", { ratePerSecond: 1, burst: 1 })).allowed, true);
});

test("Redis that accepts and never answers is a typed failure within the time limit", async (t) => {
  const { port } = await testRedis(t);
  const store = redisEphemeral({ url: `redis://127.0.0.1:${port}`, prefix: "test:", commandTimeoutMs: 50 });
  t.after(() => store[Symbol.asyncDispose]());
  await until(() => works(store), "connected");
  // The server itself is asked to hold all clients' commands.
  const other = connect(port, "127.0.0.1");
  other.write("CLIENT PAUSE 600 ALL\r\n");
  await once(other, "data");
  other.destroy();
  await assert.rejects(store.get("k"), { reason: "DEPENDENCY_UNAVAILABLE" });
  await until(() => works(store), "answers again");
});

test("Redis URLs of a node, of sentinels and of a cluster are read, others are refused without being shown", () => {
  const nobody = { user: undefined, password: undefined, tls: false };
  assert.deepEqual(parseRedisUrl("redis://127.0.0.1/2"), {
    ...nobody,
    kind: "node",
    node: { host: "127.0.0.1", port: 6379 },
    nodes: [{ host: "127.0.0.1", port: 6379 }],
    db: 2,
  });
  assert.deepEqual(parseRedisUrl("rediss+sentinel://u:p%40ss@s1,s2:26380,[::1]:5/main/1"), {
    kind: "sentinel",
    user: "u",
    password: "p@ss",
    tls: true,
    name: "main",
    nodes: [
      { host: "s1", port: 26379 },
      { host: "s2", port: 26380 },
      { host: "::1", port: 5 },
    ],
    db: 1,
  });
  assert.equal(parseRedisUrl("redis+cluster://c1:7000,c2:7000").kind, "cluster");
  const wrong = [
    "http://x",
    "redis://",
    "redis://a,b",
    "redis://a:x/0",
    "redis://secret@a/zero",
    "redis+sentinel://a",
    "redis+cluster://a/1",
    "redis://a/1/2",
  ];
  for (const url of wrong) {
    assert.throws(
      () => parseRedisUrl(url),
      (error) => error instanceof RangeError && !error.message.includes("secret"),
      url,
    );
  }
});
