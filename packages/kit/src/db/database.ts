import pg from "pg";
import { DomainError } from "../errors/index.ts";
import type { Telemetry } from "../telemetry/index.ts";
import { backoffMs, systemTimers, type Timers } from "../timers/index.ts";
import { copyOut } from "./copy.ts";
import { isAftermath, isContention, sqlStateOf, translateError } from "./database-error.ts";
import { compactValue } from "./list-text.ts";

/**
 * One SQL statement. A name makes each connection prepare it once; the same name must always carry the same text.
 * Values are parameters: nothing is ever spliced into the text.
 */
export interface Statement {
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/**
 * Names a statement once, to be given its values at each use: `const findById = statement("accounts.find", "SELECT …")`,
 * then `db.query<Row>(findById(id))`. Names are at most 63 bytes, PostgreSQL's limit.
 */
export function statement(name: string, text: string): (...values: readonly unknown[]) => Statement {
  if (Buffer.byteLength(name) > 63) throw new RangeError(`statement name longer than 63 bytes: ${name}`);
  return (...values) => ({ name, text, values });
}

/** Rows as pg gives them: bigint and numeric columns are strings (cast to float8 for numbers below 2^53). */
export interface QueryResult<Row> {
  readonly rows: Row[];
  /** Rows returned or changed. */
  readonly rowCount: number;
}

/** A database or a transaction: what a store function takes first. */
export interface Queryable {
  /**
   * Runs one statement.
   * @throws DomainError DEPENDENCY_UNAVAILABLE when the database cannot be reached, is failing over, or takes longer
   * than the statement timeout. Anything else that PostgreSQL refuses is thrown as it is (see isUniqueViolation).
   */
  query<Row extends pg.QueryResultRow>(statement: Statement | string): Promise<QueryResult<Row>>;
}

export interface Copyable {
  /**
   * The rows of a statement in the form of COPY's binary files, for reading very many of them. Its values are integers.
   * @throws DomainError as `query`; RangeError for a value that is none
   */
  copyOut(statement: Statement): Promise<Buffer<ArrayBuffer>>;
}

/** One checked-out connection. Give it back exactly once; with an error it is closed rather than reused. */
export interface Connection extends Queryable, Copyable {
  /** Runs COMMIT, ROLLBACK or another command and returns the command that PostgreSQL says it ran. */
  command(text: string): Promise<string>;
  release(broken?: boolean): void;
}

export interface Database extends Queryable, Copyable, AsyncDisposable {
  connect(): Promise<Connection>;
  /**
   * Calls the listener after each committed transaction that announced the subject, in this process only: a nudge to
   * look, never the news itself. Returns the call that ends it.
   */
  listen(subject: string, listener: () => void): () => void;
  announce(subject: string): void;
}

export interface Transaction extends Queryable, Copyable {
  /**
   * Sends a statement whose result nobody needs. It travels together with what follows, the commit included, so that it
   * costs no wait of its own; where it fails, nothing of the transaction is committed and the transaction rejects.
   */
  send(statement: Statement): void;
  /** Marks a subject; after the commit, and only then, the database's listeners of the subject are called. */
  announce(subject: string): void;
}

type DatabaseTelemetry = Pick<Telemetry, "recordDatabase" | "observePool">;

export interface DatabaseOptions {
  readonly url: string;
  /** Connections at most. Queries beyond wait in line for at most `connectTimeoutMs`. */
  readonly poolMax: number;
  /** Shown to the database's administrator as application_name. */
  readonly service: string;
  /** Gets the name and duration of each statement, never its values, and the state of the pool. */
  readonly telemetry?: DatabaseTelemetry;
  /** For one statement, waiting for locks included. */
  readonly statementTimeoutMs?: number;
  /** For a connection, new or from the pool. */
  readonly connectTimeoutMs?: number;
  /** After which PostgreSQL ends a transaction that does nothing: it would hold back feeds and vacuum. */
  readonly idleInTransactionTimeoutMs?: number;
}

/**
 * Opens a pool. No connection is made before the first query, so that a service starts while its database is away and
 * says so in its readiness instead.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax,
    application_name: options.service,
    statement_timeout: options.statementTimeoutMs ?? 5_000,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 10_000,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 3_000,
    idleTimeoutMillis: 60_000,
    // Connections age out, so that a pool finds the new primary and spreads over a new pooler.
    maxLifetimeSeconds: 1_800,
    keepAlive: true,
    // What is asked while an answer is out is written at once: a transaction's `send` and its commit go together.
    pipeline: true,
  });
  // An idle connection that breaks is replaced at its next use; without a listener it would end the process.
  pool.on("error", () => {});
  const gauges = options.telemetry?.observePool(options.service, () => ({
    used: pool.totalCount - pool.idleCount,
    idle: pool.idleCount,
    pending: pool.waitingCount,
    max: options.poolMax,
  }));
  const listeners = new Map<string, Set<() => void>>();
  let closed: Promise<void> | undefined;

  return {
    query: (statement) => runQuery(pool, statement, options.telemetry),
    copyOut: (statement) => copyOnce(pool, statement, options.telemetry),
    connect: async () => openConnection(pool, options.telemetry),
    listen: (subject, listener) => {
      const found = listeners.get(subject) ?? new Set();
      listeners.set(subject, found.add(listener));
      return () => found.delete(listener);
    },
    announce: (subject) => {
      for (const listener of listeners.get(subject) ?? []) listener();
    },
    [Symbol.asyncDispose]: async () => {
      gauges?.[Symbol.dispose]();
      closed ??= pool.end();
      await closed;
    },
  };
}

async function openConnection(pool: pg.Pool, telemetry: DatabaseTelemetry | undefined): Promise<Connection> {
  const client = await pool.connect().catch((error: unknown) => {
    throw translateError(error);
  });
  // While checked out a broken connection emits here; the query that runs gets the error too.
  const ignore = (): void => {};
  client.on("error", ignore);
  return {
    query: (statement) => runQuery(client, statement, telemetry),
    command: async (text) => {
      try {
        return (await client.query(text)).command;
      } catch (error) {
        throw translateError(error);
      }
    },
    copyOut: (statement) => runCopy(client, statement, telemetry),
    release: (broken = false) => {
      // A broken connection may emit again while it is closed.
      if (!broken) client.off("error", ignore);
      client.release(broken);
    },
  };
}

async function runQuery<Row extends pg.QueryResultRow>(
  runner: pg.Pool | pg.PoolClient,
  given: Statement | string,
  telemetry: DatabaseTelemetry | undefined,
): Promise<QueryResult<Row>> {
  const config =
    typeof given === "string"
      ? { text: given, values: [] }
      : { ...given, values: given.values?.map(compactValue) ?? [] };
  const statement = typeof given === "string" ? "unnamed" : (given.name ?? "unnamed");
  const result = await observed(statement, telemetry, () => runner.query<Row>(config));
  return { rows: result.rows, rowCount: result.rowCount ?? 0 };
}

async function copyOnce(
  pool: pg.Pool,
  statement: Statement,
  telemetry: DatabaseTelemetry | undefined,
): Promise<Buffer<ArrayBuffer>> {
  const connection = await openConnection(pool, telemetry);
  let isWhole = false;
  try {
    const copied = await connection.copyOut(statement);
    isWhole = true;
    return copied;
  } finally {
    connection.release(!isWhole);
  }
}

async function runCopy(
  client: pg.PoolClient,
  { name = "unnamed", text, values = [] }: Statement,
  telemetry: DatabaseTelemetry | undefined,
): Promise<Buffer<ArrayBuffer>> {
  return observed(name, telemetry, () => copyOut(client, text, values.map(Number)));
}

async function observed<T>(
  statement: string,
  telemetry: DatabaseTelemetry | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const started = performance.now();
  let failure: string | undefined;
  try {
    return await run();
  } catch (error) {
    failure = sqlStateOf(error) ?? "connection";
    throw translateError(error);
  } finally {
    telemetry?.recordDatabase({ statement, seconds: (performance.now() - started) / 1_000, error: failure });
  }
}

export interface TransactionOptions {
  readonly isolation?: "read committed" | "repeatable read" | "serializable";
  readonly readOnly?: boolean;
  /** How often a serialisation failure or deadlock is tried again. `run` must then have no effect outside `tx`. */
  readonly retries?: number;
  readonly timers?: Timers;
}

