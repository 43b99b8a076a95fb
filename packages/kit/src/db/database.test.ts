import assert from "node:assert/strict";
import { createServer } from "node:net";
import { before, test } from "node:test";
import { type KitDatabase, openKitDatabase, openTestDatabase, until } from "../../tests/kit-database.ts";
import { manualTime } from "../timers/index.ts";
import { isUniqueViolation, openDatabase, statement, transaction } from "./index.ts";

const tables = {
  "0001-counter.sql": `CREATE TABLE counter (id integer CONSTRAINT counter_key PRIMARY KEY, value integer NOT NULL);
    INSERT INTO counter VALUES (1, 0), (2, 0);
    CREATE TABLE sent (note text UNIQUE);
    GRANT SELECT, INSERT, UPDATE ON counter, sent TO :"runtime_role"`,
};
const read = statement("test.read", "SELECT value FROM counter WHERE id = $1");
const add = statement("test.add", "UPDATE counter SET value = value + $2 WHERE id = $1");

let kit: KitDatabase;
const cleanups: (() => Promise<void>)[] = [];
before(async () => {
  kit = await openKitDatabase({ after: (fn) => cleanups.push(fn) }, tables);
});
test.after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

test("a transaction commits what it returned from and rolls back what it threw from", async () => {
  await transaction(kit.db, (tx) => tx.query(add(1, 5)));
  await assert.rejects(
    transaction(kit.db, async (tx) => {
      await tx.query(add(1, 100));
      throw new Error("stop");
    }),
    /stop/,
  );
  assert.deepEqual((await kit.db.query(read(1))).rows, [{ value: 5 }]);
});

test("a transaction whose failed statement was ignored does not pass for committed", async () => {
  const ignoring = transaction(kit.db, async (tx) => {
    await tx.query("INSERT INTO counter VALUES (1, 0)").catch(() => {});
    return "done";
  });
  await assert.rejects(ignoring, /ended by ROLLBACK/);
});

test("what is sent goes together with the commit, and a transaction commits all of it or nothing", async () => {
  const notes = async () => (await kit.db.query<{ note: string }>("SELECT note FROM sent ORDER BY note")).rows;
  const add = (note: unknown) => ({ text: "INSERT INTO sent (note) VALUES ($1)", values: [note] });
  await transaction(kit.db, async (tx) => {
    tx.send(add("a"));
    tx.send(add("b"));
    assert.deepEqual((await tx.query("SELECT count(*)::int AS n FROM sent")).rows, [{ n: 2 }]);
    tx.send(add("c"));
  });
  assert.equal((await notes()).length, 3);
  const refusedBy = (run: Parameters<typeof transaction>[1]) => transaction(kit.db, run).then(() => "nobody", String);
  // By the database, last of all, or before something that is waited for.
  const twice = await refusedBy(async (tx) => {
    tx.send(add("d"));
    tx.send(add("a"));
  });
  assert.match(twice, /unique/);
  const before = await refusedBy(async (tx) => {
    tx.send(add("a"));
    await tx.query("SELECT 1");
  });
  assert.match(before, /unique/);
  // By this side, so that PostgreSQL never hears of it.
  const unsendable = {
    toPostgres: () => {
      throw new Error("not to be written");
    },
  };
  const unsent = await refusedBy(async (tx) => {
    tx.send(add("e"));
    tx.send(add(unsendable));
  });
  assert.match(unsent, /not to be written/);
  assert.equal((await notes()).length, 3);
});

test("listeners hear of a commit, and not of a rollback", async () => {
  let heard = 0;
  const unlisten = kit.db.listen("news", () => {
    heard += 1;
  });
  await transaction(kit.db, async (tx) => {
    tx.announce("news");
    tx.announce("news");
    await tx.query("SELECT 1");
    assert.equal(heard, 0);
  });
  assert.equal(heard, 1);
  await transaction(kit.db, async (tx) => {
    tx.announce("news");
    throw new Error("stop");
  }).catch(() => {});
  unlisten();
  await transaction(kit.db, async (tx) => tx.announce("news"));
  assert.equal(heard, 1);
});

