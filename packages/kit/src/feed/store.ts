import type { Any } from "@bufbuild/protobuf/wkt";
import { type Queryable, statement, type Transaction } from "../db/index.ts";
import type { Position } from "./position.ts";

const insertEvents = statement(
  "kit.feed.insert",
  `INSERT INTO kit.feed_event (topic, type_url, value) SELECT $1, * FROM unnest($2::text[], $3::bytea[])`,
);

/**
 * Publishes events to a topic when, and only when, the transaction commits, in the order given. Followers see the
 * transactions in the order of their ids, which is close to, but not always, that of their commits: an event carries
 * the version of the row it tells of, and a follower keeps the newest. At most 256 KiB each; nothing that the topic's
 * followers may not know, because events are kept in clear for the topic's retention.
 */
export async function publish(tx: Transaction, topic: string, ...events: readonly Any[]): Promise<void> {
  if (events.length === 0) return;
  const values = events.map((event) => Buffer.from(event.value));
  tx.send(
    insertEvents(
      topic,
      events.map((event) => event.typeUrl),
      values,
    ),
  );
  tx.announce("feed");
}

export interface StoredEvent {
  readonly position: Position;
  readonly typeUrl: string;
  readonly value: Uint8Array;
  readonly writtenAtMs: number;
}

/** The events after a position that are complete: none can appear among or before them any more. */
export interface FeedPage {
  readonly events: readonly StoredEvent[];
  /** There is more to read now. */
  readonly full: boolean;
  /** Up to where the page is complete. */
  readonly end: Position;
  /** When the oldest event was written that is committed but held back by an older running transaction. */
  readonly heldSinceMs: number | undefined;
  /** The newest event that was removed by age. */
  readonly horizon: Position | undefined;
  readonly cluster: string;
}

interface PageRow {
  topic: string;
  cluster: string;
  xmin: string;
  heldSinceMs: number | null;
  horizonTx: string | null;
  horizonSeq: string | null;
  tx: string | null;
  seq: string | null;
  typeUrl: string | null;
  value: Buffer | null;
  writtenAtMs: number | null;
}

// One statement is one snapshot: the events, the oldest running transaction and the horizon belong together. A
// transaction below xmin has ended and, if it committed, is seen whole; one at or above it may still commit.
const readPages = statement(
  "kit.feed.read",
  `SELECT w.topic, c.cluster, c.xmin::text, held.since_ms::float8 AS "heldSinceMs",
     h.tx::text AS "horizonTx", h.seq::text AS "horizonSeq",
     e.tx::text, e.seq::text, e.type_url AS "typeUrl", e.value, e.written_at_ms::float8 AS "writtenAtMs"
   FROM (
     SELECT to_hex(system_identifier) || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS cluster,
       pg_snapshot_xmin(pg_current_snapshot()) AS xmin FROM pg_control_system()
   ) c
   CROSS JOIN unnest($1::text[], $2::xid8[], $3::bigint[]) AS w (topic, tx, seq)
   LEFT JOIN kit.feed_horizon h ON h.topic = w.topic
   CROSS JOIN LATERAL (
     SELECT min(f.written_at_ms) AS since_ms FROM kit.feed_event f WHERE f.topic = w.topic AND f.tx >= c.xmin
   ) held
   LEFT JOIN LATERAL (
     SELECT * FROM kit.feed_event f
     WHERE f.topic = w.topic AND (f.tx, f.seq) > (w.tx, w.seq) AND f.tx < c.xmin
     ORDER BY f.tx, f.seq LIMIT $4
   ) e ON true
   ORDER BY w.topic, e.tx, e.seq`,
);

/** Reads several topics at once, each from its own position, at most `pageMax` events each. */
export async function readTopics(
  db: Queryable,
  positions: ReadonlyMap<string, Position>,
  pageMax: number,
): Promise<Map<string, FeedPage>> {
  const { rows } = await db.query<PageRow>(
    readPages(
      [...positions.keys()],
      [...positions.values()].map(({ tx }) => String(tx)),
      [...positions.values()].map(({ seq }) => String(seq)),
      pageMax,
    ),
  );
  const byTopic = Map.groupBy(rows, (row) => row.topic);
  return new Map([...byTopic].map(([topic, topicRows]) => [topic, readPage(topicRows, pageMax)]));
}

function readPage(rows: readonly PageRow[], pageMax: number): FeedPage {
  const events = rows.flatMap(readEvent);
  const [first] = rows;
  const last = events.at(-1);
  if (first === undefined) throw new Error("a topic that was asked for has no row");
  const { horizonTx, horizonSeq, heldSinceMs, xmin, cluster } = first;
  const full = events.length === pageMax && last !== undefined;
  return {
    events,
    full,
    // Sequence numbers start at 1: this lies after all that is below xmin and before all that is not.
    end: full ? last.position : { tx: BigInt(xmin), seq: 0n },
    heldSinceMs: heldSinceMs ?? undefined,
    horizon: horizonTx === null || horizonSeq === null ? undefined : { tx: BigInt(horizonTx), seq: BigInt(horizonSeq) },
    cluster,
  };
}

function readEvent({ tx, seq, typeUrl, value, writtenAtMs }: PageRow): StoredEvent[] {
  if (tx === null || seq === null || typeUrl === null || value === null || writtenAtMs === null) return [];
  return [{ position: { tx: BigInt(tx), seq: BigInt(seq) }, typeUrl, value, writtenAtMs }];
}

// Only from the front, so that the horizon tells all that is gone; the first event that stays ends it.
const purgeBatch = statement(
  "kit.feed.purge",
  `WITH oldest AS (
     SELECT tx, seq, bool_and(written_at_ms < $2) OVER (ORDER BY tx, seq) AS gone FROM (
       SELECT tx, seq, written_at_ms FROM kit.feed_event
       WHERE topic = $1 AND tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY tx, seq LIMIT $3
     ) front
   ), removed AS (
     DELETE FROM kit.feed_event WHERE topic = $1 AND (tx, seq) IN (SELECT tx, seq FROM oldest WHERE gone)
     RETURNING tx, seq
   ), horizon AS (
     INSERT INTO kit.feed_horizon (topic, tx, seq) SELECT $1, tx, seq FROM removed ORDER BY tx DESC, seq DESC LIMIT 1
     ON CONFLICT (topic) DO UPDATE SET tx = excluded.tx, seq = excluded.seq
     WHERE (feed_horizon.tx, feed_horizon.seq) < (excluded.tx, excluded.seq)
   )
   SELECT count(*)::int AS removed FROM removed`,
);

const oldTopics = statement(
  "kit.feed.old-topics",
  `SELECT DISTINCT topic FROM kit.feed_event WHERE starts_with(topic, $1) AND written_at_ms < $2 LIMIT 100`,
);

/** Does the same for all topics whose names begin alike; returns how many events it removed. */
export async function purgeFeeds(db: Queryable, prefix: string, beforeMs: number, batchMax: number): Promise<number> {
  let removed = 0;
  const { rows } = await db.query<{ topic: string }>(oldTopics(prefix, beforeMs));
  for (const { topic } of rows) {
    if (removed < batchMax) removed += await purgeFeed(db, topic, beforeMs, batchMax - removed);
  }
  return removed;
}

/** Removes at most `batchMax` events of a topic that were written before a time, oldest first; returns how many. */
export async function purgeFeed(db: Queryable, topic: string, beforeMs: number, batchMax: number): Promise<number> {
  return (await db.query<{ removed: number }>(purgeBatch(topic, beforeMs, batchMax))).rows[0]?.removed ?? 0;
}
