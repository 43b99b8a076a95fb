import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { statement } from "@fujie/kit/db";
import {
  emptyRoot,
  equalHashes,
  leafHash,
  parseCheckpoint,
  parseNote,
  proveConsistencyFromTiles,
  proveInclusionFromTiles,
  root,
  verifyConsistency,
  verifyInclusion,
} from "@fujie/transparency";
import { openCheckpoint } from "../src/log/checkpoints.ts";
import type { PreparedEntry } from "../src/log/entry.ts";
import { readCheckpoint, readHead } from "../src/log/store.ts";
import { emptyTree, growTree } from "../src/log/tree.ts";
import { readLeafHash } from "../src/proofs/published-log.ts";
import { tilesOf } from "../src/tiles/read-tiles.ts";
import {
  makeEvent,
  makeEvents,
  ORIGIN,
  openLeader,
  openTestLog,
  openWriter,
  type TestLog,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";

usePostgres();

const sql = (text: string) => statement("", text)();
const reasonOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "none",
    (error: Error) => error.message,
  );

async function publishedTree(log: TestLog) {
  const published = await readCheckpoint(log.db);
  assert.ok(published);
  const checkpoint = openCheckpoint(published.note, log.verifiers, ORIGIN);
  assert.ok(checkpoint);
  return checkpoint;
}

async function assertSound(log: TestLog, size: number): Promise<void> {
  const report = await verifyTestLog(log);
  assert.deepEqual(report, { size, checkpoints: 1, findings: [] });
}

test("a new log publishes the signed checkpoint of the empty tree", async (t) => {
  const log = await openTestLog(t);
  await using _writer = await openLeader(log);
  const checkpoint = await publishedTree(log);
  assert.deepEqual([checkpoint.size, checkpoint.root], [0, emptyRoot()]);
  const { signatures } = parseNote((await readCheckpoint(log.db))?.note ?? "");
  assert.equal(signatures.length, 2, "Ed25519 and SM2");
  await assertSound(log, 0);
});

test("the service's tree over the eight leaves of RFC 6962 has the published roots", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const path = new URL("../../../packages/transparency/vectors/rfc6962.json", import.meta.url);
  const vectors: { leaves: string[]; roots: string[] } = JSON.parse(readFileSync(path, "utf8"));
  for (const [at, leaf] of vectors.leaves.entries()) {
    const eventId = makeEvent().eventId;
    const entry: PreparedEntry = {
      entry: {
        timeMs: 0,
        service: "s",
        eventId,
        type: "a.b",
        outcome: "SUCCESS",
        actor: "",
        subject: "",
        applicationId: "",
        organisationId: "",
        traceId: "",
        purpose: "",
        reason: "",
        detailsSha256: new Uint8Array(),
        digest: new Uint8Array(),
      },
      preimage: Buffer.of(1),
      salt: Buffer.alloc(32),
      leafHash: leafHash(Buffer.from(leaf, "hex")),
      details: undefined,
    };
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    writer.sequencer.append([{ entry, resolve, reject }]);
    assert.equal(await promise, at);
    const checkpoint = await publishedTree(log);
    assert.deepEqual([checkpoint.size, Buffer.from(checkpoint.root).toString("hex")], [at + 1, vectors.roots[at]]);
  }
});

test("every proof of every kind of size verifies, and a restart continues the tree", async (t) => {
  const log = await openTestLog(t);
  const heads: { size: number; root: Uint8Array }[] = [];
  for (const count of [1, 254, 1, 1, 254, 1, 1, 300]) {
    // A new process each time: the tree goes on from what is stored.
    await using writer = await openLeader(log);
    const begin = heads.at(-1)?.size ?? 0;
    const indexes = await writer.appender.append("registry", makeEvents(count));
    assert.deepEqual(
      indexes,
      Array.from({ length: count }, (_, at) => begin + at),
    );
    heads.push(await publishedTree(log));
  }
  assert.deepEqual(
    heads.map(({ size }) => size),
    [1, 255, 256, 257, 511, 512, 513, 813],
  );
  const tiles = tilesOf(log.db);
  for (const [at, head] of heads.entries()) {
    for (const index of [0, 100, 254, 255, 256, 400, 511, 512, head.size - 1].filter((leaf) => leaf < head.size)) {
      const path = await proveInclusionFromTiles(index, head.size, tiles);
      const leaf = await readLeafHash(tiles, index, head.size);
      assert.deepEqual(verifyInclusion({ leafHash: leaf, index, size: head.size, path, root: head.root }), {
        ok: true,
      });
    }
    for (const older of heads.slice(0, at + 1)) {
      const path = await proveConsistencyFromTiles(older.size, head.size, tiles);
      const claim = { oldSize: older.size, oldRoot: older.root, newSize: head.size, newRoot: head.root, path };
      assert.deepEqual(verifyConsistency(claim), { ok: true });
    }
  }
  await assertSound(log, 813);
});

