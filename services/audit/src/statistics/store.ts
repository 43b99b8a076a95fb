import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { DayCount } from "../analysis/activity.ts";

export interface PublishedStatistics {
  readonly day: number;
  readonly publishedAtMs: number;
  readonly digest: Buffer;
  readonly document: Buffer;
}

const selectCounts = statement(
  "statistics.counts",
  `SELECT day, class AS type, method, outcome, count::float8 AS count FROM audit.day_count WHERE day = $1`,
);
const selectRow = statement(
  "statistics.find",
  `SELECT day, published_at_ms::float8 AS "publishedAtMs", digest, document FROM audit.statistics WHERE day = $1`,
);
const selectLastDay = statement("statistics.last", `SELECT max(day) AS day FROM audit.statistics`);
const insertRow = statement(
  "statistics.publish",
  `INSERT INTO audit.statistics (day, published_at_ms, digest, document) VALUES ($1, $2, $3, $4)
   ON CONFLICT DO NOTHING`,
);

export async function countsOf(db: Queryable, day: number): Promise<DayCount[]> {
  return (await db.query<{ [K in keyof DayCount]: DayCount[K] }>(selectCounts(day))).rows;
}

export async function findStatistics(db: Queryable, day: number): Promise<PublishedStatistics | undefined> {
  return (await db.query<{ [K in keyof PublishedStatistics]: PublishedStatistics[K] }>(selectRow(day))).rows[0];
}

/** The last day that was published. */
export async function lastPublishedDay(db: Queryable): Promise<number | undefined> {
  return (await db.query<{ day: number | null }>(selectLastDay())).rows[0]?.day ?? undefined;
}

/** False when the day was published before. */
export async function insertStatistics(tx: Transaction, row: PublishedStatistics): Promise<boolean> {
  return (await tx.query(insertRow(row.day, row.publishedAtMs, row.digest, row.document))).rowCount === 1;
}
