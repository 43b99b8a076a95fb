import { type Queryable, statement } from "@fujie/kit/db";

export interface HoldRow {
  readonly holdId: string;
  readonly startMs: number;
  readonly endMs: number | null;
  readonly reason: string;
  readonly placedBy: string;
  readonly placedAtMs: number;
  readonly releasedBy: string | null;
  readonly releasedAtMs: number | null;
  readonly releaseReason: string | null;
}

type Row = { [K in keyof HoldRow]: HoldRow[K] };

const COLUMNS = `hold_id AS "holdId", start_ms::float8 AS "startMs", end_ms::float8 AS "endMs", reason,
  placed_by AS "placedBy", placed_at_ms::float8 AS "placedAtMs", released_by AS "releasedBy",
  released_at_ms::float8 AS "releasedAtMs", release_reason AS "releaseReason"`;

const insertHold = statement(
  "audit.hold.insert",
  `INSERT INTO audit.hold (hold_id, start_ms, end_ms, reason, placed_by, placed_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${COLUMNS}`,
);
const lockHold = statement("audit.hold.lock", `SELECT ${COLUMNS} FROM audit.hold WHERE hold_id = $1 FOR UPDATE`);
const endHold = statement(
  "audit.hold.release",
  `UPDATE audit.hold SET released_by = $2, released_at_ms = $3, release_reason = $4 WHERE hold_id = $1
   RETURNING ${COLUMNS}`,
);
const pageOfHolds = statement(
  "audit.hold.page",
  `SELECT ${COLUMNS} FROM audit.hold WHERE hold_id < $1 ORDER BY audit.hold.hold_id DESC LIMIT $2`,
);
// The partition after it says until when it was written to.
const findClosed = statement(
  "audit.range.closed",
  `SELECT r.begin_index::float8 AS begin, r.end_index::float8 AS end
   FROM audit.entry_range r JOIN audit.entry_range next ON next.begin_index = r.end_index
   WHERE r.dropped_at_ms IS NULL AND next.began_at_ms < $1 AND r.end_index <= (SELECT h.size FROM audit.head h)
   ORDER BY r.begin_index LIMIT 100`,
);
const dropOne = statement("audit.partition.drop", `SELECT audit.drop_partition($1, $2, $3)`);

export async function placeHold(
  tx: Queryable,
  hold: Pick<HoldRow, "holdId" | "startMs" | "endMs" | "reason" | "placedBy" | "placedAtMs">,
): Promise<HoldRow | undefined> {
  const { holdId, startMs, endMs, reason, placedBy, placedAtMs } = hold;
  return (await tx.query<Row>(insertHold(holdId, startMs, endMs, reason, placedBy, placedAtMs))).rows[0];
}

/** The hold, locked until the transaction ends. */
export async function findHoldToRelease(tx: Queryable, holdId: string): Promise<HoldRow | undefined> {
  return (await tx.query<Row>(lockHold(holdId))).rows[0];
}

export async function releaseHold(
  tx: Queryable,
  holdId: string,
  release: { readonly by: string; readonly atMs: number; readonly reason: string },
): Promise<HoldRow | undefined> {
  return (await tx.query<Row>(endHold(holdId, release.by, release.atMs, release.reason))).rows[0];
}

/** Holds with smaller ids (UUIDv7: placed earlier), newest first. */
export async function pageHolds(db: Queryable, before: string, limit: number): Promise<HoldRow[]> {
  return (await db.query<Row>(pageOfHolds(before, limit))).rows;
}

/** Complete partitions that were last written to before that time, oldest first; at most 100. */
export async function findClosedPartitions(db: Queryable, beforeMs: number): Promise<{ begin: number; end: number }[]> {
  return (await db.query<{ begin: number; end: number }>(findClosed(beforeMs))).rows;
}

/** Ends a partition, if the database lets it: SQLSTATE 42501 says that it must stay. */
export async function dropPartition(
  tx: Queryable,
  begin: number,
  rule: { readonly keepAfterMs: number; readonly exportedOnly: boolean },
): Promise<void> {
  await tx.query(dropOne(begin, rule.keepAfterMs, rule.exportedOnly));
}
