import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testDatabase } from "@fujie/embedded/testing";
import { type Database, migrate, openDatabase, roleOf } from "../src/db/index.ts";

export const silentLog = { info: () => {}, warn: () => {}, error: () => {} };

interface Cleanup {
  after(fn: () => Promise<void>): void;
}

export interface KitDatabase {
  /** As the service's role. */
  readonly db: Database;
  readonly ownerUrl: string;
  readonly runtimeUrl: string;
}

/** A fresh database with the kit's tables, and the tables of `service` if given; `alone` on its server. */
export async function openKitDatabase(
  t: Cleanup,
  service: Record<string, string> = {},
  options: { readonly alone?: boolean } = {},
): Promise<KitDatabase> {
  const { ownerUrl, runtimeUrl } = await testDatabase(t, options);
  const dir = await migrationFolder(t, service);
  await migrate({ url: ownerUrl, dir, runtimeRole: roleOf(runtimeUrl), log: silentLog });
  const db = openTestDatabase(t, runtimeUrl);
  return { db, ownerUrl, runtimeUrl };
}

export function openTestDatabase(t: Cleanup, url: string): Database {
  const db = openDatabase({ url, poolMax: 8, service: "test" });
  t.after(async () => db[Symbol.asyncDispose]());
  return db;
}

export async function migrationFolder(t: Cleanup, files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "fujie-migrations-"));
  t.after(() => rm(dir, { recursive: true }));
  for (const [name, sql] of Object.entries(files)) await writeFile(join(dir, name), sql);
  return dir;
}

/** Waits until something that happens elsewhere has happened; fails after ten seconds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