test("a known event is answered with its first index, and the same id with other contents is a conflict", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const { appender } = writer;
  const [first, second] = [makeEvent({ details: { reason: "lost" } }), makeEvent()];
  assert.deepEqual(await appender.append("registry", [first, second]), [0, 1]);
  assert.deepEqual(await appender.append("registry", [second, first, makeEvent(), second]), [1, 0, 2, 1]);
  const conflicting = [
    { ...first, details: { reason: "stolen" } },
    { ...first, details: {} },
    { ...second, details: { reason: "lost" } },
    { ...second, subject: "account-2" },
  ];
  for (const event of conflicting) {
    const bystander = makeEvent();
    assert.equal(await reasonOf(appender.append("registry", [bystander, event])), "EVENT_CONFLICT");
    assert.equal((await readHead(log.db))?.size, 3, "nothing of the batch is stored");
  }
  assert.equal(await reasonOf(appender.append("auth", [second])), "EVENT_CONFLICT", "of another service");
  const third = makeEvent();
  assert.equal(
    await reasonOf(appender.append("registry", [third, { ...third, type: "registration.confirmed" }])),
    "EVENT_CONFLICT",
    "within one batch",
  );
  assert.equal(appender.waiting(), 0);
  await assertSound(log, 3);
});

test("an erased subject's event is still known, and later details are sealed under another key", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const { appender, subjectKeys } = writer;
  const event = makeEvent({ details: { reason: "lost" } });
  await appender.append("registry", [event]);
  await subjectKeys.erase("account-1");
  assert.deepEqual(await appender.append("registry", [event]), [0]);
  assert.deepEqual(await appender.append("registry", [makeEvent({ details: { reason: "again" } })]), [1]);
  const { rows } = await log.db.query<{ details_key: string }>("SELECT details_key FROM audit.entry ORDER BY index");
  assert.equal(new Set(rows.map(({ details_key }) => details_key)).size, 2);
  await assertSound(log, 2);
});

test("many callers at once, with the same events among them: each event once, the indexes dense", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const events = makeEvents(1_200, { details: { a: "b" } });
  const calls = Array.from({ length: 60 }, (_, at) => events.slice(at * 20, at * 20 + 60));
  const answers = await Promise.all(calls.map((batch) => writer.appender.append("registry", batch)));
  const indexOf = new Map<string, number>();
  for (const [at, indexes] of answers.entries()) {
    for (const [position, index] of indexes.entries()) {
      const id = calls[at]?.[position]?.eventId ?? "";
      assert.equal(indexOf.get(id) ?? index, index);
      indexOf.set(id, index);
    }
  }
  assert.equal(indexOf.size, 1_200);
  assert.deepEqual(
    [...indexOf.values()].sort((a, b) => a - b),
    Array.from({ length: 1_200 }, (_, at) => at),
  );
  await assertSound(log, 1_200);
});

test("events whose clocks step back are sealed in the order in which they come", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const nowMs = Date.now();
  for (const [at, stepMs] of [0, -3_600_000, 5, -86_400_000 * 200].entries()) {
    const indexes = await writer.appender.append("auth", [makeEvent({}, nowMs + stepMs)]);
    assert.deepEqual(indexes, [at]);
  }
  await assertSound(log, 4);
});

