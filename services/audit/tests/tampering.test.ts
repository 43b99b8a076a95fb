import assert from "node:assert/strict";
import { before, test } from "node:test";
import { type Database, transaction } from "@fujie/kit/db";
import { root } from "@fujie/transparency";
import type { Finding } from "../src/log/index.ts";
import { verifyLog } from "../src/log/index.ts";
import { readCheckpoint, readHead } from "../src/log/store.ts";
import { emptyTree, growTree } from "../src/log/tree.ts";
import { readLeafHash } from "../src/proofs/published-log.ts";
import { tilesOf } from "../src/tiles/read-tiles.ts";
import { makeEvents, ORIGIN, openLeader, openTestLog, type TestLog, usePostgres } from "./fixture.ts";

usePostgres();

const SIZE = 600;
const cleanups: (() => Promise<void> | void)[] = [];
let log: TestLog;
let superuser: Database;
/** Checkpoint and head as they were at an earlier size. */
let earlier: { size: number; note: string; root: string };

before(async () => {
  log = await openTestLog({ after: (fn) => void cleanups.push(fn) });
  await using writer = await openLeader(log);
  await writer.appender.append("auth", makeEvents(590, { details: { text: "x" } }));
  const [checkpoint, head] = [await readCheckpoint(log.db), await readHead(log.db)];
  earlier = { size: 590, note: checkpoint?.note ?? "", root: Buffer.from(head?.root ?? []).toString("hex") };
  await writer.appender.append("auth", makeEvents(SIZE - 590, { details: { text: "x" } }));
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
    const db = { ...superuser, query: tx.query };
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
    "an entry's preimage",
    ["UPDATE audit.entry SET preimage = (SELECT preimage FROM audit.entry WHERE index = 8) WHERE index = 10"],
    [
      { kind: "ENTRY_ALTERED", index: 10 },
      { kind: "EVENT_ID_ALTERED", index: 10 },
      { kind: "COLUMNS_ALTERED", index: 10 },
      { kind: "DETAILS_ALTERED", index: 10 },
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
  [
    "a search column",
    ["UPDATE audit.entry SET subject = 'account-2' WHERE index = 7"],
    [{ kind: "COLUMNS_ALTERED", index: 7 }],
  ],
  [
    "an entry's time",
    ["UPDATE audit.entry SET time_ms = time_ms + 1 WHERE index = 7"],
    [{ kind: "COLUMNS_ALTERED", index: 7 }],
  ],
  [
    "sealed details",
    ["UPDATE audit.entry SET details = details || '\\x00' WHERE index = 7"],
    [{ kind: "DETAILS_ALTERED", index: 7 }],
  ],
  [
    "removed details",
    ["UPDATE audit.entry SET details = NULL, details_key = NULL WHERE index = 7"],
    [{ kind: "DETAILS_ALTERED", index: 7 }],
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
      { kind: "EVENT_ID_ALTERED", index: 3 },
      { kind: "ENTRY_ALTERED", index: 4 },
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
      "INSERT INTO audit.entry SELECT 600, time_ms, type, trace_id, subject, actor, application_id, salt, preimage FROM audit.entry WHERE index = 0",
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

test("a forger who also recomputes the head is found by the signed checkpoint", async () => {
  const tiles = tilesOf(log.db);
  const leaves = await Promise.all(Array.from({ length: SIZE }, (_, index) => readLeafHash(tiles, index, SIZE)));
  const cut = leaves.slice(0, SIZE - 1);
  const forged = Buffer.from(root(growTree(emptyTree, cut).tree.frontier)).toString("hex");
  const changes = [
    `DELETE FROM audit.entry WHERE index = ${SIZE - 1}`,
    `DELETE FROM audit.event WHERE index = ${SIZE - 1}`,
    `UPDATE audit.head SET size = ${SIZE - 1}, root = '\\x${forged}'`,
  ];
  assert.deepEqual(kinds(await findingsAfter(changes)), ["CHECKPOINT_MISMATCH"]);
});

test("a whole database set back to an older state is found with a remembered checkpoint, and only with one", async () => {
  const published = (await readCheckpoint(log.db))?.note ?? "";
  const changes = [
    `DELETE FROM audit.entry WHERE index >= ${earlier.size}`,
    `DELETE FROM audit.event WHERE index >= ${earlier.size}`,
    `UPDATE audit.head SET size = ${earlier.size}, root = '\\x${earlier.root}'`,
    `UPDATE audit.checkpoint SET size = ${earlier.size}, note = '${earlier.note}'`,
  ];
  assert.deepEqual(await findingsAfter(changes), []);
  assert.deepEqual(await findingsAfter(changes, [published]), [{ kind: "CHECKPOINT_MISMATCH" }]);
});
