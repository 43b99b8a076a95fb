import type { Any } from "@bufbuild/protobuf/wkt";
import type { Clock } from "../clock/index.ts";
import { type Database, statement, type Transaction, transaction } from "../db/index.ts";

export interface FollowedEvent {
  readonly event: Any;
  readonly resumeToken: string;
  readonly atMs: number;
}

/** Where a follower keeps what it follows: the position, and what the events say. */
export interface Keeper {
  /** The token to go on from, or no token when another replica follows. */
  begin(): Promise<{ readonly token: string | undefined; readonly freshAtMs: number }>;
  /** How long to stand by before asking again. */
  readonly standbyMs: number;
  /** Applies the events and moves the position, both or neither. @throws LeaseLostError */
  apply(events: readonly FollowedEvent[]): Promise<void>;
  /** Everything up to then was applied. @throws LeaseLostError */
  fresh(atMs: number): Promise<void>;
  /** Forgets the position. */
  reset(): Promise<void>;
  /** Lets another replica follow. */
  end(): Promise<void>;
}

/** Another replica follows now: this one had paused for longer than its lease. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
}

export interface DatabaseKeeperOptions {
  readonly db: Database;
  readonly topic: string;
  readonly clock: Clock;
  readonly leaseMs: number;
  /** A UUID of this follower. */
  readonly id: string;
  readonly apply: (tx: Transaction, event: Any, atMs: number) => Promise<void>;
  readonly reset?: (tx: Transaction) => Promise<void>;
}

const takeLease = statement(
  "kit.feed-position.take",
  `INSERT INTO kit.feed_position AS p (topic, holder, lease_until_ms) VALUES ($1, $2, $3)
   ON CONFLICT (topic) DO UPDATE SET holder = excluded.holder, lease_until_ms = excluded.lease_until_ms
   WHERE p.lease_until_ms <= $4 OR p.holder = excluded.holder
   RETURNING resume_token AS token, fresh_at_ms::float8 AS "freshAtMs"`,
);
const readFreshness = statement(
  "kit.feed-position.fresh",
  `SELECT fresh_at_ms::float8 AS "freshAtMs" FROM kit.feed_position WHERE topic = $1`,
);
// The holder's row is locked first: another replica that takes over waits for this transaction.
const moveTo = statement(
  "kit.feed-position.move",
  `UPDATE kit.feed_position SET resume_token = $3, lease_until_ms = $4 WHERE topic = $1 AND holder = $2`,
);
const keepFresh = statement(
  "kit.feed-position.heartbeat",
  `UPDATE kit.feed_position SET fresh_at_ms = greatest(fresh_at_ms, $3), lease_until_ms = $4
   WHERE topic = $1 AND holder = $2`,
);
const giveBack = statement(
  "kit.feed-position.give-back",
  `UPDATE kit.feed_position SET lease_until_ms = 0 WHERE topic = $1 AND holder = $2`,
);

/** Keeps the position in kit.feed_position, under a lease that one replica holds at a time. */
export function databaseKeeper({ db, topic, clock, leaseMs, id, apply, reset }: DatabaseKeeperOptions): Keeper {
  const leaseUntilMs = (): number => clock.nowMs() + leaseMs;
  const move = async (tx: Transaction, token: string): Promise<void> => {
    const { rowCount } = await tx.query(moveTo(topic, id, token, leaseUntilMs()));
    if (rowCount !== 1) throw new LeaseLostError(`another replica follows ${topic}`);
  };
  return {
    standbyMs: Math.round(leaseMs / 5),
    begin: async () => {
      const taken = await db.query<{ token: string; freshAtMs: number }>(
        takeLease(topic, id, leaseUntilMs(), clock.nowMs()),
      );
      const [row] = taken.rows;
      if (row !== undefined) return row;
      const { rows } = await db.query<{ freshAtMs: number }>(readFreshness(topic));
      return { token: undefined, freshAtMs: rows[0]?.freshAtMs ?? 0 };
    },
    apply: (events) =>
      transaction(db, async (tx) => {
        await move(tx, events.at(-1)?.resumeToken ?? "");
        for (const { event, atMs } of events) await apply(tx, event, atMs);
      }),
    fresh: async (atMs) => {
      const { rowCount } = await db.query(keepFresh(topic, id, atMs, leaseUntilMs()));
      if (rowCount !== 1) throw new LeaseLostError(`another replica follows ${topic}`);
    },
    reset: () =>
      transaction(db, async (tx) => {
        await move(tx, "");
        await reset?.(tx);
      }),
    end: async () => {
      await db.query(giveBack(topic, id));
    },
  };
}

/** Keeps the position in memory: a new process begins at the oldest event. */
export function memoryKeeper(apply: (event: Any, atMs: number) => void | Promise<void>): Keeper {
  let token = "";
  return {
    standbyMs: 0,
    begin: async () => ({ token, freshAtMs: 0 }),
    apply: async (events) => {
      for (const { event, resumeToken, atMs } of events) {
        await apply(event, atMs);
        token = resumeToken;
      }
    },
    fresh: async () => {},
    reset: async () => {
      token = "";
    },
    end: async () => {},
  };
}
