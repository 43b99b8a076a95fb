import assert from "node:assert/strict";
import { createServer } from "node:http";
import { join } from "node:path";
import { before, test } from "node:test";
import { type Database, openDatabase, transaction } from "@fujie/kit/db";
import { openFileKeyRing } from "@fujie/kit/keys";
import { entryLeafHash, root } from "@fujie/transparency";
import { runAudit } from "../../../packages/cli/src/commands/audit.ts";
import { signCheckpoint } from "../src/log/checkpoints.ts";
import { openEventIds } from "../src/log/event-ids.ts";
import type { Finding } from "../src/log/index.ts";
import { verifyLog } from "../src/log/index.ts";
import { readNames } from "../src/log/names.ts";
import { readOpenings } from "../src/log/openings.ts";
import { readCheckpoint, readHead } from "../src/log/store.ts";
import { startThreads } from "../src/log/threads.ts";
import { emptyTree, growTree } from "../src/log/tree.ts";
import { windowsOf } from "../src/log/window.ts";
import { serveTiles } from "../src/tiles/http.ts";
import { tilesOf } from "../src/tiles/read-tiles.ts";
import { readWitnessed } from "../src/witnessing/store.ts";
import {
  makeEvents,
  ORIGIN,
  openLeader,
  openTestLog,
  openWitness,
  silent,
  type TestLog,
  temporaryFolder,
  until,
  usePostgres,
} from "./fixture.ts";

usePostgres();

const SIZE = 600;
const CONTENT = { organisationId: "0198c0de-0000-7000-8000-00000000000b", details: { text: "x" } };
const cleanups: (() => Promise<void> | void)[] = [];
let log: TestLog;
let superuser: Database;
/** Checkpoint and head as they were at an earlier size. */
let earlier: { size: number; note: string; root: string };

before(async () => {
  log = await openTestLog({ after: (fn) => void cleanups.push(fn) });
  await using writer = await openLeader(log);
  await writer.appender.append("auth", makeEvents(590, CONTENT));
  const [checkpoint, head] = [await readCheckpoint(log.db), await readHead(log.db)];
  earlier = { size: 590, note: checkpoint?.note ?? "", root: Buffer.from(head?.root ?? []).toString("hex") };
  await writer.appender.append("auth", makeEvents(SIZE - 590, CONTENT));
  superuser = log.superuser();
});
test.after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

/** Changes the database as only a superuser can, verifies what is then there, and takes the changes back. */
async function findingsAfter(
  changes: readonly string[],
  remembered: readonly string[] = [],
): Promise<readonly Finding[]> {
  let findings: readonly Finding[] = [];
  const undo = new Error("undo");
  const run = transaction(superuser, async (tx) => {
    await tx.query("SET LOCAL session_replication_role = replica");
    for (const change of changes) await tx.query(change);
    const db = { ...superuser, query: tx.query, copyOut: tx.copyOut };
    ({ findings } = await verifyLog({ db, origin: ORIGIN, verifiers: log.verifiers, remembered }));
    throw undo;
  });
  await assert.rejects(run, undo);
  return findings;
}

const kinds = (findings: readonly Finding[]) => [...new Set(findings.map(({ kind }) => kind))].sort();

test("an untouched log has no findings, with a remembered checkpoint too", async () => {
  assert.deepEqual(await findingsAfter([], [earlier.note]), []);
});

