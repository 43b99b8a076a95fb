import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { ReconciliationService } from "@fujie/api/fujie/audit/v1/reconciliation";
import { RetentionService } from "@fujie/api/fujie/audit/v1/retention";
import { testDatabase } from "@fujie/embedded/testing";
import { manualClock, systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, transaction } from "@fujie/kit/db";
import { startReconciling, startRelay } from "@fujie/kit/outbox";
import { auditDestination, recordEvent } from "@fujie/kit/record";
import { systemTimers } from "@fujie/kit/timers";
import { entryLeafHash, verifyProofBundle } from "@fujie/transparency";
import { writeBundle } from "../../../packages/cli/src/audit/bundle.ts";
import { httpSource } from "../../../packages/cli/src/audit/log-source.ts";
import { runAudit } from "../../../packages/cli/src/commands/audit.ts";
import { verifyLog } from "../src/log/index.ts";
import { startOfMonthMs } from "../src/retention/rules.ts";
import { createRetentionSweep } from "../src/retention/sweep.ts";
import {
  makeEvents,
  ORIGIN,
  openLeader,
  openTestLog,
  silent,
  startTestServer,
  type TestLog,
  type TestServer,
  temporaryFolder,
  until,
  usePostgres,
} from "./fixture.ts";

usePostgres();

const DAY_MS = 86_400_000;
const cleanups: (() => Promise<void> | void)[] = [];
const cleanup = { after: (fn: () => Promise<void> | void) => void cleanups.push(fn) };
let log: TestLog;
let server: TestServer;
let superuser: Database;
/** 20 months from now: everything that is here is past its time by then, except what the database itself protects. */
const later = manualClock(Date.now() + 610 * DAY_MS);

test.after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

// Three months of a log: entries 0–511 of 250 days ago, 512–767 of today, and what the server adds.
before(async () => {
  log = await openTestLog(cleanup);
  superuser = log.superuser();
  const months: [clockDays: number, entries: number, ageDays: number][] = [
    [0, 300, 250],
    [40, 300, 250],
    [80, 200, 0],
  ];
  for (const [clockDays, entries, ageDays] of months) {
    const nowMs = Date.now();
    await using writer = await openLeader(log, { clock: manualClock(nowMs + clockDays * DAY_MS) });
    const about = { details: { name: "张三" }, subject: `account-${clockDays}` };
    await writer.appender.append("registry", makeEvents(entries, about, nowMs - ageDays * DAY_MS));
  }
  server = await startTestServer(cleanup, systemClock, {}, log);
});

const first = { sub: "auditor-1", scopes: ["audit.read", "audit.hold"] };
const second = { sub: "auditor-2", scopes: ["audit.read", "audit.hold"] };
const retention = (operator: typeof first) => server.client(RetentionService, operator);
const keys = () => ["--keys", log.keys.bundleFile, "--root", log.keys.bundleRootFile];

async function verify(...args: readonly string[]): Promise<{ code: number; lines: string }> {
  const lines: string[] = [];
  const code = await runAudit(["verify", ...args, ...keys()], (line) => void lines.push(line));
  return { code, lines: lines.join("\n") };
}

const sweep = (exportedOnly = false) =>
  createRetentionSweep({ db: log.db, ring: log.ring, clock: later, log: silent }, { months: 13, exportedOnly })();

const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => "accepted",
    (error: Error) => error.message,
  );

async function partitions(): Promise<[begin: number, end: number, dropped: boolean][]> {
  const { rows } = await superuser.query<{ begin: number; end: number; dropped: boolean }>(
    `SELECT begin_index::float8 AS begin, end_index::float8 AS end, dropped_at_ms IS NOT NULL AS dropped
     FROM audit.entry_range ORDER BY begin_index`,
  );
  return rows.map(({ begin, end, dropped }) => [begin, end, dropped]);
}

test("a partition closes with its month, in China's time, at the end of a tile", async () => {
  const ranges = await partitions();
  assert.deepEqual(ranges.slice(0, 2), [
    [0, 512, false],
    [512, 768, false],
  ]);
  assert.equal(ranges[2]?.[0], 768);
  assert.equal(startOfMonthMs(Date.UTC(2026, 2, 31, 15, 59)), Date.UTC(2026, 1, 28, 16));
  assert.equal(startOfMonthMs(Date.UTC(2026, 2, 31, 16)), Date.UTC(2026, 2, 31, 16));
  assert.deepEqual((await verify("--database", log.database.url)).code, 0);
});

