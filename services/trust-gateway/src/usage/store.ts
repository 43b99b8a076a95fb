import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import { type CallEnd, type Days, LOOK_AFTER_MS } from "./rules.ts";

const endRows = statement(
  "usage.end",
  `UPDATE trust.source_check c
   SET call_state = e.state, billed = e.billed, counted = e.state = 'NOT_BILLED',
     look_at_ms = CASE WHEN e.state = 'UNKNOWN' THEN coalesce(c.look_at_ms, $4::bigint) END
   FROM unnest($1::text[], $2::text[], $3::integer[]) AS e (biz_seq, state, billed)
   WHERE c.biz_seq = e.biz_seq
     AND (c.call_state = 'OPEN' OR c.call_state = 'UNKNOWN' AND e.state IN ('ANSWERED', 'NOT_BILLED'))`,
);
const insertShared = statement(
  "usage.share",
  `INSERT INTO trust.source_check (verification_id, source_id, biz_seq, nonce, asked_at_ms, call_state)
   SELECT verification_id, source_id, replace(gen_random_uuid()::text, '-', ''), decode(repeat('00', 32), 'hex'), $3,
     'SHARED'
   FROM unnest($1::uuid[], $2::text[]) AS s (verification_id, source_id) ON CONFLICT DO NOTHING`,
);
// Who decided a verification ends its calls; where he could not, or it ran out of time, they are left open.
const closeRows = statement(
  "usage.close-left",
  `UPDATE trust.source_check SET call_state = 'UNKNOWN', look_at_ms = $1 WHERE biz_seq IN (
     SELECT c.biz_seq FROM trust.source_check c JOIN trust.verification v USING (verification_id)
     WHERE NOT c.counted AND c.call_state = 'OPEN' AND c.asked_at_ms <= $2
       AND (v.state <> 'PENDING' OR v.next_attempt_at_ms IS NULL)
     ORDER BY c.asked_at_ms LIMIT $3 FOR UPDATE OF c SKIP LOCKED)`,
);
const claimRows = statement(
  "usage.claim",
  `UPDATE trust.source_check c SET look_at_ms = $2, looks = c.looks + 1 FROM (
     SELECT c.biz_seq, v.state = 'PENDING' AND v.next_attempt_at_ms IS NOT NULL AS pending
     FROM trust.source_check c JOIN trust.verification v USING (verification_id)
     WHERE c.look_at_ms <= $1 ORDER BY c.look_at_ms LIMIT $3 FOR UPDATE OF c SKIP LOCKED) AS due
   WHERE c.biz_seq = due.biz_seq
   RETURNING c.biz_seq AS "bizSeq", c.source_id AS "sourceId", c.asked_at_ms::float8 AS "askedAtMs", c.looks,
     due.pending`,
);
const selectOldestUnknown = statement(
  "usage.oldest-unknown",
  `SELECT asked_at_ms::float8 AS "askedAtMs" FROM trust.source_check
   WHERE NOT counted AND call_state = 'UNKNOWN' ORDER BY asked_at_ms LIMIT 1`,
);
const postponeRow = statement(
  "usage.postpone",
  `UPDATE trust.source_check SET look_at_ms = $2 WHERE biz_seq = $1 AND call_state = 'UNKNOWN'`,
);
const DAY = `(to_timestamp(c.asked_at_ms / 1000) AT TIME ZONE 'UTC')::date`;
const PRICE = `coalesce((SELECT p.price_fen FROM trust.source_price p
  WHERE p.source_id = c.source_id AND p.since_ms <= c.asked_at_ms ORDER BY p.since_ms DESC LIMIT 1), 0)`;
