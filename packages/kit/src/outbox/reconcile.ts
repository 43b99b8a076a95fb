// Whether everything that was recorded reaches the audit log:
//
//   enqueue counts in its own transaction ─▶ here: enqueued and waiting, read in one moment ─▶ audit compares them with
//   what it has sealed
//
// A row that somebody deletes from the outbox is then enqueued, waits no more, and is not sealed.

import { type Database, type Queryable, statement, transaction } from "../db/index.ts";
import type { Logger } from "../log/index.ts";
import type { Telemetry } from "../telemetry/index.ts";
import { systemTimers, type Timers } from "../timers/index.ts";
import { COUNTED_DESTINATION } from "./enqueue.ts";

/** Of one moment: events for the audit log that were ever enqueued, and those of them that wait. */
export interface OutboxNumbers {
  readonly enqueued: number;
  readonly waiting: number;
}

/** Tells the numbers to audit; gives how many events are missing, negative when the count itself was set back. */
export type TellNumbers = (numbers: OutboxNumbers, signal: AbortSignal) => Promise<number>;

export interface ReconcileOptions {
  readonly db: Database;
  readonly tell: TellNumbers;
  readonly log: Pick<Logger, "warn" | "error">;
  readonly timers?: Timers;
  /** Gets the gauge fujie.outbox.missing. */
  readonly telemetry?: Pick<Telemetry, "observeGauge">;
  /** Default 10 s. */
  readonly everyMs?: number;
}

const TELL_TIMEOUT_MS = 5_000;
/** Beyond so many rows they are folded into one. */
const ROWS_MAX = 1_000;

const readNumbers = statement(
  "kit.outbox.numbers",
  `SELECT (SELECT coalesce(sum(n), 0)::float8 FROM kit.outbox_enqueued) AS enqueued,
     (SELECT count(*)::float8 FROM kit.outbox_enqueued) AS rows,
     (SELECT coalesce(sum(events), 0)::float8 FROM kit.outbox WHERE destination = $1) AS waiting`,
);
const foldRows = statement(
  "kit.outbox.fold",
  `WITH folded AS (DELETE FROM kit.outbox_enqueued RETURNING n)
   INSERT INTO kit.outbox_enqueued (n) SELECT sum(n) FROM folded HAVING count(*) > 0`,
);
const lockNumbers = statement(
  "kit.outbox.lock-numbers",
  `SELECT pg_try_advisory_xact_lock(hashtextextended('kit.outbox_enqueued', 0)) AS taken`,
);

/** Reconciles the outbox with the audit log until disposed, one replica at a time. */
export function startReconciling(options: ReconcileOptions): AsyncDisposable {
  const { log, timers = systemTimers, telemetry, everyMs = 10_000 } = options;
  const stop = new AbortController();
  let missing = 0;
  const gauge = telemetry?.observeGauge("fujie.outbox.missing", "Events that never reached the audit log", () =>
    Math.abs(missing),
  );
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await timers.sleep(everyMs, stop.signal);
      if (stop.signal.aborted) return;
      try {
        const found = await reconcileOnce(options, stop.signal);
        if (found === undefined) continue;
        if (found !== missing && found !== 0)
          log.error({ missing: found }, "events were removed from the outbox, or their count was set back");
        missing = found;
      } catch (error) {
        log.warn({ error }, "the outbox was not reconciled with the audit log");
      }
    }
  };
  const running = run();
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      gauge?.[Symbol.dispose]();
    },
  };
}

/** Undefined when another replica does it. The lock keeps the numbers in the order in which they were read. */
async function reconcileOnce({ db, tell }: ReconcileOptions, stopping: AbortSignal): Promise<number | undefined> {
  const result = await transaction(db, async (tx) => {
    if ((await tx.query<{ taken: boolean }>(lockNumbers())).rows[0]?.taken !== true) return undefined;
    const numbers = await read(tx);
    const signal = AbortSignal.any([stopping, AbortSignal.timeout(TELL_TIMEOUT_MS)]);
    return { rows: numbers.rows, missing: await tell(numbers, signal) };
  });
  if (result !== undefined && result.rows > ROWS_MAX) await db.query(foldRows());
  return result?.missing;
}

async function read(db: Queryable): Promise<OutboxNumbers & { readonly rows: number }> {
  const query = readNumbers(COUNTED_DESTINATION);
  const [row] = (await db.query<{ enqueued: number; waiting: number; rows: number }>(query)).rows;
  if (row === undefined) throw new Error("the outbox could not be counted");
  return row;
}
