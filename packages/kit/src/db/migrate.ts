import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import type { Logger } from "../log/index.ts";
import { systemTimers, type Timers } from "../timers/index.ts";
import { type Queryable, statement } from "./database.ts";

export type MigrationReason =
  /** A file is not named NNNN-words.sql, or the numbers are not 1, 2, 3, … */
  | "FILES_INVALID"
  /** A file differs from what was applied. */
  | "FILE_CHANGED"
  /** A migration that was applied has no file: this release is older than the database. */
  | "FILE_MISSING"
  /** Another process migrates and does not end. */
  | "LOCK_TIMEOUT"
  /** PostgreSQL refused a statement; the cause says why. Nothing of that file was kept, unless it runs without transaction. */
  | "STATEMENT_FAILED";

export class MigrationError extends Error {
  override readonly name = "MigrationError";
  readonly reason: MigrationReason;

  constructor(reason: MigrationReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

export interface MigrateOptions {
  /** Of the role that owns the schema, directly to PostgreSQL: a transaction pooler would break the lock. */
  readonly url: string;
  /** The service's own migrations. */
  readonly dir: string;
  /** The role that the service runs as. Files name it as :"runtime_role" where they grant it something. */
  readonly runtimeRole: string;
  /** False for a database that holds only what its own files say: no outbox, no feeds, no requests. */
  readonly withKit?: boolean;
  readonly log: Pick<Logger, "info">;
  readonly timers?: Timers;
  /** How long to wait for another process that migrates. */
  readonly lockTimeoutMs?: number;
}

interface Migration {
  readonly number: number;
  readonly file: string;
  readonly sql: string;
  readonly checksum: string;
  readonly inTransaction: boolean;
}

const kitDir = join(import.meta.dirname, "../../migrations");

/** One lock per database, whatever its name: the number spells "fujie". */
const LOCK = "439821952357";

/**
 * Brings the database up to date: first the kit's migrations, then the service's. Files are `NNNN-words.sql`, numbered
 * without gaps, forward only. Their SHA-256 are kept, and a changed or missing file is refused before anything runs.
 * Each file is one transaction, except when its first line says `-- no transaction`: such a file holds one statement
 * (CREATE INDEX CONCURRENTLY) that may be repeated, because it can end between its work and the note that it was done.
 * Any number of processes may migrate at once: one works, the others wait and find it done.
 * @throws MigrationError
 */
export async function migrate(options: MigrateOptions): Promise<void> {
  const { withKit = true } = options;
  const sets = [
    { set: "kit", migrations: withKit ? await readMigrations(kitDir) : [] },
    { set: "service", migrations: await readMigrations(options.dir) },
  ];
  const client = new pg.Client({
    connectionString: options.url,
    application_name: "migrate",
    // Long rewrites are allowed, but waiting for a lock would make all traffic queue up behind.
    lock_timeout: 10_000,
    connectionTimeoutMillis: 10_000,
  });
  client.on("error", () => {});
  await client.connect();
  try {
    await takeLock(client, options);
    await client.query(`CREATE SCHEMA IF NOT EXISTS kit`);
    await client.query(`CREATE TABLE IF NOT EXISTS kit.migration (
      set text NOT NULL, number integer NOT NULL, file text NOT NULL, checksum text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (set, number))`);
    const pending = [];
    for (const { set, migrations } of sets)
      pending.push({ set, migrations: await findPending(client, set, migrations) });
    for (const { set, migrations } of pending) {
      for (const migration of migrations) {
        await apply(client, set, migration, options.runtimeRole);
        options.log.info({ set, file: migration.file }, "migration applied");
      }
    }
    if (withKit) await adoptRestoredRows(client);
  } finally {
    // Ends the session, and with it the lock.
    await client.end();
  }
}

/** The role of a database URL. */
export function roleOf(databaseUrl: string): string {
  return decodeURIComponent(new URL(databaseUrl).username);
}

/** The number of the newest migration in a folder: what schemaReadiness asks for. */
export async function newestMigration(dir: string): Promise<number> {
  return (await readMigrations(dir)).length;
}

const readVersion = statement(
  "kit.migration.version",
  `SELECT coalesce(max(number), 0) AS version FROM kit.migration WHERE set = 'service'`,
);

/** The newest of the service's migrations that was applied; 0 for an empty database. */
export async function schemaVersion(db: Queryable): Promise<number> {
  try {
    return (await db.query<{ version: number }>(readVersion())).rows[0]?.version ?? 0;
  } catch (error) {
    // The table or schema is not there yet, or not ours to read.
    if (error instanceof pg.DatabaseError && ["42P01", "3F000", "42501"].includes(error.code ?? "")) return 0;
    throw error;
  }
}

/** A readiness check: the database answers, and its schema is at least the given version. */
export function schemaReadiness(db: Queryable, atLeast: number): { name: string; isReady(): Promise<boolean> } {
  return { name: "schema", isReady: async () => (await schemaVersion(db)) >= atLeast };
}

async function readMigrations(dir: string): Promise<Migration[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith(".sql")).sort();
  return Promise.all(files.map((file, index) => readMigration(dir, file, index + 1)));
}

async function readMigration(dir: string, file: string, number: number): Promise<Migration> {
  const found = /^(\d{4})-[a-z0-9-]+\.sql$/.exec(file)?.[1];
  if (Number(found) !== number) {
    const expected = String(number).padStart(4, "0");
    throw new MigrationError("FILES_INVALID", `${file}: expected a file named ${expected}-words.sql`);
  }
  // A checkout with other line ends is the same migration.
  const sql = (await readFile(join(dir, file), "utf8")).replaceAll("\r\n", "\n");
  const checksum = createHash("sha256").update(sql).digest("hex");
  return { number, file, sql, checksum, inTransaction: !sql.startsWith("-- no transaction") };
}

/**
 * Polls instead of waiting in PostgreSQL: a waiting statement keeps a snapshot open, and CREATE INDEX CONCURRENTLY of
 * the process that has the lock would wait for it for ever.
 */
async function takeLock(client: pg.Client, { timers = systemTimers, lockTimeoutMs = 120_000 }: MigrateOptions) {
  const stepMs = 100;
  for (let waitedMs = 0; ; waitedMs += stepMs) {
    const { rows } = await client.query<{ taken: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}) AS taken`);
    if (rows[0]?.taken === true) return;
    if (waitedMs >= lockTimeoutMs) throw new MigrationError("LOCK_TIMEOUT", "another process is migrating");
    await timers.sleep(stepMs);
  }
}

async function findPending(client: pg.Client, set: string, migrations: Migration[]): Promise<Migration[]> {
  const { rows } = await client.query<{ number: number; file: string; checksum: string }>(
    `SELECT number, file, checksum FROM kit.migration WHERE set = $1 ORDER BY number`,
    [set],
  );
  for (const row of rows) {
    const migration = migrations[row.number - 1];
    if (migration === undefined) {
      throw new MigrationError("FILE_MISSING", `${row.file} was applied to this database, but there is no such file`);
    }
    if (migration.checksum !== row.checksum) {
      throw new MigrationError("FILE_CHANGED", `${migration.file} was changed after it was applied: add a new one`);
    }
  }
  return migrations.slice(rows.length);
}

async function apply(client: pg.Client, set: string, migration: Migration, runtimeRole: string): Promise<void> {
  const sql = migration.sql.replaceAll(':"runtime_role"', pg.escapeIdentifier(runtimeRole));
  const note = {
    text: `INSERT INTO kit.migration (set, number, file, checksum) VALUES ($1, $2, $3, $4)`,
    values: [set, migration.number, migration.file, migration.checksum],
  };
  try {
    if (migration.inTransaction) await client.query("BEGIN");
    await client.query(sql);
    await client.query(note);
    if (migration.inTransaction) await client.query("COMMIT");
  } catch (error) {
    // What was begun ends with the session.
    throw new MigrationError("STATEMENT_FAILED", `${migration.file} was refused`, error);
  }
}

/**
 * A dump restored into another cluster brings rows numbered by the old cluster's transactions, which the new one has
 * not reached: they would stay invisible for long. They go before everything else, in the order they were written.
 */
async function adoptRestoredRows(client: pg.Client): Promise<void> {
  for (const table of ["outbox", "feed_event", "feed_horizon"]) {
    await client.query(`UPDATE kit.${table} SET tx = '1' WHERE tx > pg_current_xact_id()`);
  }
}