// Days are added to in one order, so that two replicas never wait for each other in a circle.
const countRows = statement(
  "usage.count",
  `WITH ended AS (
     SELECT biz_seq FROM trust.source_check WHERE NOT counted AND call_state IN ('ANSWERED', 'SHARED')
     ORDER BY asked_at_ms LIMIT $1 FOR UPDATE SKIP LOCKED
   ), taken AS (
     UPDATE trust.source_check c SET counted = true FROM ended, trust.verification v
     WHERE c.biz_seq = ended.biz_seq AND v.verification_id = c.verification_id
     RETURNING ${DAY} AS day, coalesce(v.application_id, '') AS application_id, c.source_id, v.purpose,
       c.billed, c.call_state = 'SHARED' AS shared, c.billed * ${PRICE} AS cost
   ), added AS (
     INSERT INTO trust.usage_day AS d (day, application_id, source_id, purpose, answered, shared, cost_fen)
     SELECT day, application_id, source_id, purpose, sum(billed), count(*) FILTER (WHERE shared), sum(cost)
     FROM taken GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 3, 4
     ON CONFLICT (application_id, day, source_id, purpose) DO UPDATE SET answered = d.answered + excluded.answered,
       shared = d.shared + excluded.shared, cost_fen = d.cost_fen + excluded.cost_fen
   ) SELECT count(*)::integer AS counted FROM taken`,
);
const putPrices = statement(
  "usage.prices",
  `INSERT INTO trust.source_price (source_id, since_ms, price_fen)
   SELECT n.source_id, CASE WHEN last.price_fen IS NULL THEN 0 ELSE $3::bigint END, n.price_fen
   FROM unnest($1::text[], $2::integer[]) AS n (source_id, price_fen)
   LEFT JOIN LATERAL (SELECT price_fen FROM trust.source_price p WHERE p.source_id = n.source_id
     ORDER BY since_ms DESC LIMIT 1) AS last ON true
   WHERE last.price_fen IS DISTINCT FROM n.price_fen ON CONFLICT DO NOTHING`,
);
const purgeRows = statement(
  "usage.purge",
  `DELETE FROM trust.usage_day WHERE ctid = ANY (ARRAY(SELECT ctid FROM trust.usage_day WHERE day < $1::date LIMIT $2))`,
);

/** What was counted and what is not counted yet, of one moment: no call is missing and none there twice. */
const usage = (who: "application" | "source") => {
  const [counted, live] =
    who === "application"
      ? ["u.application_id = $1", "v.application_id = $1"]
      : ["u.source_id = $1", "c.source_id = $1"];
  const other = who === "application" ? "source_id" : "application_id";
  return statement(
    `usage.of-${who}`,
    `SELECT day::text AS date, application_id AS "applicationId", source_id AS "sourceId", purpose,
       sum(answered)::float8 AS answered, sum(unknown)::float8 AS unknown, sum(shared)::float8 AS shared,
       sum(cost_fen)::float8 AS "costFen"
     FROM (
       SELECT day, application_id, source_id, purpose, answered, 0 AS unknown, shared, cost_fen
       FROM trust.usage_day u WHERE ${counted} AND day >= $2::date AND day < $3::date
       UNION ALL
       SELECT ${DAY}, coalesce(v.application_id, ''), c.source_id, v.purpose,
         c.billed, (c.call_state IN ('OPEN', 'UNKNOWN'))::integer, (c.call_state = 'SHARED')::integer,
         c.billed * ${PRICE}
       FROM trust.source_check c JOIN trust.verification v USING (verification_id)
       WHERE NOT c.counted AND ${live}
         AND c.asked_at_ms >= extract(epoch FROM $2::date) * 1000 AND c.asked_at_ms < extract(epoch FROM $3::date) * 1000
     ) AS calls
     WHERE (day, ${other}, purpose) > ($4::date, $5, $6)
     GROUP BY day, application_id, source_id, purpose ORDER BY day, ${other}, purpose LIMIT $7`,
  );
};
const selectUsage = { application: usage("application"), source: usage("source") };