test("SU-7.3.1b nobody drops entries past the guarded function: not the service's role, not the owner by login", async () => {
  const owner = roleOf(log.database.ownerUrl);
  await superuser.query(`REVOKE "${owner}_keeper" FROM "${owner}"`);
  await using byOwner = openDatabase({ url: log.database.ownerUrl, poolMax: 1, service: "test" });
  const attempts = [
    "DROP TABLE audit.entry_0000000000000000",
    "DROP TABLE audit.entry",
    "DROP TABLE audit.tile",
    "DROP SCHEMA audit CASCADE",
    "ALTER TABLE audit.entry DETACH PARTITION audit.entry_0000000000000000",
    "ALTER TABLE audit.entry DISABLE TRIGGER ALL",
    "TRUNCATE audit.entry_0000000000000000",
    "DELETE FROM audit.hold",
    "UPDATE audit.entry_range SET dropped_at_ms = 1",
    "CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    `SET ROLE "${owner}_keeper"`,
  ];
  for (const db of [log.db, byOwner])
    for (const attempt of attempts) await assert.rejects(db.query(attempt), /must be owner|permission denied/, attempt);
  // The function itself, asked directly, with a policy that would end everything at once.
  for (const db of [log.db, byOwner]) {
    const drop = (begin: number) => db.query(`SELECT audit.drop_partition(${begin}, 9000000000000000, false)`);
    await assert.rejects(drop(512), /too young/, "younger than 184 days");
    await assert.rejects(drop(768), /no complete partition/, "still written to");
    await assert.rejects(drop(1), /no complete partition/);
  }
});

test("a legal hold and a missing export keep entries; then the month's partition ends, and all proofs stay valid", async (t) => {
  const heldFrom = Date.now() - 260 * DAY_MS;
  const { hold } = await retention(first).placeHold({
    requestId: "hold-0001",
    startTime: timestampFromMs(heldFrom),
    endTime: timestampFromMs(heldFrom + 20 * DAY_MS),
    reason: "case 7",
  });
  const holdId = hold?.holdId ?? "";
  assert.equal(await sweep(), 0, "held");
  assert.match(
    await reasonOf(retention(first).releaseHold({ holdId: "0198c0de-0000-7000-8000-00000000000a", reason: "x" })),
    /no such legal hold/,
  );
  await retention(second).releaseHold({ holdId, reason: "case closed" });
  assert.match(await reasonOf(retention(first).releaseHold({ holdId, reason: "again" })), /released before/);
  await assert.rejects(log.db.query("UPDATE audit.hold SET released_by = 'x'"), /released once/);
  const { holds } = await retention(first).listHolds({});
  assert.deepEqual(
    holds.map(({ placedBy, releasedBy }) => [placedBy, releasedBy]),
    [["auditor-1", "auditor-2"]],
  );
  assert.equal(await sweep(true), 0, "not exported yet");

  // Bulk reading is for four eyes.
  const asked = {
    requestId: "export-0001",
    beginIndex: 0n,
    endIndex: 600n,
    purpose: "archive",
    reason: "before the end",
  };
  const { exportId } = await retention(first).requestExport(asked);
  const folder = join(temporaryFolder(t), "bundle");
  const tokenFile = join(temporaryFolder(t), "token");
  writeFileSync(tokenFile, server.mintToken(first.scopes, { sub: first.sub }));
  const write = () =>
    runAudit(
      ["export", "--audit", server.httpUrl, "--token-file", tokenFile, "--id", exportId, "--out", folder],
      () => {},
    );
  assert.match(await reasonOf(write()), /has not approved/);
  assert.match(await reasonOf(retention(first).approveExport({ exportId })), /same person/);
  await retention(second).approveExport({ exportId });
  assert.match(await reasonOf(retention(second).approveExport({ exportId })), /approved before/);
  assert.equal(await write(), 0);
  const sound = await verify("--bundle", folder);
  assert.equal(sound.code, 0, sound.lines);
  assert.match(sound.lines, /^PROVEN: 600 entries \(0 to 599\)/m);

  // One entry's proof from before, to be checked after the end.
  const purpose = "test.review";
  const entry = { case: "index", value: 5n } as const;
  const { proofBundle, preimage, salt } = await server.client(LogService, first).getEntry({ purpose, entry });
  assert.equal(await sweep(true), 1);
  assert.deepEqual((await partitions())[0], [0, 512, true]);
  assert.equal(await sweep(true), 0, "nothing else is past its time");

  const policy = { origin: ORIGIN, witnessesMin: 0 };
  const proven = verifyProofBundle(
    proofBundle,
    entryLeafHash(preimage, salt),
    { log: log.verifiers, witnesses: [] },
    policy,
  );
  assert.ok(proven.ok, "an old proof");
  const fresh = await server.client(LogService).getInclusionProof({ index: 5n });
  assert.deepEqual(Buffer.from(fresh.leafHash), Buffer.from(entryLeafHash(preimage, salt)), "and a fresh one");
  assert.equal((await fetch(`${server.httpUrl}/log/tile/0/000`)).status, 200, "tiles stay");
  assert.equal((await fetch(`${server.httpUrl}/log/tile/entries/000`)).status, 404, "entries are gone");
  assert.equal((await verify("--bundle", folder)).code, 0, "the bundle still proves what ended");

  await until(async () => {
    const { rows } = await log.db.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM audit.entry JOIN audit.name ON id = type WHERE name = 'entries.dropped'",
    );
    return rows[0]?.n === 1;
  }, "the end is recorded in the log");
  for (const source of [
    ["--database", log.database.url],
    ["--log", `${server.httpUrl}/log`],
  ]) {
    const run = await verify(...source);
    assert.equal(run.code, 0, run.lines);
    assert.match(run.lines, /^512 entries are past their time/m);
  }
});

