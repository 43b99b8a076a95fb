// What happens between the services and the log: answers that are lost, services that are killed between their commit
// and the relay, callers that do not read. Each ends with every event in the log once.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Event, IngestService, StreamEventsRequestSchema } from "@fujie/api/fujie/audit/v1/ingest";
import { testDatabase } from "@fujie/embedded/testing";
import type { Peer } from "@fujie/kit/clients";
import { systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, statement } from "@fujie/kit/db";
import { openFileKeyRing } from "@fujie/kit/keys";
import { startRelay } from "@fujie/kit/outbox";
import { auditDestination } from "@fujie/kit/record";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { readHead } from "../src/log/store.ts";
import {
  makeEvents,
  peerClient,
  silent,
  startTestServer,
  type TestServer,
  temporaryFolder,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";
import { openWire, through, type Wire } from "./wire.ts";

const cleanups: (() => Promise<void> | void)[] = [];
// Before PostgreSQL's own: hooks run in this order.
after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});
usePostgres();

const t = { after: (fn: () => Promise<void> | void) => void cleanups.push(fn) };
const sql = (text: string) => statement("", text)();
let audit: TestServer;
/** Between a service and audit. */
let wire: Wire;
let peer: Peer;
before(async () => {
  audit = await startTestServer(t);
  wire = await openWire(() => audit.server.grpcPort);
  peer = await peerClient(audit.log, "registry", wire.port);
  cleanups.push(async () => wire[Symbol.asyncDispose]());
  cleanups.push(() => peer[Symbol.dispose]());
});
const sealed = async (): Promise<number> => (await readHead(audit.log.db))?.size ?? 0;

async function assertSound(size: number): Promise<void> {
  assert.deepEqual(await verifyTestLog(audit.log), { size, checkpoints: 1, findings: [] });
  const { rows } = await audit.log.db.query<{ count: number }>(sql("SELECT count(*)::int AS count FROM audit.event"));
  assert.equal(rows[0]?.count, size);
}

for (const lost of ["requests", "answers"] as const) {
  const outcome = lost === "requests" ? "failed and not persisted" : "failed but persisted";
  test(`an acknowledgement is lost with its connection (${outcome}): sent again, each event is in the log once`, async () => {
    const ingest = peer(IngestService);
    await ingest.appendEvents({ events: makeEvents(1) });
    const size = await sealed();
    const events = makeEvents(30);
    wire.swallow(lost);
    // With a deadline, so that what arrives is the caller's failure and not a retry of its channel.
    const answer = ingest.appendEvents({ events }, { timeoutMs: 1_000 }).then(
      () => "acknowledged",
      () => "unknown",
    );
    await until(async () => wire.swallowed() > 0 && (lost === "requests" || (await sealed()) > size), "it is lost");
    assert.equal(await answer, "unknown");
    assert.equal(await sealed(), size + (lost === "answers" ? 30 : 0));
    wire.cut();
    let indexes: number[] = [];
    await until(async () => {
      // The first calls may still meet the connection that is gone.
      const answer = await ingest.appendEvents({ events }, { timeoutMs: 8_000 }).catch(() => undefined);
      indexes = answer?.indexes.map(Number) ?? [];
      return answer !== undefined;
    }, "it is acknowledged");
    assert.deepEqual(
      indexes,
      events.map((_, at) => size + at),
    );
    await assertSound(size + 30);
  });
}

interface Service {
  readonly db: Database;
  readonly toDatabase: Wire;
  start(): Promise<ChildProcess>;
  /** Delivers what the killed one left, as its successor does. */
  finish(): Promise<void>;
}

