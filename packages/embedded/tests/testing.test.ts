import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { testDatabase, testRedis } from "../src/testing.ts";

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

test("test databases are fresh, apart from each other, and gone after disposal", async () => {
  await using first = await testDatabase();
  let secondUrl = "";
  {
    await using second = await testDatabase();
    secondUrl = second.url;
    await query(first.ownerUrl, "CREATE TABLE only_here AS SELECT 1 AS one");
    assert.deepEqual(await query(first.runtimeUrl, "SELECT one FROM only_here"), [{ one: 1 }]);
    await assert.rejects(query(first.runtimeUrl, "DROP TABLE only_here"), { code: "42501" });
    await assert.rejects(query(second.url, "SELECT one FROM only_here"), { code: "42P01" });
    assert.deepEqual(await query(second.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), [
      { rolsuper: true },
    ]);
  }
  await assert.rejects(query(secondUrl, "SELECT 1"));
});

test("without a given server a private one is started and removed with its folder", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fujie-testing-"));
  chmodSync(folder, 0o711);
  const { FUJIE_TEST_POSTGRES_URL: given, TMPDIR: usual } = process.env;
  t.after(() => {
    restore("FUJIE_TEST_POSTGRES_URL", given);
    restore("TMPDIR", usual);
    rmSync(folder, { recursive: true, force: true });
  });
  delete process.env["FUJIE_TEST_POSTGRES_URL"];
  process.env["TMPDIR"] = folder;

  const database = await testDatabase();
  assert.equal(readdirSync(folder).length, 1);
  assert.deepEqual(await query(database.url, "SHOW fsync"), [{ fsync: "off" }]);
  await database[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(folder), []);
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

test("a missing redis-server is reported by the name of its package", async () => {
  const path = process.env["PATH"];
  process.env["PATH"] = "/nowhere";
  try {
    await assert.rejects(testRedis(), { reason: "PACKAGE_MISSING", message: /Debian package redis-server/ });
  } finally {
    process.env["PATH"] = path;
  }
});