const edits: readonly [what: string, changes: readonly string[], expected: readonly Finding[]][] = [
  [
    "an entry's content",
    [
      `UPDATE audit.entry SET (time_ms, event_id, subject, details) =
         (SELECT time_ms, event_id, subject, details FROM audit.entry WHERE index = 8) WHERE index = 10`,
    ],
    [
      { kind: "ENTRY_ALTERED", index: 10 },
      { kind: "EVENT_ID_ALTERED", index: 10 },
    ],
  ],
  [
    "an entry's salt",
    [`UPDATE audit.entry SET salt = '\\x${"00".repeat(32)}' WHERE index = 511`],
    [{ kind: "ENTRY_ALTERED", index: 511 }],
  ],
  [
    "an entry that no full tile holds yet",
    [`UPDATE audit.entry SET salt = '\\x${"00".repeat(32)}' WHERE index = 599`],
    [{ kind: "HEAD_MISMATCH" }, { kind: "CHECKPOINT_MISMATCH" }],
  ],
  ...[
    "time_ms = time_ms + 1",
    "service = type",
    "type = service",
    "type = 1000",
    "outcome = 'R'",
    "actor = 'account-2'",
    "subject = 'account-2'",
    "application_id = 'a'",
    "organisation_id = 'a'",
    "trace_id = decode(repeat('0a', 16), 'hex')",
    "purpose = 'a'",
    "reason = 'a'",
    "digest = sha256(digest)",
    "details = details || '\\x00'",
    "details = NULL, details_key = NULL",
    // The same text, spelt otherwise.
    "organisation_id = convert_to(encode(organisation_id, 'hex')::uuid::text, 'UTF8')",
  ].map((change): [what: string, changes: readonly string[], expected: readonly Finding[]] => [
    `${change.split(" = ")[0]} of a row, by ${change}`,
    [`UPDATE audit.entry SET ${change} WHERE index = 7`],
    [{ kind: "ENTRY_ALTERED", index: 7 }],
  ]),
  [
    "a name that entries have",
    ["UPDATE audit.name SET name = 'registry' WHERE name = 'auth'"],
    Array.from({ length: 100 }, (_, index) => ({ kind: "ENTRY_ALTERED" as const, index })),
  ],
  ["a removed entry", ["DELETE FROM audit.entry WHERE index = 300"], [{ kind: "ENTRY_MISSING", index: 300 }]],
  [
    "two entries in the other order",
    [
      "UPDATE audit.entry SET index = 4000 WHERE index = 3",
      "UPDATE audit.entry SET index = 3 WHERE index = 4",
      "UPDATE audit.entry SET index = 4 WHERE index = 4000",
    ],
    [
      { kind: "ENTRY_ALTERED", index: 3 },
      { kind: "ENTRY_ALTERED", index: 4 },
      { kind: "EVENT_ID_ALTERED", index: 3 },
      { kind: "EVENT_ID_ALTERED", index: 4 },
    ],
  ],
  [
    "an event id that leads elsewhere",
    ["UPDATE audit.event SET index = 1 WHERE index = 2"],
    [{ kind: "EVENT_ID_ALTERED", index: 2 }],
  ],
  [
    "an event id without an entry",
    ["INSERT INTO audit.event VALUES ('0198c0de-0000-7000-8000-00000000000a', 5)"],
    [{ kind: "EVENT_ID_ALTERED" }],
  ],
  ["a removed tile", ["DELETE FROM audit.tile WHERE level = 0 AND index = 1"], [{ kind: "TILE_ALTERED", index: 256 }]],
  [
    "a tile's root",
    [`UPDATE audit.tile SET root = '\\x${"00".repeat(32)}' WHERE level = 0 AND index = 1`],
    [{ kind: "TILE_ALTERED", index: 256 }],
  ],
  ["the head's root", [`UPDATE audit.head SET root = '\\x${"00".repeat(32)}'`], [{ kind: "HEAD_MISMATCH" }]],
  ["a removed checkpoint", ["DELETE FROM audit.checkpoint"], [{ kind: "CHECKPOINT_SIGNATURE_INVALID" }]],
  [
    "a checkpoint with another size",
    ["UPDATE audit.checkpoint SET note = replace(note, E'\\n600\\n', E'\\n599\\n')"],
    [{ kind: "CHECKPOINT_SIGNATURE_INVALID" }],
  ],
  [
    "an entry beyond the head",
    [
      `INSERT INTO audit.entry SELECT 600, time_ms, service, type, event_id, outcome, actor, subject, application_id,
         organisation_id, trace_id, purpose, reason, digest, salt FROM audit.entry WHERE index = 0`,
    ],
    [{ kind: "ENTRY_UNSEALED" }],
  ],
];

for (const [what, changes, expected] of edits) {
  test(`a superuser's change is found: ${what}`, async () => {
    assert.deepEqual(await findingsAfter(changes), expected);
  });
}

