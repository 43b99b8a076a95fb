import { type Connection, type Queryable, type Statement, statement, type Transaction } from "@fujie/kit/db";
import type { PreparedEntry } from "./entry.ts";
import { compactText, outcomeLetters } from "./row.ts";
import type { FullTile } from "./tree.ts";

export interface Head {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  readonly epoch: number;
}

export interface PublishedCheckpoint {
  readonly size: number;
  readonly note: string;
}

interface HeadRow {
  origin: string;
  size: number;
  root: Buffer;
  epoch: number;
}

// The lock's number spells "fujielog"; it is the same for all replicas.
const tryLock = statement("audit.lead.try", `SELECT pg_try_advisory_lock(x'66756a69656c6f67'::bigint) AS locked`);
const holdLock = statement(
  "audit.lead.hold",
  `SELECT count(*)::int AS held FROM pg_locks
   WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()`,
);
const freeLock = statement("audit.lead.free", `SELECT pg_advisory_unlock_all()`);
const createHead = statement(
  "audit.head.create",
  `INSERT INTO audit.head (origin, size, root, epoch) VALUES ($1, 0, $2, 0) ON CONFLICT DO NOTHING`,
);
const beginEpoch = statement(
  "audit.head.epoch",
  `UPDATE audit.head SET epoch = epoch + 1
   RETURNING origin, size::float8 AS size, root, epoch::float8 AS epoch`,
);
const findHead = statement(
  "audit.head.find",
  `SELECT origin, size::float8 AS size, root, epoch::float8 AS epoch FROM audit.head`,
);
// Divides by zero where the head is not where it was left: the commit that goes with it becomes a rollback.
const advanceHead = statement(
  "audit.head.advance",
  `WITH moved AS (UPDATE audit.head SET size = $3, root = $4 WHERE epoch = $1 AND size = $2 RETURNING size),
   tallied AS (
     INSERT INTO audit.tally AS t (service, sealed)
     SELECT service, sealed FROM moved, unnest($5::text[], $6::bigint[]) AS given (service, sealed)
     ON CONFLICT (service) DO UPDATE SET sealed = t.sealed + excluded.sealed
   ) SELECT 1 / count(*)::int AS moved FROM moved`,
);
const beginNewMonth = statement("audit.partitions.month", `SELECT audit.begin_month($1) AS ended`);
const ensurePartitions = statement(
  "audit.partitions.ensure",
  `SELECT audit.ensure_entry_partitions($1, $2)::float8 AS until`,
);
// All bytes of a batch go in one buffer with their lengths: bytea inside an array would travel as hex.
const insertEntries = statement(
  "audit.entry.insert",
  `WITH new AS MATERIALIZED (
     SELECT $1::bigint + o - 1 AS index, given.*,
       sum(actor + subject + application + organisation + trace + purpose + reason + digest + 32 + details) OVER w
         - (actor + subject + application + organisation + trace + purpose + reason + digest + 32 + details) + 1 AS at
     FROM unnest($2::uuid[], $3::bigint[], $4::int[], $5::int[], $6::"char"[], $7::uuid[], $8::int[], $9::int[],
       $10::int[], $11::int[], $12::int[], $13::int[], $14::int[], $15::int[], $16::int[])
       WITH ORDINALITY AS given (event_id, time_ms, service, type, outcome, details_key, actor, subject, application,
         organisation, trace, purpose, reason, digest, details, o)
     WINDOW w AS (ORDER BY o)
   ), places AS MATERIALIZED (
     SELECT *, at::int AS a, (at + actor)::int AS b, (at + actor + subject)::int AS c,
       (at + actor + subject + application)::int AS d,
       (at + actor + subject + application + organisation)::int AS e
     FROM new
   ), entered AS (
     INSERT INTO audit.entry (index, time_ms, service, type, event_id, outcome, actor, subject, application_id,
       organisation_id, trace_id, purpose, reason, digest, salt, details, details_key)
     SELECT index, time_ms, service, type, event_id, outcome,
       substring($17::bytea FROM a FOR actor), substring($17 FROM b FOR subject),
       substring($17 FROM c FOR application), substring($17 FROM d FOR organisation), substring($17 FROM e FOR trace),
       substring($17 FROM e + trace FOR purpose), substring($17 FROM e + trace + purpose FOR reason),
       substring($17 FROM e + trace + purpose + reason FOR digest),
       substring($17 FROM e + trace + purpose + reason + digest FOR 32),
       CASE WHEN details_key IS NOT NULL
         THEN substring($17 FROM e + trace + purpose + reason + digest + 32 FOR details) END,
       details_key
     FROM places ORDER BY o
   )
   INSERT INTO audit.event (event_id, index) SELECT event_id, index FROM new ORDER BY o`,
);
const insertTiles = statement(
  "audit.tile.insert",
  `INSERT INTO audit.tile (level, index, hashes, root)
   SELECT level, index, substring($3::bytea FROM ((o - 1) * 8192 + 1)::int FOR 8192),
     substring($4::bytea FROM ((o - 1) * 32 + 1)::int FOR 32)
   FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY AS given (level, index, o)`,
);
// Losing this row costs nothing, since the head is durable and signing it again makes the same checkpoint: so the
// commit need not wait for the disk.
const storeCheckpoint = statement(
  "audit.checkpoint.store",
  `WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true) AS setting)
   INSERT INTO audit.checkpoint AS stored (size, note) SELECT $1, $2 FROM relaxed
   ON CONFLICT (single) DO UPDATE SET size = excluded.size, note = excluded.note WHERE stored.size < excluded.size`,
);
const findCheckpoint = statement("audit.checkpoint.find", `SELECT size::float8 AS size, note FROM audit.checkpoint`);