test("serialisation failures are tried again, and no more often than allowed", async () => {
  const incrementBy = (amount: number) =>
    transaction(
      kit.db,
      async (tx) => {
        const { rows } = await tx.query<{ value: number }>(read(2));
        await tx.query({
          text: "UPDATE counter SET value = $1 WHERE id = 2",
          values: [(rows[0]?.value ?? 0) + amount],
        });
      },
      { isolation: "serializable", retries: 20 },
    );
  await Promise.all([1, 10, 100, 1_000].map(incrementBy));
  assert.deepEqual((await kit.db.query(read(2))).rows, [{ value: 1_111 }]);

  let runs = 0;
  const time = manualTime(0);
  const failing = transaction(
    kit.db,
    async (tx) => {
      runs += 1;
      await tx.query("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
    },
    { retries: 2, timers: time.timers },
  );
  failing.catch(() => {});
  for (const wanted of [1, 2]) {
    await until(() => runs === wanted && time.sleeping() === 1, "a pause before the next attempt");
    time.advance(200);
  }
  await assert.rejects(failing, { reason: "OVERLOADED" });
  assert.equal(runs, 3);
});

test("unique violations are recognised by constraint", async () => {
  const error: unknown = await kit.db.query("INSERT INTO counter VALUES (1, 0)").catch((caught: unknown) => caught);
  assert.equal(isUniqueViolation(error), true);
  assert.equal(isUniqueViolation(error, "counter_key"), true);
  assert.equal(isUniqueViolation(error, "other_key"), false);
  assert.equal(isUniqueViolation(new Error("23505")), false);
});

test("a database that is away, hangs up, is too slow or has no connection left is a typed failure, not a crash", async (t) => {
  const unavailable = { name: "DomainError", reason: "DEPENDENCY_UNAVAILABLE", subject: "database" };
  const nobody = openDatabase({ url: "postgres://x@127.0.0.1:1/x", poolMax: 1, service: "test" });
  await assert.rejects(nobody.query("SELECT 1"), unavailable);
  await nobody[Symbol.asyncDispose]();

  const rude = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => rude.listen(0, "127.0.0.1", resolve));
  t.after(() => rude.close());
  const address = rude.address();
  assert.ok(address !== null && typeof address === "object");
  const cut = openDatabase({ url: `postgres://x@127.0.0.1:${address.port}/x`, poolMax: 1, service: "test" });
  await assert.rejects(
    transaction(cut, (tx) => tx.query("SELECT 1")),
    unavailable,
  );
  await cut[Symbol.asyncDispose]();

  const slow = openDatabase({
    url: kit.runtimeUrl,
    poolMax: 1,
    service: "t",
    statementTimeoutMs: 50,
    connectTimeoutMs: 500,
  });
  t.after(() => slow[Symbol.asyncDispose]());
  await assert.rejects(slow.query("SELECT pg_sleep(5)"), unavailable);
  await transaction(slow, async () => {
    await assert.rejects(slow.query("SELECT 1"), unavailable);
  });
});

test("connections that PostgreSQL ends, idle or in a transaction, cost one failure and are replaced", async (t) => {
  const db = openTestDatabase(t, kit.ownerUrl);
  const killer = openTestDatabase(t, kit.ownerUrl);
  const { rows } = await db.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  await killer.query({ text: "SELECT pg_terminate_backend($1)", values: [rows[0]?.pid] });
  await until(
    () =>
      db.query("SELECT 1").then(
        () => true,
        () => false,
      ),
    "a new connection",
  );

  const inside = transaction(db, async (tx) => {
    const own = await tx.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await killer.query({ text: "SELECT pg_terminate_backend($1)", values: [own.rows[0]?.pid] });
    await tx.query("SELECT 1");
  });
  await assert.rejects(inside, { reason: "DEPENDENCY_UNAVAILABLE" });
  assert.equal((await db.query("SELECT 1")).rowCount, 1);
});

test("telemetry gets statement names, durations and states, never values", async (t) => {
  const seen: object[] = [];
  const db = openDatabase({
    url: kit.runtimeUrl,
    poolMax: 2,
    service: "t",
    telemetry: {
      recordDatabase: ({ statement: name, error }) => seen.push({ name, error }),
      observePool: (_pool, state) => {
        assert.deepEqual(state(), { used: 0, idle: 0, pending: 0, max: 2 });
        return { [Symbol.dispose]: () => {} };
      },
    },
  });
  t.after(() => db[Symbol.asyncDispose]());
  await db.query(read(1));
  await db.query("SELECT 1/0").catch(() => {});
  assert.deepEqual(seen, [
    { name: "test.read", error: undefined },
    { name: "unnamed", error: "22012" },
  ]);
});

test("bytes survive named statements in both directions, alone and in arrays", async () => {
  const bytes = Buffer.from([0, 1, 0x5c, 0x22, 0x7b, 0x7d, 0x2c, 127, 128, 255]);
  const echo = statement("test.echo", "SELECT $1::bytea AS one, ($2::bytea[])[2] AS second");
  for (let round = 0; round < 2; round += 1) {
    const { rows } = await kit.db.query<{ one: Buffer; second: Buffer }>(echo(bytes, [Buffer.of(1), bytes]));
    assert.deepEqual(rows, [{ one: bytes, second: bytes }]);
  }
});
