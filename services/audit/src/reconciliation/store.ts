import { type Queryable, statement } from "@fujie/kit/db";

const compareNumbers = statement(
  "audit.reconciliation.compare",
  `INSERT INTO audit.reconciliation AS kept (service, enqueued, waiting, missing, checked_at_ms)
   SELECT $1, $2, $3, audit.missing_events($1, $2, $3), $4
   ON CONFLICT (service) DO UPDATE SET enqueued = greatest(kept.enqueued, excluded.enqueued),
     waiting = excluded.waiting, missing = excluded.missing, checked_at_ms = excluded.checked_at_ms
   RETURNING missing::float8 AS missing`,
);
const findMissing = statement(
  "audit.reconciliation.find",
  `SELECT missing::float8 AS missing FROM audit.reconciliation WHERE service = $1 FOR UPDATE`,
);

export interface ToldNumbers {
  readonly enqueued: number;
  readonly waiting: number;
}

/**
 * Compares what a service counted with what is sealed, and keeps the comparison. Gives how many events are missing and
 * how many were the last time; negative when more is sealed, or was told before, than the service counts now.
 */
export async function compareWithSealed(
  tx: Queryable,
  service: string,
  { enqueued, waiting }: ToldNumbers,
  nowMs: number,
): Promise<{ missing: number; before: number }> {
  const [last] = (await tx.query<{ missing: number }>(findMissing(service))).rows;
  const [now] = (await tx.query<{ missing: number }>(compareNumbers(service, enqueued, waiting, nowMs))).rows;
  return { missing: now?.missing ?? 0, before: last?.missing ?? 0 };
}