test("a changed tile is found as what it is: neither its entries nor the head fit it", async () => {
  const changes = [
    "UPDATE audit.tile SET hashes = set_byte(hashes, 32, get_byte(hashes, 32) # 1) WHERE level = 0 AND index = 0",
  ];
  const findings = await findingsAfter(changes);
  assert.deepEqual(findings[0], { kind: "ENTRY_ALTERED", index: 1 });
  assert.ok(kinds(findings).includes("CHECKPOINT_MISMATCH"));
});

async function leafHashes(): Promise<Uint8Array[]> {
  return (await readOpenings(log.db, 0, SIZE)).map(({ preimage, salt }) => entryLeafHash(preimage, salt));
}

test("a forger who also recomputes the head is found by the signed checkpoint", async () => {
  const leaves = await leafHashes();
  const cut = leaves.slice(0, SIZE - 1);
  const forged = Buffer.from(root(growTree(emptyTree, cut).tree.frontier)).toString("hex");
  const changes = [
    `DELETE FROM audit.entry WHERE index = ${SIZE - 1}`,
    `DELETE FROM audit.event WHERE index = ${SIZE - 1}`,
    `UPDATE audit.head SET size = ${SIZE - 1}, root = '\\x${forged}'`,
    "UPDATE audit.tally SET sealed = sealed - 1",
  ];
  assert.deepEqual(kinds(await findingsAfter(changes)), ["CHECKPOINT_MISMATCH"]);
});

/** What a backup of the earlier state would bring back. */
const olderState = (): string[] => [
  `DELETE FROM audit.entry WHERE index >= ${earlier.size}`,
  `DELETE FROM audit.event WHERE index >= ${earlier.size}`,
  `UPDATE audit.tally SET sealed = ${earlier.size}`,
  `UPDATE audit.head SET size = ${earlier.size}, root = '\\x${earlier.root}'`,
  `UPDATE audit.checkpoint SET size = ${earlier.size}, note = '${earlier.note}'`,
];

test("a whole database set back to an older state is found with a remembered checkpoint, and only with one", async () => {
  const published = (await readCheckpoint(log.db))?.note ?? "";
  assert.deepEqual(await findingsAfter(olderState()), []);
  assert.deepEqual(await findingsAfter(olderState(), [published]), [{ kind: "CHECKPOINT_MISMATCH" }]);
});

test("a changed tally, and a row that a service's outbox lost, are found", async () => {
  assert.deepEqual(await findingsAfter(["UPDATE audit.tally SET sealed = sealed + 1"]), [{ kind: "TALLY_MISMATCH" }]);
  const renamed = ["UPDATE audit.tally SET service = 'registry'"];
  assert.deepEqual(await findingsAfter(renamed), [{ kind: "TALLY_MISMATCH", what: "registry" }]);
  const missing = ["INSERT INTO audit.reconciliation VALUES ('registry', 10, 0, 1, 0)"];
  assert.deepEqual(await findingsAfter(missing), [{ kind: "OUTBOX_ROW_MISSING", what: "registry" }]);
});

test("threads learn of the entries what one thread learns", async () => {
  const known = { names: await readNames(log.db), ranges: [] };
  await using threads = startThreads(log.db, known);
  await using alone = windowsOf(log.db, known);
  const windows = [0, 256, 512].map((begin) => [begin, Math.min(SIZE, begin + 256)] as const);
  const [theirs, ours] = await Promise.all(
    [threads, alone].map(({ check }) => Promise.all(windows.map(([begin, end]) => check(begin, end)))),
  );
  assert.deepEqual(theirs, ours);
  const unnamed = { ...known, names: new Map() };
  await using strangers = startThreads(log.db, unnamed);
  const { findings } = await strangers.check(512, 514);
  assert.deepEqual(
    findings,
    [512, 513].map((index) => ({ kind: "ENTRY_ALTERED", index })),
  );
  await using nowhere = openDatabase({ url: "postgres://nobody@127.0.0.1:1/none", poolMax: 1, service: "audit" });
  await using lost = startThreads(nowhere, known);
  await assert.rejects(lost.check(0, 256), "a database that cannot be reached is no sound log");
});