/** Takes the lead's lock for the connection's session, or says that somebody else has it. */
export async function tryLead(connection: Connection): Promise<boolean> {
  return (await connection.query<{ locked: boolean }>(tryLock())).rows[0]?.locked === true;
}

/** Whether the session still has the lock: false or an error means that the lead is lost. */
export async function stillLeads(connection: Connection): Promise<boolean> {
  return ((await connection.query<{ held: number }>(holdLock())).rows[0]?.held ?? 0) > 0;
}

export async function freeLead(connection: Connection): Promise<void> {
  await connection.query(freeLock());
}

/** Begins a new epoch, which fences off every earlier one, and gives the head as it is from now on. */
export async function takeHead(db: Queryable, origin: string, emptyRoot: Uint8Array): Promise<Head> {
  await db.query(createHead(origin, emptyRoot));
  const [head] = (await db.query<HeadRow>(beginEpoch())).rows;
  if (head === undefined) throw new Error("the head of the log is missing");
  return head;
}

export async function readHead(db: Queryable): Promise<Head | undefined> {
  return (await db.query<HeadRow>(findHead())).rows[0];
}

export interface HeadMove {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly root: Uint8Array;
  /** How many of the new entries each service recorded. */
  readonly sealed: ReadonlyMap<string, number>;
}

/** Compare-and-swap: nothing of the transaction is committed when the head is not where this epoch left it. */
export function sendHeadMove(tx: Pick<Transaction, "send">, { epoch, from, to, root, sealed }: HeadMove): void {
  tx.send(advanceHead(epoch, from, to, root, [...sealed.keys()], [...sealed.values()]));
}

/** Creates partitions ahead until they hold the entries below `until`; gives how far they reach. */
export async function createPartitions(db: Queryable, until: number, width: number): Promise<number> {
  return (await db.query<{ until: number }>(ensurePartitions(until, width))).rows[0]?.until ?? 0;
}

/** Ends the partition that is written to when it began before the month; tells whether it did. */
export async function beginMonth(db: Queryable, monthStartMs: number): Promise<boolean> {
  return (await db.query<{ ended: boolean }>(beginNewMonth(monthStartMs))).rows[0]?.ended === true;
}

/** The names that an entry holds by number. */
export function namesIn(entries: readonly PreparedEntry[]): string[] {
  return entries.flatMap(({ entry }) => [entry.service, entry.type]);
}

/** Writes entries at `begin` and the indexes after it; `numbers` has all of their names. */
export function insertionOf(
  begin: number,
  entries: readonly PreparedEntry[],
  numbers: ReadonlyMap<string, number>,
): Statement {
  const column = (value: (entry: PreparedEntry) => string | number | null): unknown[] => entries.map(value);
  const bytes = entries.map(bytesOf);
  return insertEntries(
    begin,
    column(({ entry }) => entry.eventId),
    column(({ entry }) => entry.timeMs),
    column(({ entry }) => numbers.get(entry.service) ?? null),
    column(({ entry }) => numbers.get(entry.type) ?? null),
    column(({ entry }) => outcomeLetters[entry.outcome] ?? null),
    column(({ details }) => details?.keyId ?? null),
    ...LENGTHS.map((at) => bytes.map((parts) => parts[at]?.length ?? 0)),
    Buffer.concat(bytes.flat()),
  );
}

/** Which parts of an entry's bytes have a length of their own: all but the salt. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 9] as const;

/** The columns of bytes, in the order in which they are written. */
function bytesOf({ entry, salt, details }: PreparedEntry): Uint8Array[] {
  return [
    compactText(entry.actor),
    compactText(entry.subject),
    compactText(entry.applicationId),
    compactText(entry.organisationId),
    Buffer.from(entry.traceId, "hex"),
    compactText(entry.purpose),
    compactText(entry.reason),
    entry.digest,
    salt,
    details?.sealed ?? Buffer.of(),
  ];
}

export function sendTiles(tx: Pick<Transaction, "send">, tiles: readonly FullTile[]): void {
  if (tiles.length === 0) return;
  tx.send(
    insertTiles(
      tiles.map(({ level }) => level),
      tiles.map(({ index }) => index),
      Buffer.concat(tiles.map(({ hashes }) => hashes)),
      Buffer.concat(tiles.map(({ root }) => root)),
    ),
  );
}

/** Publishes a checkpoint unless a larger one is published already. */
export async function publishCheckpoint(db: Queryable, size: number, note: string): Promise<void> {
  await db.query(storeCheckpoint(size, note));
}

/** The newest published checkpoint; undefined before the log's first start. */
export async function readCheckpoint(db: Queryable): Promise<PublishedCheckpoint | undefined> {
  return (await db.query<{ size: number; note: string }>(findCheckpoint())).rows[0];
}