/**
 * Runs `run` in a transaction: commits when it returns, rolls back when it throws. Serialisation failures and
 * deadlocks (40001, 40P01) are tried again with jitter, at most `retries` (3) times, then leave as OVERLOADED.
 * When the connection breaks during the commit the outcome is unknown and the caller gets DEPENDENCY_UNAVAILABLE:
 * only a request_id makes it safe to repeat.
 */
export async function transaction<T>(
  db: Database,
  run: (tx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const { retries = 3, timers = systemTimers } = options;
  for (let failures = 1; ; failures += 1) {
    try {
      return await attemptTransaction(db, run, options);
    } catch (error) {
      if (!isContention(error)) throw error;
      if (failures > retries) throw new DomainError("OVERLOADED", { retryDelayMs: 200, cause: error });
      await timers.sleep(backoffMs(failures, { baseMs: 10, capMs: 200 }));
    }
  }
}

async function attemptTransaction<T>(
  db: Database,
  run: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const announced = new Set<string>();
  const connection = await db.connect();
  const sent = gatherSent(connection);
  let result: T;
  try {
    // Waited for: statements that went with a BEGIN that fails would be transactions of their own.
    await connection.command(beginText(options));
    result = await run({
      query: (statement) => connection.query(statement),
      copyOut: (statement) => connection.copyOut(statement),
      send: sent.add,
      announce: (subject) => announced.add(subject),
    });
    await sent.leave();
    const [command] = await Promise.all([connection.command("COMMIT"), sent.all()]);
    // PostgreSQL answers COMMIT with ROLLBACK when a statement had failed and `run` went on regardless.
    if (command !== "COMMIT") throw new Error(`a failed statement was ignored: the transaction ended by ${command}`);
  } catch (error) {
    connection.release(!(await rolledBack(connection)));
    throw isAftermath(error) ? sent.causeOf(error) : error;
  }
  connection.release();
  for (const subject of announced) db.announce(subject);
  return result;
}

interface Sent {
  add(statement: Statement): void;
  /** Throws where one of them could not even be sent: PostgreSQL knows nothing of it, and would commit the rest. */
  leave(): Promise<void>;
  /** Rejects with the first one's failure. */
  all(): Promise<void>;
  /** The failure of one of them, or the error itself. */
  causeOf(error: unknown): unknown;
}

function gatherSent(connection: Connection): Sent {
  const sent: Promise<unknown>[] = [];
  let failure: { readonly error: unknown } | undefined;
  const all = async (): Promise<void> => {
    await Promise.all(sent);
  };
  return {
    add: (statement) => {
      const result = connection.query(statement);
      result.catch((error: unknown) => {
        failure ??= { error };
      });
      sent.push(result);
    },
    leave: async () => {
      if (sent.length === 0) return;
      // pg tells of what it cannot write by the next tick.
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (failure !== undefined) throw failure.error;
    },
    all,
    causeOf: (error) => (failure === undefined ? error : failure.error),
  };
}

function beginText({ isolation, readOnly = false }: TransactionOptions): string {
  const level = isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`;
  return `BEGIN${level}${readOnly ? " READ ONLY" : ""}`;
}

async function rolledBack(connection: Connection): Promise<boolean> {
  return connection.command("ROLLBACK").then(
    () => true,
    () => false,
  );
}