test("event ids and entries are found to be one to one in whatever order both lie, and only then", async () => {
  const names = await readNames(log.db);
  const undo = new Error("undo");
  const run = transaction(superuser, async (tx) => {
    await tx.query("SET LOCAL session_replication_role = replica");
    // Rows that are changed move to the end of the table.
    await tx.query("UPDATE audit.event SET index = index WHERE index % 3 = 0");
    await tx.query("UPDATE audit.event SET index = index WHERE index % 4 = 1");
    const windows = windowsOf(tx, { names, ranges: [] });
    const check = async (bounds: { blocks: number; windowsMax: number; earlyMax: number }) => {
      const altered: number[] = [];
      const onAltered = (index: number): void => void altered.push(index);
      const eventIds = await openEventIds({ db: tx, size: SIZE, windowEntries: 256, onAltered, ...bounds });
      for (const begin of [0, 256, 512])
        await eventIds.compare(begin, (await windows.check(begin, Math.min(SIZE, begin + 256))).eventIds);
      return { count: await eventIds.finish(), altered: altered.sort((a, b) => a - b) };
    };
    const bounds = [1, 128].flatMap((blocks) =>
      [0, 8].flatMap((windowsMax) => [0, 10, 1_000].map((earlyMax) => ({ blocks, windowsMax, earlyMax }))),
    );
    for (const bound of bounds) assert.deepEqual(await check(bound), { count: SIZE, altered: [] });
    await tx.query("UPDATE audit.event SET index = CASE index WHEN 5 THEN 590 ELSE 5 END WHERE index IN (5, 590)");
    await tx.query("DELETE FROM audit.event WHERE index = 300");
    for (const bound of bounds) assert.deepEqual(await check(bound), { count: SIZE - 1, altered: [5, 300, 590] });
    throw undo;
  });
  await assert.rejects(run, undo);
});

// Through the command, as an auditor does it.

const TABLES = ["entry", "event", "tile", "head", "checkpoint", "tally", "witnessed"];

interface Run {
  readonly code: number;
  readonly lines: string;
}

async function runVerify(args: readonly string[]): Promise<Run> {
  const lines: string[] = [];
  const keys = ["--keys", log.keys.bundleFile, "--root", log.keys.bundleRootFile];
  const code = await runAudit(["verify", ...args, ...keys], (line) => void lines.push(line));
  return { code, lines: lines.join("\n") };
}

/** Changes the database for everybody, runs the command on it, and puts everything back. */
async function verifyAfter(changes: readonly string[], args: readonly string[] = []): Promise<Run> {
  const change = (statements: readonly string[]) =>
    transaction(superuser, async (tx) => {
      await tx.query("SET LOCAL session_replication_role = replica");
      for (const text of statements) await tx.query(text);
    });
  await change([...TABLES.map((name) => `CREATE TABLE saved_${name} AS TABLE audit.${name}`), ...changes]);
  try {
    return await runVerify(["--database", log.database.url, ...args]);
  } finally {
    await change(
      TABLES.flatMap((name) => [
        `DELETE FROM audit.${name}`,
        `INSERT INTO audit.${name} SELECT * FROM saved_${name}`,
        `DROP TABLE saved_${name}`,
      ]),
    );
  }
}

/** Another history with the same sizes, whose tiles, head and signed checkpoint fit it: only memory finds it. */
async function forkedHistory(): Promise<string[]> {
  const leaves = await leafHashes();
  const [opening] = await readOpenings(log.db, 77, 1);
  leaves[77] = entryLeafHash(opening?.preimage ?? Buffer.of(), new Uint8Array(32));
  const { tree, full } = growTree(emptyTree, leaves);
  const forged = root(tree.frontier);
  const ring = openFileKeyRing(log.keys.keysDir("audit"), { service: "audit" });
  const note = await signCheckpoint(ring, { origin: ORIGIN, size: SIZE, root: forged });
  const hex = (bytes: Uint8Array) => `'\\x${Buffer.from(bytes).toString("hex")}'`;
  return [
    `UPDATE audit.entry SET salt = ${hex(new Uint8Array(32))} WHERE index = 77`,
    ...full.map(
      ({ level, index, hashes, root: above }) =>
        `UPDATE audit.tile SET hashes = ${hex(hashes)}, root = ${hex(above)} WHERE level = ${level} AND index = ${index}`,
    ),
    `UPDATE audit.head SET root = ${hex(forged)}`,
    `UPDATE audit.checkpoint SET note = '${note}'`,
  ];
}

