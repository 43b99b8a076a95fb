import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { testDatabase } from "@fujie/embedded/testing";
import { migrationFolder, openKitDatabase, openTestDatabase, silentLog } from "../../tests/kit-database.ts";
import { MigrationError, migrate, newestMigration, roleOf, schemaReadiness, schemaVersion } from "./index.ts";

const thing = `CREATE TABLE thing (id integer PRIMARY KEY, word text NOT NULL DEFAULT 'one');
GRANT SELECT, INSERT ON thing TO :"runtime_role";`;

function refusal(reason: string) {
  return (error: unknown) => error instanceof MigrationError && error.reason === reason;
}

test("migrations racing from several connections and processes apply once", async (t) => {
  const { ownerUrl, runtimeUrl } = await testDatabase(t);
  const dir = await migrationFolder(t, {
    "0001-thing.sql": thing,
    "0002-slow.sql": `SELECT pg_sleep(0.2); INSERT INTO thing (id) SELECT coalesce(max(id), 0) + 1 FROM thing;`,
  });
  const options = { url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog };
  const program = join(import.meta.dirname, "../../tests/migrate-process.ts");
  const runProcess = () => promisify(execFile)(process.execPath, [program, ownerUrl, dir, options.runtimeRole]);
  await Promise.all([runProcess(), runProcess(), migrate(options), migrate(options), migrate(options)]);

  const db = openTestDatabase(t, ownerUrl);
  const { rows } = await db.query<{ id: number }>("SELECT id FROM thing");
  assert.deepEqual(rows, [{ id: 1 }]);
  const notes = await db.query<{ count: number }>("SELECT count(*)::int FROM kit.migration WHERE set = 'service'");
  assert.equal(notes.rows[0]?.count, 2);
});

test("a changed, missing or misnamed migration is refused before anything runs", async (t) => {
  const { ownerUrl, runtimeUrl } = await testDatabase(t);
  const dir = await migrationFolder(t, { "0001-thing.sql": thing });
  const options = { url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog };
  await migrate(options);

  await writeFile(join(dir, "0001-thing.sql"), thing.replaceAll("\n", "\r\n"));
  await migrate(options);

  await writeFile(join(dir, "0001-thing.sql"), `${thing} `);
  await writeFile(join(dir, "0002-more.sql"), "CREATE TABLE more ()");
  await assert.rejects(migrate(options), refusal("FILE_CHANGED"));
  const db = openTestDatabase(t, ownerUrl);
  assert.deepEqual((await db.query("SELECT to_regclass('more') AS more")).rows, [{ more: null }]);

  await writeFile(join(dir, "0001-thing.sql"), thing);
  await rm(join(dir, "0002-more.sql"));
  await writeFile(join(dir, "0003-gap.sql"), "SELECT 1");
  await assert.rejects(migrate(options), refusal("FILES_INVALID"));
  await rm(join(dir, "0003-gap.sql"));
  await rm(join(dir, "0001-thing.sql"));
  await assert.rejects(migrate(options), refusal("FILE_MISSING"));
});

test("a migration that fails leaves nothing behind, and one without transaction may be repeated", async (t) => {
  const { ownerUrl, runtimeUrl } = await testDatabase(t);
  const dir = await migrationFolder(t, {
    "0001-thing.sql": thing,
    "0002-broken.sql": "CREATE TABLE half (); SELECT 1/0;",
  });
  const options = { url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog };
  await assert.rejects(migrate(options), refusal("STATEMENT_FAILED"));
  const db = openTestDatabase(t, ownerUrl);
  assert.deepEqual((await db.query("SELECT to_regclass('half') AS half")).rows, [{ half: null }]);
  assert.equal(await schemaVersion(db), 1);

  await writeFile(
    join(dir, "0002-broken.sql"),
    "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS thing_word ON thing (word)",
  );
  await Promise.all([migrate(options), migrate(options)]);
  assert.equal(await schemaVersion(db), 2);
});

test("a database without the kit's tables has those of its own files alone", async (t) => {
  const { ownerUrl, runtimeUrl } = await testDatabase(t);
  const dir = await migrationFolder(t, { "0001-thing.sql": thing });
  const options = { url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), withKit: false, log: silentLog };
  await migrate(options);
  await migrate(options);
  const db = openTestDatabase(t, ownerUrl);
  const tables = `SELECT relname AS name FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN ('kit'::regnamespace, 'public'::regnamespace) ORDER BY 1`;
  const { rows } = await db.query<{ name: string }>(tables);
  assert.deepEqual(rows, [{ name: "migration" }, { name: "thing" }]);
  assert.equal(await schemaVersion(db), 1);
});

test("the service is ready once its schema is there", async (t) => {
  const { ownerUrl, runtimeUrl } = await testDatabase(t);
  const dir = await migrationFolder(t, { "0001-thing.sql": thing });
  const db = openTestDatabase(t, runtimeUrl);
  const readiness = schemaReadiness(db, await newestMigration(dir));
  assert.equal(await readiness.isReady(), false);
  await migrate({ url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog });
  assert.equal(await readiness.isReady(), true);
  assert.equal(await schemaReadiness(db, 2).isReady(), false);
});

test("the runtime role works on rows and can neither create, change nor drop anything", async (t) => {
  const { db } = await openKitDatabase(t, { "0001-thing.sql": thing });
  await db.query("INSERT INTO thing (id) VALUES (7)");
  await db.query("INSERT INTO kit.feed_event (topic, type_url, value) VALUES ('a.b', 'x', '')");
  await db.query("INSERT INTO kit.outbox (destination, id, payload) VALUES ('audit', gen_random_uuid(), '')");
  const denied = [
    "CREATE TABLE mine ()",
    "CREATE TABLE kit.mine ()",
    "CREATE SCHEMA mine",
    "CREATE TEMPORARY TABLE mine ()",
    "ALTER TABLE thing ADD COLUMN mine text",
    "ALTER TABLE kit.outbox DISABLE TRIGGER ALL",
    "DROP TABLE kit.outbox",
    "TRUNCATE kit.feed_event",
    "UPDATE kit.feed_event SET value = 'forged'",
    "UPDATE kit.migration SET checksum = ''",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
  ];
  for (const text of denied) {
    await assert.rejects(db.query(text), { code: "42501" }, text);
  }
});

test("rows restored from another cluster are given a place before all new ones", async (t) => {
  const { db, ownerUrl, runtimeUrl } = await openKitDatabase(t);
  await db.query("INSERT INTO kit.feed_event (topic, type_url, value) VALUES ('a.b', 'new', '')");
  const insertOld = (url: string) =>
    `INSERT INTO kit.feed_event (topic, tx, type_url, value) VALUES ('a.b', '999999999999', '${url}', '')`;
  await db.query(insertOld("old 1"));
  await db.query(insertOld("old 2"));
  const dir = await migrationFolder(t, {});
  await migrate({ url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog });
  const { rows } = await db.query<{ url: string }>("SELECT type_url AS url FROM kit.feed_event ORDER BY tx, seq");
  assert.deepEqual(
    rows.map(({ url }) => url),
    ["old 1", "old 2", "new"],
  );
});