test("beyond its bounds the queue sheds at once, by number and by bytes, and takes events again afterwards", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log, { eventsMax: 100, bytesMax: 100_000 });
  const { appender } = writer;
  const first = appender.append("auth", makeEvents(80));
  assert.equal(await reasonOf(appender.append("auth", makeEvents(21))), "OVERLOADED");
  assert.equal((await first).length, 80);
  const large = makeEvents(2, { details: { text: "x".repeat(60_000) } });
  assert.equal(await reasonOf(appender.append("auth", large)), "OVERLOADED");
  assert.deepEqual(await appender.append("auth", makeEvents(1)), [80]);
  assert.equal(appender.waiting(), 0);
});

test("one bad event refuses its batch: nothing is stored", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  const batch = [makeEvent(), makeEvent({ traceId: "x" })];
  assert.equal(await reasonOf(writer.appender.append("auth", batch)), "EVENT_INVALID");
  assert.equal((await readHead(log.db))?.size, 0);
});

test("partitions are created ahead of the entries", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log, { partitionEntries: 4_096 });
  for (let batch = 0; batch < 10; batch++) await writer.appender.append("auth", makeEvents(1_000));
  const { rows } = await log.db.query<{ begin: number; end: number }>(
    `SELECT begin_index::float8 AS begin, end_index::float8 AS end FROM audit.entry_range ORDER BY begin_index`,
  );
  assert.ok(rows.length >= 3, "more than one partition was needed");
  for (const [at, { begin, end }] of rows.entries()) assert.deepEqual([begin, end], [at * 4_096, (at + 1) * 4_096]);
  await until(async () => {
    const reached = await log.db.query<{ end: number }>("SELECT max(end_index)::float8 AS end FROM audit.entry_range");
    return (reached.rows[0]?.end ?? 0) >= 10_000 + 2_048;
  }, "there is room ahead");
  await assertSound(log, 10_000);
});

test("SU-7.3.1b neither the service's role nor the owner changes, removes or truncates entries", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  await writer.appender.append("auth", makeEvents(300));
  const owner = log.superuser();
  const tables = ["audit.entry", "audit.entry_0000000000000000", "audit.event", "audit.tile"];
  const changes = tables.flatMap((table) => [
    `DELETE FROM ${table}`,
    `TRUNCATE ${table}`,
    `UPDATE ${table} SET index = index + 1`,
  ]);
  changes.push(
    "DELETE FROM audit.head",
    "UPDATE audit.head SET size = size - 1",
    `UPDATE audit.head SET root = '\\x${"00".repeat(32)}'`,
    "UPDATE audit.head SET epoch = 0",
  );
  for (const change of changes) {
    await assert.rejects(
      log.db.query(sql(change)),
      (error: Error) => /permission denied|audit log/.test(error.message),
      change,
    );
    await assert.rejects(owner.query(sql(change)), /audit log/, change);
  }
  await assert.rejects(log.db.query(sql("CREATE TABLE audit.mine (a int)")), /permission denied/);
  await assert.rejects(log.db.query(sql("DROP TABLE audit.entry")), /must be owner/);
  await assertSound(log, 300);
});

test("a log of another origin is not continued", async (t) => {
  const log = await openTestLog(t);
  {
    await using writer = await openLeader(log);
    await writer.appender.append("auth", makeEvents(1));
  }
  const errors: unknown[] = [];
  const listening = { info: () => {}, warn: () => {}, error: (fields: object) => void errors.push(fields) };
  await using other = openWriter(log, { origin: "another.example", log: listening });
  await until(() => errors.length > 0, "the sequencer refuses");
  assert.ok(!other.sequencer.isLeading());
  assert.equal(await reasonOf(other.appender.append("auth", makeEvents(1))), "DEPENDENCY_UNAVAILABLE");
});

test("the checkpoint's root is that of the leaves in their order", async (t) => {
  const log = await openTestLog(t);
  await using writer = await openLeader(log);
  await writer.appender.append("auth", makeEvents(5));
  const tiles = tilesOf(log.db);
  const leaves = await Promise.all([0, 1, 2, 3, 4].map((index) => readLeafHash(tiles, index, 5)));
  const published = await readCheckpoint(log.db);
  const checkpoint = parseCheckpoint(parseNote(published?.note ?? "").text);
  assert.ok(equalHashes(checkpoint.root, root(growTree(emptyTree, leaves).tree.frontier)));
});
