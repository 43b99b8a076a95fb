import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import { openRows } from "../log/openings.ts";
import { PACKED_ROW } from "../log/row.ts";
import type { Activity, ActorDay, DayCount } from "./activity.ts";

export interface Position {
  /** The first entry that is not counted yet. */
  readonly nextIndex: number;
  /** The newest time of a counted event. */
  readonly newestMs: number;
}

export interface EntryToCount {
  readonly index: number;
  readonly preimage: Uint8Array;
  /** Sealed details and their key, of sign-ins only. */
  readonly details: Buffer | null;
  readonly detailsKey: string | null;
}

const selectPosition = statement(
  "analysis.position",
  `SELECT next_index::float8 AS "nextIndex", newest_ms::float8 AS "newestMs" FROM audit.analysis_position`,
);
const movePosition = statement(
  "analysis.move",
  `INSERT INTO audit.analysis_position AS p (next_index, newest_ms) SELECT $2::bigint, $3::bigint WHERE $1::bigint = 0
   ON CONFLICT (single) DO UPDATE SET next_index = excluded.next_index, newest_ms = excluded.newest_ms
   WHERE p.next_index = $1`,
);
const advancePosition = statement(
  "analysis.advance",
  `UPDATE audit.analysis_position SET next_index = $2, newest_ms = $3 WHERE next_index = $1`,
);
const selectEntries = statement(
  "analysis.entries",
  `SELECT ${PACKED_ROW} AS packed,
     CASE WHEN type = ANY (ARRAY(SELECT id FROM audit.name
       WHERE name IN ('session.started', 'session.renewed', 'session.refused'))) THEN details END AS details,
     details_key AS "detailsKey"
   FROM audit.entry WHERE index >= $1::bigint AND index < $2::bigint ORDER BY entry.index LIMIT $3`,
);
const selectFirst = statement(
  "analysis.first",
  `SELECT time_ms::float8 AS "timeMs" FROM audit.entry ORDER BY entry.index LIMIT 1`,
);
const selectDays = statement(
  "analysis.days",
  `SELECT actor, day, activity FROM audit.actor_day
   WHERE (actor, day) IN (SELECT * FROM unnest($1::text[], $2::integer[]))`,
);
const upsertDays = statement(
  "analysis.keep-days",
  `INSERT INTO audit.actor_day (actor, day, activity)
   SELECT * FROM unnest($1::text[], $2::integer[], $3::jsonb[]) AS d (actor, day, activity) ORDER BY actor, day
   ON CONFLICT (actor, day) DO UPDATE SET activity = excluded.activity`,
);
const upsertCounts = statement(
  "analysis.keep-counts",
  `INSERT INTO audit.day_count AS c (day, class, method, outcome, count)
   SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[])
   ON CONFLICT (day, class, method, outcome) DO UPDATE SET count = c.count + excluded.count`,
);
const selectHistory = statement(
  "analysis.history",
  `SELECT actor, day, activity FROM audit.actor_day
   WHERE (actor, day) > ($1, $2::integer) AND day >= $3 AND day < $4 ORDER BY actor, day LIMIT $5`,
);
const selectTotals = statement(
  "analysis.totals",
  `SELECT class AS type, sum(count)::float8 AS count FROM audit.day_count WHERE day >= $1 AND day < $2
   GROUP BY class ORDER BY class`,
);
const purgeDays = statement(
  "analysis.purge",
  `DELETE FROM audit.actor_day WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit.actor_day WHERE day < $1 LIMIT $2))`,
);
const insertReportRow = statement(
  "analysis.report",
  `INSERT INTO audit.analysis_report
     (quarter, created_at_ms, created_by, thresholds_version, findings, digest, document)
   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
);
const REPORT = `quarter, created_at_ms::float8 AS "createdAtMs", created_by AS "createdBy",
  thresholds_version AS "thresholdsVersion", findings, digest`;
const selectReport = statement(
  "analysis.find-report",
  `SELECT ${REPORT}, document FROM audit.analysis_report WHERE quarter = $1`,
);
const selectReports = statement(
  "analysis.reports",
  `SELECT ${REPORT} FROM audit.analysis_report ORDER BY quarter DESC LIMIT 400`,
);

export async function findPosition(db: Queryable): Promise<Position> {
  return (
    (await db.query<{ nextIndex: number; newestMs: number }>(selectPosition())).rows[0] ?? { nextIndex: 0, newestMs: 0 }
  );
}

/** Compare-and-swap: false when another replica counted the same entries. */
export async function setPosition(tx: Transaction, from: number, to: Position): Promise<boolean> {
  const move = from === 0 ? movePosition : advancePosition;
  return (await tx.query(move(from, to.nextIndex, to.newestMs))).rowCount === 1;
}

export async function entriesFrom(db: Queryable, from: number, until: number, limit: number): Promise<EntryToCount[]> {
  type Packed = { packed: Buffer; details: Buffer | null; detailsKey: string | null };
  const { rows } = await db.query<Packed>(selectEntries(from, until, limit));
  const openings = await openRows(db, Buffer.concat(rows.map(({ packed }) => packed)));
  return openings.map(({ index, preimage }, at) => {
    const { details = null, detailsKey = null } = rows[at] ?? {};
    return { index, preimage, details, detailsKey };
  });
}

/** The time of the oldest entry that is kept; undefined for an empty log. */
export async function firstEntryMs(db: Queryable): Promise<number | undefined> {
  return (await db.query<{ timeMs: number }>(selectFirst())).rows[0]?.timeMs;
}

export async function findActorDays(db: Queryable, days: readonly ActorDay[]): Promise<ActorDay[]> {
  const { rows } = await db.query<{ actor: string; day: number; activity: Activity }>(
    selectDays(
      days.map(({ actor }) => actor),
      days.map(({ day }) => day),
    ),
  );
  return rows;
}

export async function keepActorDays(tx: Transaction, days: readonly ActorDay[]): Promise<void> {
  await tx.query(
    upsertDays(
      days.map(({ actor }) => actor),
      days.map(({ day }) => day),
      days.map(({ activity }) => JSON.stringify(activity)),
    ),
  );
}

export async function addCounts(tx: Transaction, counts: readonly DayCount[]): Promise<void> {
  const column = (value: (count: DayCount) => string | number): unknown[] => counts.map(value);
  await tx.query(
    upsertCounts(
      column(({ day }) => day),
      column(({ type }) => type),
      column(({ method }) => method),
      column(({ outcome }) => outcome),
      column(({ count }) => count),
    ),
  );
}

/** A page of what actors did, ordered by actor and day, after the given one. */
export async function pageActorDays(
  db: Queryable,
  after: Pick<ActorDay, "actor" | "day">,
  period: { readonly fromDay: number; readonly untilDay: number },
  limit: number,
): Promise<ActorDay[]> {
  const page = selectHistory(after.actor, after.day, period.fromDay, period.untilDay, limit);
  return (await db.query<{ actor: string; day: number; activity: Activity }>(page)).rows;
}

/** Events of each type in a period. */
export async function totalsOf(
  db: Queryable,
  fromDay: number,
  untilDay: number,
): Promise<{ type: string; count: number }[]> {
  return (await db.query<{ type: string; count: number }>(selectTotals(fromDay, untilDay))).rows;
}

export async function purgeActorDays(db: Queryable, beforeDay: number, batchMax: number): Promise<number> {
  return (await db.query(purgeDays(beforeDay, batchMax))).rowCount;
}

export interface ReportRow {
  readonly quarter: string;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly thresholdsVersion: number;
  readonly findings: number;
  readonly digest: Buffer;
}

/** False when the quarter has its report already. */
export async function insertReport(tx: Transaction, row: ReportRow, document: Buffer): Promise<boolean> {
  const { quarter, createdAtMs, createdBy, thresholdsVersion, findings, digest } = row;
  const inserted = await tx.query(
    insertReportRow(quarter, createdAtMs, createdBy, thresholdsVersion, findings, digest, document),
  );
  return inserted.rowCount === 1;
}

export async function findReport(
  db: Queryable,
  quarter: string,
): Promise<(ReportRow & { readonly document: Buffer }) | undefined> {
  return (await db.query<{ [K in keyof ReportRow]: ReportRow[K] } & { document: Buffer }>(selectReport(quarter)))
    .rows[0];
}

/** Newest quarter first. */
export async function listReports(db: Queryable): Promise<ReportRow[]> {
  return (await db.query<{ [K in keyof ReportRow]: ReportRow[K] }>(selectReports())).rows;
}