test("entries that a superuser removes and marks as ended are found: the log holds no record of it", async () => {
  const undo = new Error("undo");
  const run = transaction(superuser, async (tx) => {
    await tx.query("DROP TABLE audit.entry_0000000000000512");
    await tx.query("UPDATE audit.entry_range SET dropped_at_ms = 1 WHERE begin_index = 512");
    const db = { ...superuser, query: tx.query, copyOut: tx.copyOut };
    const { findings } = await verifyLog({ db, origin: ORIGIN, verifiers: log.verifiers });
    assert.deepEqual(findings, [{ kind: "DROP_UNRECORDED" }]);
    throw undo;
  });
  await assert.rejects(run, undo);
});

test("a bundle of which a byte was changed is found, whatever its manifest says", async (t) => {
  const folder = join(temporaryFolder(t), "bundle");
  const { exportId } = await retention(first).requestExport({
    requestId: "export-0002",
    beginIndex: 520n,
    endIndex: 790n,
    purpose: "archive",
    reason: "tampering",
  });
  await retention(second).approveExport({ exportId });
  const count = await writeBundle(
    folder,
    retention(first).exportEntries({ exportId }),
    httpSource(`${server.httpUrl}/log`),
  );
  assert.equal(count, 270);
  assert.equal((await verify("--bundle", folder)).code, 0);
  const file = join(folder, "entries.jsonl");
  const lines = readFileSync(file, "utf8").split("\n");
  const manifest = readFileSync(join(folder, "manifest.json"), "utf8");
  const changes: [what: string, altered: readonly string[], found: RegExp][] = [
    ["a salt", lines.with(3, (lines[3] ?? "").replace(/"salt":"..../, '"salt":"AAAA')), /ENTRY_ALTERED \(entry 523\)/],
    ["a removed line", lines.toSpliced(3, 1), /ENTRY_MISSING/],
    [
      "two lines in the other order",
      lines.with(3, lines[4] ?? "").with(4, lines[3] ?? ""),
      /ENTRY_ALTERED \(entry 523\)/,
    ],
  ];
  for (const [what, altered, found] of changes) {
    const text = altered.join("\n");
    writeFileSync(file, text);
    // A forger writes a fitting manifest as well.
    const hash = createHash("sha256").update(text).digest("hex");
    writeFileSync(join(folder, "manifest.json"), manifest.replace(/("entries.jsonl": ")[0-9a-f]+/, `$1${hash}`));
    const run = await verify("--bundle", folder);
    assert.equal(run.code, 1, what);
    assert.match(run.lines, found, what);
  }
});

test("an erased subject's details are gone, and its entries still verify", async () => {
  const entry = { case: "index", value: 610n } as const;
  const read = () => server.client(LogService, first).getEntry({ purpose: "test.review", entry });
  const known = await read();
  assert.deepEqual(known.details, { name: "张三" });
  const subject = known.summary?.subject ?? "";
  const erasure = { events: makeEvents(1, { type: "subject.erased", actor: "registry", subject }) };
  await (await server.peer("trust-gateway"))(IngestService).appendEvents({
    events: makeEvents(1, { type: "subject.erased", subject }),
  });
  assert.deepEqual((await read()).details, known.details, "nobody but the registry ends an account's retention");
  const registry = (await server.peer("registry"))(IngestService);
  await registry.appendEvents(erasure);
  await registry.appendEvents(erasure);
  const { details, preimage } = await read();
  assert.deepEqual(details, {});
  assert.deepEqual(preimage, known.preimage);
  assert.equal((await verify("--database", log.database.url)).code, 0);
});

test("a row that a superuser deletes from a service's outbox before the relay is found, and so is a count set back", async (t) => {
  const database = await testDatabase(t);
  const dir = join(temporaryFolder(t));
  writeFileSync(join(dir, "0001-nothing.sql"), "SELECT 1");
  await migrate({ url: database.ownerUrl, dir, runtimeRole: roleOf(database.runtimeUrl), log: silent });
  await using db = openDatabase({ url: database.runtimeUrl, poolMax: 4, service: "auth" });
  await using admin = openDatabase({ url: database.url, poolMax: 1, service: "test" });
  const record = () =>
    transaction(db, (tx) =>
      recordEvent(
        { clock: systemClock, ring: log.ring },
        tx,
        { service: "auth" },
        { type: "session.started", outcome: "SUCCESS" },
      ),
    );
  for (let times = 0; times < 5; times++) await record();
  await assert.rejects(
    transaction(db, async (tx) => {
      await recordEvent(
        { clock: systemClock, ring: log.ring },
        tx,
        { service: "auth" },
        { type: "session.started", outcome: "SUCCESS" },
      );
      throw new Error("rolled back");
    }),
  );
  const peer = await server.peer("auth");
  const answers: number[] = [];
  const reconciling = () =>
    startReconciling({
      db,
      log: silent,
      everyMs: 20,
      tell: async ({ enqueued, waiting }) => {
        const request = { enqueued: BigInt(enqueued), waiting: BigInt(waiting) };
        const { missing } = await peer(ReconciliationService).reconcile(request);
        answers.push(Number(missing));
        return Number(missing);
      },
    });
  await using _before = reconciling();
  await until(() => answers.length > 1, "the waiting rows are told");
  assert.deepEqual([...new Set(answers)], [0], "what waits is not missing, what was rolled back was never there");
  await admin.query("DELETE FROM kit.outbox WHERE seq = (SELECT min(seq) FROM kit.outbox)");
  await until(() => answers.at(-1) === 1, "the deleted row is missed before anything is relayed");
  const destinations = { audit: auditDestination(peer(IngestService), log.ring) };
  await using _relay = startRelay({
    db,
    destinations,
    batchMax: 10,
    log: silent,
    clock: systemClock,
    timers: systemTimers,
  });
  await until(async () => {
    const { rows } = await db.query<{ n: number }>("SELECT count(*)::int AS n FROM kit.outbox");
    return rows[0]?.n === 0;
  }, "the others are relayed");
  const told = answers.length;
  await until(() => answers.length > told + 1, "told again");
  assert.equal(answers.at(-1), 1, "and it stays missed");
  const found = await verify("--database", log.database.url);
  assert.equal(found.code, 1);
  assert.match(found.lines, /^FOUND: OUTBOX_ROW_MISSING \(auth\)/m);
  // Covering it up by the count: what was told before, and what is sealed, say more.
  await admin.query("DELETE FROM kit.outbox_enqueued WHERE ctid = (SELECT min(ctid) FROM kit.outbox_enqueued)");
  await until(() => answers.at(-1) === -1, "the count that was set back is found");
  const { rows } = await log.db.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM audit.entry JOIN audit.name ON id = type WHERE name = 'outbox.row-missing'",
  );
  assert.ok((rows[0]?.n ?? 0) >= 1, "and recorded");
});
