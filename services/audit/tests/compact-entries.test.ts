import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { testDatabase } from "@fujie/embedded/testing";
import { systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, transaction } from "@fujie/kit/db";
import { decodeEntry } from "@fujie/transparency";
import { findStoredEntry } from "../src/events/store.ts";
import type { StoredEntry } from "../src/log/entry.ts";
import { DROPPED_TYPE, digestOfEnded } from "../src/retention/ended.ts";
import { findEntries, noConditions } from "../src/search/search.ts";
import { migrationsDir } from "../src/server.ts";
import { openSubjectKeys } from "../src/subjects/subject-keys.ts";
import {
  type Cleanup,
  makeEvent,
  makeEvents,
  openLeader,
  openTestLog,
  silent,
  type TestLog,
  temporaryFolder,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";

usePostgres();

const WIDTH = 256;
const ORGANISATION = "0198c0de-0000-7000-8000-00000000000b";

/** Entries of every kind: with and without details, with texts of every compact form, one subject erased. */
async function sealEntries(log: TestLog): Promise<StoredEntry[]> {
  await using writer = await openLeader(log);
  const { appender } = writer;
  await appender.append("auth", makeEvents(WIDTH, { details: { text: "ended" } }));
  await appender.append("auth", makeEvents(250, { actor: ORGANISATION, details: { text: "x" } }));
  await appender.append("registry", makeEvents(20, { actor: "sixteen letters!", subject: "身份", traceId: "" }));
  await appender.append("auth", [
    makeEvent({ subject: "account-erased", details: { name: "somebody" } }),
    makeEvent({ organisationId: ORGANISATION.toUpperCase(), purpose: "check", reason: "0123456789abcdef0" }),
    makeEvent({ actor: "", subject: "", applicationId: "", digest: new Uint8Array(32).fill(7) }),
  ]);
  const digest = digestOfEnded([{ begin: 0, end: WIDTH }]);
  await appender.append("audit", [makeEvent({ type: DROPPED_TYPE, digest })]);
  await openSubjectKeys({ ...log, clock: systemClock }).erase("account-erased");
  const size = WIDTH + 274;
  const stored = Array.from({ length: size - WIDTH }, (_, at) => findStoredEntry(log.db, WIDTH + at));
  return (await Promise.all(stored)).flatMap((entry) => entry ?? []);
}

const hex = (bytes: Uint8Array): string => `\\x${Buffer.from(bytes).toString("hex")}`;

/** An entry's row before the migration. */
function wideRow({ index, preimage, salt, details }: StoredEntry) {
  const { timeMs, type, traceId, subject, actor, applicationId } = decodeEntry(preimage);
  return {
    index,
    time_ms: timeMs,
    type,
    trace_id: traceId || null,
    subject: subject || null,
    actor: actor || null,
    application_id: applicationId || null,
    salt: hex(salt),
    preimage: hex(preimage),
    details: details === undefined ? null : hex(details.sealed),
    details_key: details?.keyId ?? null,
  };
}

interface Old {
  readonly log: TestLog;
  readonly superuser: Database;
  change(...statements: readonly string[]): Promise<void>;
  migrateWith(dir: string): Promise<void>;
}

/** The same log in a database of the third migration, its first partition ended. */
async function openOldDatabase(t: Cleanup, log: TestLog, entries: readonly StoredEntry[]): Promise<Old> {
  const database = await testDatabase();
  const [db, superuser] = [database.runtimeUrl, database.url].map((url) =>
    openDatabase({ url, poolMax: 8, service: "audit" }),
  );
  assert.ok(db && superuser);
  t.after(async () => {
    for (const each of [db, superuser, database]) await each[Symbol.asyncDispose]();
  });
  const runtimeRole = roleOf(database.runtimeUrl);
  const migrateWith = (dir: string) => migrate({ url: database.ownerUrl, dir, runtimeRole, log: silent });
  const folder = temporaryFolder(t);
  for (const file of ["0001-log.sql", "0002-retention.sql", "0003-incidents.sql"])
    cpSync(join(migrationsDir, file), join(folder, file));
  await migrateWith(folder);
  await superuser.query(`SELECT audit.ensure_entry_partitions(${4 * WIDTH}, ${WIDTH})`);
  const tables = ["event", "tile", "head", "checkpoint", "tally"];
  await transaction(superuser, async (tx) => {
    await tx.query("SET LOCAL session_replication_role = replica");
    const insert = (table: string, rows: unknown) =>
      tx.query({
        text: `INSERT INTO audit.${table} SELECT * FROM json_populate_recordset(NULL::audit.${table}, $1)`,
        values: [JSON.stringify(rows)],
      });
    for (const table of tables) {
      const { rows } = await log.superuser().query<{ all: unknown }>(`SELECT json_agg(t) AS all FROM audit.${table} t`);
      await insert(table, rows[0]?.all);
    }
    await insert("entry", entries.map(wideRow));
    await tx.query("DROP TABLE audit.entry_0000000000000000");
    await tx.query(
      "UPDATE audit.entry_range SET dropped_at_ms = 1, oldest_ms = 0, newest_ms = 0 WHERE begin_index = 0",
    );
  });
  const change = (...statements: readonly string[]) =>
    transaction(superuser, async (tx) => {
      await tx.query("SET LOCAL session_replication_role = replica");
      for (const each of statements) await tx.query(each);
    });
  return { log: { ...log, db, superuser: () => superuser }, superuser, change, migrateWith };
}

test("entries of the earlier layout move over as they were sealed, or nothing is changed", async (t) => {
  const sealed = await openTestLog(t);
  const entries = await sealEntries(sealed);
  const size = WIDTH + entries.length;
  const { log, superuser, change, migrateWith } = await openOldDatabase(t, sealed, entries);

  const edits = [
    "preimage = set_byte(preimage, 12, 65)",
    "details = details || '\\x00'",
    "preimage = preimage || '\\x00'",
  ];
  for (const edit of edits) {
    await change("CREATE TABLE saved AS TABLE audit.entry", `UPDATE audit.entry SET ${edit} WHERE index = 300`);
    await assert.rejects(migrateWith(migrationsDir), { reason: "STATEMENT_FAILED" }, edit);
    await change("DELETE FROM audit.entry", "INSERT INTO audit.entry SELECT * FROM saved", "DROP TABLE saved");
  }

  await migrateWith(migrationsDir);
  assert.deepEqual(await verifyTestLog(log), { size, checkpoints: 1, findings: [] });
  for (const entry of entries) assert.deepEqual(await findStoredEntry(log.db, entry.index), entry);
  const { rows } = await superuser.query<{ owner: string; login: boolean }>(
    `SELECT DISTINCT rolname AS owner, rolcanlogin AS login FROM pg_class JOIN pg_roles r ON r.oid = relowner
     WHERE relnamespace = 'audit'::regnamespace AND (relname ~ '^entry(_\\d|$)' OR relname = 'name')`,
  );
  assert.deepEqual(
    rows.map(({ login }) => login),
    [false],
    "all of it is the keeper's",
  );

  // The log goes on in its partitions, then in new ones, and a month begins.
  await using writer = await openLeader(log, { partitionEntries: 4_096 });
  const [first] = await writer.appender.append("auth", makeEvents(600, { subject: "account-new" }));
  assert.equal(first, size);
  assert.deepEqual(await verifyTestLog(log), { size: size + 600, checkpoints: 1, findings: [] });
  for (const statement of ["UPDATE audit.entry SET reason = ''", "DELETE FROM audit.entry", "DELETE FROM audit.name"])
    await assert.rejects(superuser.query(statement), /audit log/, statement);
  await assert.rejects(superuser.query("TRUNCATE audit.entry_0000000000000256"), /audit log/);
  const monthMs = Date.now() + 86_400_000;
  const { rows: ended } = await log.db.query<{ ended: boolean }>(`SELECT audit.begin_month(${monthMs}) AS ended`);
  assert.deepEqual(ended, [{ ended: true }]);
  const found = await findEntries(
    log.db,
    { ...noConditions, key: "subject", value: "身份", typePrefix: "reg" },
    size,
    50,
  );
  assert.equal(found.entries.length, 20);
  assert.equal(found.entries[0]?.entry.actor, "sixteen letters!");
});