test("fujie audit verify finds edit, deletion, reordering, insertion, fork and an old backup, made by a superuser", async (t) => {
  const folder = temporaryFolder(t);
  const state = join(folder, "state");
  const remembering = ["--state", state];
  const first = await verifyAfter([], remembering);
  assert.equal(first.code, 0, first.lines);
  assert.match(first.lines, /^UNWITNESSED/m);
  assert.match(first.lines, /^PROVEN: 600 entries of log\.test\.example\/1/m);

  const changesOf = (what: string) => edits.find(([name]) => name === what)?.[1] ?? [];
  const cases: [changes: readonly string[], found: RegExp][] = [
    [changesOf("an entry's content"), /^FOUND: ENTRY_ALTERED \(entry 10\)/m],
    [changesOf("a removed entry"), /^FOUND: ENTRY_MISSING \(entry 300\)/m],
    [changesOf("two entries in the other order"), /^FOUND: ENTRY_ALTERED \(entry 3\)/m],
    [changesOf("an entry beyond the head"), /^FOUND: ENTRY_UNSEALED/m],
    [await forkedHistory(), /^FOUND: FORKED \(remembered: at 600 entries\)/m],
    [olderState(), /^FOUND: ROLLED_BACK \(remembered: 600 entries, now 590\)/m],
  ];
  for (const [changes, found] of cases) {
    const run = await verifyAfter(changes, remembering);
    assert.equal(run.code, 1, run.lines);
    assert.match(run.lines, found);
    assert.match(run.lines, /^NOT PROVEN/m);
  }
  assert.equal((await verifyAfter([], remembering)).code, 0, "what was found was never remembered");
});

test("SZ-20.3 what a witness saw finds a fork and an old backup for somebody who verifies for the first time", async (t) => {
  await using witness = await openWitness(t, log);
  await using witnessing = witness.follow();
  await until(async () => (await readWitnessed(log.db))?.size === SIZE, "the witness cosigned");
  assert.ok(witnessing.lagMs("witness.test/1") < 10_000);
  const witnessed = ["--witness", witness.key, "--witness-url", witness.url];
  const sound = await verifyAfter([], witnessed);
  assert.equal(sound.code, 0, sound.lines);
  assert.match(sound.lines, /^WITNESSED: 600 entries by witness\.test\/1/m);
  // Whoever puts an old state back takes the served cosignature away as well; the witness itself still knows.
  const older = await verifyAfter([...olderState(), "DELETE FROM audit.witnessed"], witnessed);
  assert.equal(older.code, 1);
  assert.match(older.lines, /^FOUND: ROLLED_BACK \(witnessed, from http/m);
  const fork = await verifyAfter(await forkedHistory(), witnessed);
  assert.match(fork.lines, /^FOUND: FORKED \(witnessed/m);
  const stranger = await verifyAfter([], ["--witness", witness.strangersKey]);
  assert.equal(stranger.code, 1);
  assert.match(stranger.lines, /^FOUND: WITNESS_MISSING/m);
});

test("from its tiles alone, without an account, the log is verified over HTTP, and a changed tile is found", async (t) => {
  const server = createServer(serveTiles({ db: log.db, tiles: tilesOf(log.db), log: silent }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/log`;
  const sound = await runVerify(["--log", url]);
  assert.equal(sound.code, 0, sound.lines);
  const altered = "UPDATE audit.tile SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) WHERE index = 1";
  const change = () =>
    transaction(superuser, async (tx) => {
      await tx.query("SET LOCAL session_replication_role = replica");
      await tx.query(altered);
    });
  await change();
  const found = await runVerify(["--log", url]).finally(change);
  assert.equal(found.code, 1);
  assert.match(found.lines, /^FOUND: ENTRY_ALTERED \(entry 257\)/m);
  assert.match(found.lines, /^FOUND: CHECKPOINT_MISMATCH/m);
});
