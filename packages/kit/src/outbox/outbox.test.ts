import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { before, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { createFuse, type Fuse, fuseDatabase } from "../../tests/fuse.ts";
import { type KitDatabase, openKitDatabase, silentLog, until } from "../../tests/kit-database.ts";
import { type Database, transaction } from "../db/index.ts";
import { DomainError } from "../errors/index.ts";
import { type ManualTime, manualTime } from "../timers/index.ts";
import { type Deliver, type Destination, enqueue, type Relay, startRelay } from "./index.ts";

const tables = {
  "0001-delivered.sql": `CREATE TABLE delivered (id uuid PRIMARY KEY, times integer NOT NULL DEFAULT 1);
    GRANT SELECT, INSERT, UPDATE, DELETE ON delivered TO :"runtime_role"`,
};
const TIMEOUT_MS = 1_000;
const LEASE_MS = 3 * TIMEOUT_MS;

let kit: KitDatabase;
const cleanups: (() => Promise<void>)[] = [];
before(async () => {
  kit = await openKitDatabase({ after: (fn) => cleanups.push(fn) }, tables, { alone: true });
});
beforeEach(async () => {
  await kit.db.query("DELETE FROM kit.outbox");
});
test.after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function send(destination: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  const messages = ids.map((id) => ({ destination, id, payload: Buffer.from(`about ${id}`) }));
  await transaction(kit.db, (tx) => enqueue(tx, ...messages));
  return ids;
}

async function waiting(destination: string): Promise<number> {
  const text = "SELECT count(*)::int AS count FROM kit.outbox WHERE destination = $1";
  return (await kit.db.query<{ count: number }>({ text, values: [destination] })).rows[0]?.count ?? -1;
}

/** A destination that keeps what it got, in order, repetitions included. */
function inbox() {
  const received: string[] = [];
  const deliver: Deliver = async (batch) => {
    for (const { id, payload } of batch) {
      assert.equal(Buffer.from(payload).toString(), `about ${id}`);
      received.push(id);
    }
  };
  return { received, deliver };
}

function start(
  time: ManualTime,
  destinations: Record<string, Destination>,
  batchMax = 4,
  db: Database = kit.db,
): Relay {
  const { clock, timers } = time;
  return startRelay({ db, destinations, batchMax, clock, timers, log: silentLog, deliverTimeoutMs: TIMEOUT_MS });
}

/** Lets time pass until it holds. */
async function passUntil(
  time: ManualTime,
  holds: () => boolean | Promise<boolean>,
  what: string,
  stepMs = 20,
): Promise<void> {
  await until(async () => {
    if (await holds()) return true;
    // Little by little, so that no attempt runs out of time while the machine is busy.
    time.advance(stepMs);
    return false;
  }, what);
}

test("messages of committed transactions are delivered at once, those of rolled back ones never", async () => {
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  await using relay = start(time, { audit: deliver });
  await until(() => time.sleeping() === 1, "an idle relay");
  await transaction(kit.db, async (tx) => {
    await enqueue(tx, { destination: "audit", id: randomUUID(), payload: Buffer.from("lost") });
    throw new Error("stop");
  }).catch(() => {});
  const ids = await send("audit", 11);
  await until(async () => (await waiting("audit")) === 0, "an empty outbox, without any time passing");
  assert.deepEqual(received, ids);
  assert.deepEqual(await relay.lagMs(), { audit: 0 });
});

test("lag is the age of the oldest message that waits", async () => {
  const [id] = await send("audit", 2);
  const { rows } = await kit.db.query<{ ms: number }>("SELECT min(enqueued_at_ms)::float8 AS ms FROM kit.outbox");
  const time = manualTime((rows[0]?.ms ?? 0) + 5_000);
  await using relay = start(time, { audit: () => Promise.reject(new Error("away")), idle: inbox().deliver });
  assert.deepEqual(await relay.lagMs(), { audit: 5_000, idle: 0 });
  assert.ok(id);
});

/** Runs relays that are killed at the given steps, one after the other, then one that lives, and checks the result. */
async function deliverThroughKills(kills: readonly Fuse[], destinationOf: (deliver: Deliver) => Destination) {
  await kit.db.query("DELETE FROM kit.outbox");
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  const ids = await send("audit", 6);
  for (const fuse of kills) {
    const fused: Deliver = (batch, signal) => fuse.step(() => deliver(batch, signal));
    await using _ = start(time, { audit: destinationOf(fused) }, 4, fuseDatabase(kit.db, fuse));
    await passUntil(time, async () => fuse.isBlown() || (await waiting("audit")) === 0, "a killed or finished relay");
    time.advance(LEASE_MS);
  }
  await using _ = start(time, { audit: destinationOf(deliver) });
  await passUntil(time, async () => (await waiting("audit")) === 0, "an empty outbox");
  assert.deepEqual(new Set(received), new Set(ids), "nothing is lost, nothing is invented");
  assert.ok(received.length <= ids.length + 4 * kills.length, "a kill repeats one batch at most");
  return { ids, received };
}

for (const moment of ["before", "after"] as const) {
  test(`a relay killed ${moment} any one of its steps loses nothing and repeats under the same id`, async () => {
    let repeated = 0;
    for (let step = 0; step < 8; step += 1) {
      const { ids, received } = await deliverThroughKills([createFuse(step, moment)], (deliver) => deliver);
      repeated += received.length - ids.length;
    }
    assert.ok(repeated > 0, "some kill fell between acknowledgement and deletion");
  });
}

test("relays killed at random steps, again and again, lose nothing, in any kind of lane", async () => {
  const kill = fc.record({ step: fc.nat(12), moment: fc.constantFrom("before" as const, "after" as const) });
  await fc.assert(
    fc.asyncProperty(fc.array(kill, { minLength: 1, maxLength: 4 }), fc.boolean(), async (kills, ordered) => {
      const fuses = kills.map(({ step, moment }) => createFuse(step, moment));
      const { ids, received } = await deliverThroughKills(fuses, (deliver) => ({ deliver, ordered }));
      if (ordered) assert.deepEqual([...new Set(received)], ids, "first deliveries keep the order");
    }),
    { numRuns: 25 },
  );
});

test("a relay process killed by the system at random moments loses nothing", async () => {
  const ids = await send("audit", 400);
  const program = join(import.meta.dirname, "../../tests/relay-process.ts");
  for (let round = 0; round < 3; round += 1) {
    const child = spawn(process.execPath, [program, kit.runtimeUrl], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    await delay(Math.random() * 30);
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  const time = manualTime(Date.now() + 1_000_000);
  await using _ = start(time, {
    audit: async (batch) => {
      const text =
        "INSERT INTO delivered (id) SELECT * FROM unnest($1::uuid[]) ON CONFLICT (id) DO UPDATE SET times = delivered.times + 1";
      await kit.db.query({ text, values: [batch.map(({ id }) => id)] });
    },
  });
  await passUntil(time, async () => (await waiting("audit")) === 0, "an empty outbox");
  const { rows } = await kit.db.query<{ count: number; repeated: number }>(
    "SELECT count(*)::int AS count, sum(times - 1)::int AS repeated FROM delivered",
  );
  assert.equal(rows[0]?.count, ids.length);
  assert.ok((rows[0]?.repeated ?? 0) <= 3 * 16, "each kill repeats one batch at most");
});

test("two relays at once share the work without repeating any of it", async () => {
  const ids = await send("audit", 60);
  const time = manualTime(1_000_000);
  const one = inbox();
  const two = inbox();
  await using _one = start(time, { audit: one.deliver });
  await using _two = start(time, { audit: two.deliver });
  await passUntil(time, async () => (await waiting("audit")) === 0, "an empty outbox");
  assert.deepEqual([...one.received, ...two.received].sort(), ids.sort());
});

test("a relay that hangs longer than its lease causes one batch of repetitions at most", async () => {
  const ids = await send("audit", 12);
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  const held = Promise.withResolvers<void>();
  let calls = 0;
  const hanging: Deliver = async (batch, signal) => {
    calls += 1;
    await deliver(batch, signal);
    if (calls === 1) await held.promise;
  };
  await using _hanging = start(time, { audit: hanging });
  await until(() => received.length === 4, "a batch that is out");
  time.advance(LEASE_MS + 1);
  await using _other = start(time, { audit: deliver });
  await passUntil(time, async () => (await waiting("audit")) === 0, "an empty outbox");
  held.resolve();
  assert.deepEqual(new Set(received), new Set(ids));
  assert.ok(received.length <= ids.length + 4, `${received.length} deliveries`);
});

test("a destination that refuses everything, or never answers, holds up no other", async () => {
  await send("refusing", 5);
  await send("silent", 5);
  const ids = await send("audit", 9);
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  await using _ = start(time, {
    refusing: () => Promise.reject(new Error("no")),
    silent: (_batch, signal) => once(signal, "abort").then(() => {}),
    audit: deliver,
  });
  await until(async () => (await waiting("audit")) === 0, "an empty lane, without any time passing");
  assert.deepEqual(received, ids);
  assert.equal(await waiting("refusing"), 5);
  assert.equal(await waiting("silent"), 5);
});

test("a message that its destination never takes is set aside, and the others pass", async () => {
  const ids = await send("audit", 20);
  const poison = ids[7];
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  await using _ = start(time, {
    audit: (batch, signal) =>
      batch.some(({ id }) => id === poison) ? Promise.reject(new Error("malformed")) : deliver(batch, signal),
  });
  await passUntil(time, async () => (await waiting("audit")) === 1, "one message left");
  assert.deepEqual(received.sort(), ids.filter((id) => id !== poison).sort());

  const later = await send("audit", 30);
  await passUntil(time, () => later.every((id) => received.includes(id)), "later messages");
});

test("a message that met its destination away again and again, between successes of others, waits seconds and not minutes", async () => {
  const [unlucky] = await send("audit", 1);
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  const attemptedAtMs: number[] = [];
  await using _ = start(time, {
    audit: async (batch, signal) => {
      if (batch.every(({ id }) => id !== unlucky) || attemptedAtMs.length === 7) return deliver(batch, signal);
      attemptedAtMs.push(time.clock.nowMs());
      throw new DomainError("DEPENDENCY_UNAVAILABLE");
    },
  });
  for (let failures = 1; failures <= 7; failures += 1) {
    await passUntil(time, () => attemptedAtMs.length === failures, "the next attempt", 250);
    const [between] = await send("audit", 1);
    await passUntil(time, () => received.includes(between ?? ""), "a success in between");
  }
  await passUntil(time, () => received.includes(unlucky ?? ""), "the unlucky message", 250);
  const pauses = attemptedAtMs.map((atMs, i) => atMs - (attemptedAtMs[i - 1] ?? atMs));
  assert.ok(Math.max(...pauses) <= 11_500, `waited ${pauses.join(", ")} ms`);
});

test("an ordered destination gets messages in the order of transactions, also through failures and from two relays", async () => {
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  let calls = 0;
  const shaky: Deliver = async (batch, signal) => {
    calls += 1;
    if (calls % 3 === 0) throw new Error("away for a moment");
    await deliver(batch, signal);
  };
  await using _one = start(time, { policy: { deliver: shaky, ordered: true } }, 3);
  await using _two = start(time, { policy: { deliver: shaky, ordered: true } }, 3);

  // The first transaction commits last: what it says must still come first.
  const firstId = randomUUID();
  const go = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const first = transaction(kit.db, async (tx) => {
    await enqueue(tx, { destination: "policy", id: firstId, payload: Buffer.from(`about ${firstId}`) });
    // Enqueued for certain once something after it was answered.
    await tx.query({ text: "SELECT 1", values: [] });
    begun.resolve();
    await go.promise;
  });
  await begun.promise;
  const rest: string[] = [];
  for (let round = 0; round < 4; round += 1) rest.push(...(await send("policy", 5)));
  for (let round = 0; round < 5; round += 1) time.advance(1_000);
  assert.deepEqual(received, []);
  go.resolve();
  await first;
  await passUntil(time, async () => (await waiting("policy")) === 0, "an empty outbox");
  assert.deepEqual(received, [firstId, ...rest]);
});

test("the relay survives a database that is away for a while", async () => {
  const ids = await send("audit", 3);
  const time = manualTime(1_000_000);
  const { received, deliver } = inbox();
  let away = true;
  const shaky: Database = {
    ...kit.db,
    query: (statement) => (away ? Promise.reject(new Error("away")) : kit.db.query(statement)),
  };
  await using _ = start(time, { audit: deliver }, 4, shaky);
  await until(() => time.sleeping() > 0, "a relay that backs off");
  away = false;
  await passUntil(time, async () => (await waiting("audit")) === 0, "an empty outbox");
  assert.deepEqual(received, ids);
});