async function openService(): Promise<Service> {
  const folder = temporaryFolder(t);
  const dir = join(folder, "migrations");
  mkdirSync(dir);
  writeFileSync(
    join(dir, "0001-changed.sql"),
    `CREATE TABLE changed (name text PRIMARY KEY); GRANT SELECT, INSERT ON changed TO :"runtime_role"`,
  );
  const database = await testDatabase();
  cleanups.push(async () => database[Symbol.asyncDispose]());
  const { runtimeUrl } = database;
  await migrate({ url: database.ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silent });
  const db = openDatabase({ url: runtimeUrl, poolMax: 4, service: "registry" });
  cleanups.push(async () => db[Symbol.asyncDispose]());
  const toDatabase = await openWire(() => Number(new URL(runtimeUrl).port));
  cleanups.push(async () => toDatabase[Symbol.asyncDispose]());
  const ca = await createLocalCa(join(audit.log.folder, "tls"));
  const { certFile, keyFile } = await ca.issueService("registry");
  const keysDir = audit.log.keys.keysDir("registry");
  return {
    db,
    toDatabase,
    start: async () => {
      const child = spawn(process.execPath, [join(import.meta.dirname, "recording-process.ts")], {
        env: {
          PATH: process.env["PATH"] ?? "",
          DATABASE_URL: through(toDatabase, runtimeUrl),
          KEYS_DIR: keysDir,
          AUDIT: String(wire.port),
          CERT: certFile,
          KEY: keyFile,
          CA: ca.caFile,
        },
        stdio: ["pipe", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      return child;
    },
    finish: async () => {
      // What the killed one had in hand is leased to it for a while.
      const later = { nowMs: () => systemClock.nowMs() + 60_000 };
      const destinations = {
        audit: auditDestination(peer(IngestService), openFileKeyRing(keysDir, { service: "registry" })),
      };
      await using _ = startRelay({ db, destinations, batchMax: 16, clock: later, log: silent });
      await until(async () => (await waiting(db)) === 0, "the outbox is empty");
    },
  };
}

async function waiting(db: Database): Promise<number> {
  return (await db.query<{ count: number }>(sql("SELECT count(*)::int AS count FROM kit.outbox"))).rows[0]?.count ?? -1;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

test("kill −9 of a service at its commit, between commit and relay, and between relay and its answer: state and event are both there or both not, and the event once", async () => {
  const service = await openService();
  const size = await sealed();
  const changed = async () =>
    (await service.db.query<{ name: string }>(sql("SELECT name FROM changed ORDER BY name"))).rows.map(
      ({ name }) => name,
    );
  const strikeAtCommit = async (name: string, moment: "before" | "after"): Promise<void> => {
    const child = await service.start();
    try {
      const struck = service.toDatabase.atCommitOf("test.change", moment, async () => {
        await kill(child);
        return "cut";
      });
      child.stdin?.write(`${name}\n`);
      await struck;
    } finally {
      await kill(child);
    }
  };

  // Failed and not persisted.
  await strikeAtCommit("a", "before");
  assert.deepEqual([await changed(), await waiting(service.db), await sealed()], [[], 0, size]);

  // Failed but persisted: committed, and the relay knows nothing of it yet. What it may send all the same is lost.
  wire.swallow("requests");
  await strikeAtCommit("b", "after");
  wire.cut();
  assert.deepEqual([await changed(), await waiting(service.db), await sealed()], [["b"], 1, size]);
  await service.finish();
  assert.equal(await sealed(), size + 1);

  // Sealed, and the relay never hears of it.
  const child = await service.start();
  try {
    child.stdin?.write("c\n");
    await until(async () => (await sealed()) === size + 2 && (await waiting(service.db)) === 0, "it relays");
    wire.swallow("answers");
    child.stdin?.write("d\n");
    await until(async () => (await sealed()) === size + 3, "it is sealed");
  } finally {
    await kill(child);
    wire.cut();
  }
  assert.deepEqual([await changed(), await waiting(service.db)], [["b", "c", "d"], 1]);
  await service.finish();
  await assertSound(size + 3);
});

/** Batches that a caller may have under way while it reads no answer: 250 kB each. */
const UNREAD_BATCHES_MAX = 32;

test("a caller of StreamEvents that does not read is waited for, holds up nobody, and has its events in the log once", async () => {
  const size = await sealed();
  const [known] = makeEvents(1);
  assert.ok(known);
  await peer(IngestService).appendEvents({ events: [known] });
  const slow = await openStream();
  const written: Event[] = [];
  let offering = true;
  const offers = (async () => {
    while (offering && written.length < 10 * UNREAD_BATCHES_MAX) {
      const [fresh] = makeEvents(1);
      assert.ok(fresh);
      // Large answers for little work: an index for each repetition.
      await slow.write([fresh, ...Array<Event>(999).fill(known)]);
      written.push(fresh);
    }
  })();
  let before = -1;
  await until(async () => {
    const stalled = written.length === before;
    before = written.length;
    await delay(300);
    return stalled && before > 0;
  }, "nothing more is taken from it");
  assert.ok(written.length < UNREAD_BATCHES_MAX, `${written.length} batches were taken`);
  assert.ok((await sealed()) - size <= written.length + 2);
  for (let call = 0; call < 10; call += 1)
    await peer(IngestService).appendEvents({ events: makeEvents(10) }, { timeoutMs: 2_000 });

  offering = false;
  const answers = slow.readAll();
  await offers;
  slow.end();
  assert.equal(await answers, written.length, "each batch is answered");
  await assertSound(size + 1 + 100 + written.length);
});

/** A call as grpc frames it (length-prefixed messages over HTTP/2), whose reading and writing are in our hands. */
async function openStream() {
  const ca = await createLocalCa(join(audit.log.folder, "tls"));
  const files = await ca.issueService("registry");
  const { ca: roots, key, cert } = loadIdentity({ ...files, caFile: ca.caFile }, { watchIntervalMs: 0 });
  const session = connect(`https://localhost:${audit.server.grpcPort}`, {
    ca: Buffer.from(roots),
    key: Buffer.from(key),
    cert: Buffer.from(cert),
    settings: { initialWindowSize: 16_384 },
  });
  // Its calls tell what is wrong with it.
  session.on("error", () => {});
  cleanups.push(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": `/${IngestService.typeName}/StreamEvents`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  return {
    write: (events: Event[]): Promise<void> => {
      const message = toBinary(StreamEventsRequestSchema, create(StreamEventsRequestSchema, { events }));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      return new Promise((resolve, reject) => {
        stream.write(Buffer.concat([head, message]), (error) => (error ? reject(error) : resolve()));
      });
    },
    end: () => stream.end(),
    /** Reads until the end. Gives the number of answers; the call must end well. */
    readAll: async (): Promise<number> => {
      const chunks: Buffer[] = [];
      let status: unknown;
      stream.once("trailers", (trailers) => {
        status = trailers["grpc-status"];
      });
      for await (const chunk of stream) chunks.push(chunk);
      assert.equal(status, "0");
      session.close();
      const bytes = Buffer.concat(chunks);
      let answers = 0;
      for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) answers += 1;
      return answers;
    },
  };
}