/** Writes how calls ended, in the transaction that keeps what they said. An end that is there stays. */
export function endCalls(tx: Transaction, ends: readonly CallEnd[], nowMs: number): void {
  if (ends.length === 0) return;
  tx.send(
    endRows(
      ends.map(({ bizSeq }) => bizSeq),
      ends.map(({ end }) => end),
      ends.map(({ billed }) => billed),
      nowMs + LOOK_AFTER_MS,
    ),
  );
}

/** Counts questions that a word at hand answered, so that no check was made for them. */
export function shareCalls(
  tx: Transaction,
  questions: readonly { readonly verificationId: string; readonly sourceId: string }[],
  nowMs: number,
): void {
  if (questions.length === 0) return;
  tx.send(
    insertShared(
      questions.map(({ verificationId }) => verificationId),
      questions.map(({ sourceId }) => sourceId),
      nowMs,
    ),
  );
}

/** Marks calls that nobody ended as unknown. Returns how many. */
export async function closeLeftCalls(db: Queryable, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(closeRows(nowMs, nowMs - LOOK_AFTER_MS, batchMax))).rowCount;
}

/** When the oldest call was made of which nobody knows what became; undefined: there is none. */
export async function oldestUnknownCall(db: Queryable): Promise<number | undefined> {
  return (await db.query<{ askedAtMs: number }>(selectOldestUnknown())).rows[0]?.askedAtMs;
}

export interface DueCall {
  readonly bizSeq: string;
  readonly sourceId: string;
  readonly askedAtMs: number;
  /** This look included. */
  readonly looks: number;
  /** Its verification goes on asking under the same bizSeq. */
  readonly pending: boolean;
}

/** Takes unknown calls whose time to look has come. Replicas never get the same one. */
export async function claimUnknownCalls(
  db: Queryable,
  times: { readonly nowMs: number; readonly leaseUntilMs: number },
  limit: number,
): Promise<DueCall[]> {
  const rows = await db.query<{ [K in keyof DueCall]: DueCall[K] }>(claimRows(times.nowMs, times.leaseUntilMs, limit));
  return rows.rows;
}

/** Looks again then; undefined: never again. */
export async function postponeLook(db: Queryable, bizSeq: string, lookAtMs: number | undefined): Promise<void> {
  await db.query(postponeRow(bizSeq, lookAtMs ?? null));
}

/** Adds at most `batchMax` ended calls to their days. Returns how many. */
export async function countCalls(db: Queryable, batchMax: number): Promise<number> {
  return (await db.query<{ counted: number }>(countRows(batchMax))).rows[0]?.counted ?? 0;
}

/** Keeps the prices from now on, where they changed. */
export async function keepPrices(
  db: Queryable,
  sources: readonly { readonly id: string; readonly priceFen: number }[],
  nowMs: number,
): Promise<void> {
  const ids = sources.map(({ id }) => id);
  const prices = sources.map(({ priceFen }) => priceFen);
  await db.query(putPrices(ids, prices, nowMs));
}

export interface UsageRow {
  readonly date: string;
  readonly applicationId: string;
  readonly sourceId: string;
  readonly purpose: string;
  readonly answered: number;
  readonly unknown: number;
  readonly shared: number;
  readonly costFen: number;
}

export interface UsageQuery {
  readonly of: "application" | "source";
  readonly id: string;
  readonly days: Days;
  /** The last row's day, other side and purpose. */
  readonly after: readonly [string, string, string] | undefined;
  readonly limit: number;
}

export async function readUsage(db: Queryable, { of, id, days, after, limit }: UsageQuery): Promise<UsageRow[]> {
  const cursor = after ?? [days.start, "", ""];
  const query = selectUsage[of](id, days.start, days.end, ...cursor, limit);
  return (await db.query<{ [K in keyof UsageRow]: UsageRow[K] }>(query)).rows;
}

export async function purgeUsage(db: Queryable, beforeDay: string, batchMax: number): Promise<number> {
  return (await db.query(purgeRows(beforeDay, batchMax))).rowCount;
}
