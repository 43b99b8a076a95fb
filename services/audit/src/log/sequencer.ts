import { type Clock, systemClock } from "@fujie/kit/clock";
import type { Connection, Database } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import { backoffMs, type Timers } from "@fujie/kit/timers";
import { startOfMonthMs } from "../retention/rules.ts";
import { recoverLog, type TreeHead } from "./recovery.ts";
import { freeLead, stillLeads, tryLead } from "./store.ts";
import { interrupted, rejectAll, startTerm, type Term, type Waiting } from "./term.ts";

export interface SequencerOptions {
  readonly db: Database;
  readonly ring: Pick<KeyRing, "sign" | "publicKeys">;
  /** Name of the log, in its checkpoints and signatures. */
  readonly origin: string;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly timers: Timers;
  /** Tells when a month begins. Default: the system's. */
  readonly clock?: Clock;
  /** Entries of one partition: a multiple of 256, and at least 4,096 so that two batches never outrun it. */
  readonly partitionEntries?: number;
}

/** The one writer of the log among all replicas. */
export interface Sequencer extends AsyncDisposable {
  /** Seals entries in this order; all are rejected at once where this replica does not lead. */
  append(entries: readonly Waiting[]): void;
  isLeading(): boolean;
  /** Entries in the log, as the leader knows; 0 where this replica does not lead. */
  size(): number;
}

const PARTITION_ENTRIES = 2 ** 22;
const STANDBY_POLL_MS = 500;
const HEARTBEAT_MS = 1_000;
const RESTART_BACKOFF = { baseMs: 100, capMs: 10_000 };

/**
 * Leads the log for as long as it has the lock, and takes over when the leader's session ends:
 *
 *   standby ──lock──▶ recovery ──▶ term ──any failure──▶ lock given back ──▶ standby
 *
 * The lock is for order only. Safe is the epoch: a leader that is cut off and still believes in its lead cannot move
 * the head any more.
 */
export function openSequencer(options: SequencerOptions): Sequencer {
  const { db, ring, origin, log, timers, partitionEntries = PARTITION_ENTRIES, clock = systemClock } = options;
  const stop = new AbortController();
  let term: Term | undefined;
  let signed: TreeHead | undefined;
  const rememberSigned = (head: TreeHead): void => {
    if (signed === undefined || head.size > signed.size) signed = head;
  };

  async function leadForEver(): Promise<void> {
    let failures = 0;
    while (!stop.signal.aborted) {
      try {
        const led = await leadOnce();
        failures = 0;
        if (!led) await timers.sleep(STANDBY_POLL_MS, stop.signal);
      } catch (error) {
        failures += 1;
        log.error({ error }, "the log cannot be led");
        await timers.sleep(backoffMs(failures, RESTART_BACKOFF), stop.signal);
      }
    }
  }

  /** Leads until the term ends; false when another replica leads. */
  async function leadOnce(): Promise<boolean> {
    const connection = await db.connect();
    try {
      if (!(await tryLead(connection))) return false;
      const monthStartMs = startOfMonthMs(clock.nowMs());
      const recovered = await recoverLog({ db, ring, origin, partitionEntries, monthStartMs, log }, signed);
      const term = startTerm({ db, ring, origin, partitionEntries, onSign: rememberSigned }, recovered);
      await serveTerm(term, connection, monthStartMs);
      await freeLead(connection);
      return true;
    } finally {
      // The lock belongs to the session: ending it gives the lock back in every case.
      connection.release(true);
    }
  }

  async function serveTerm(started: Term, connection: Connection, monthStartMs: number): Promise<void> {
    const over = new AbortController();
    const ended = started.ended.then((reason) => {
      over.abort();
      if (!stop.signal.aborted) log.warn({ error: reason }, "the lead over the log ended");
    });
    term = started;
    log.info({ size: started.size }, "leading the log");
    await keepLead(started, connection, AbortSignal.any([stop.signal, over.signal]), monthStartMs);
    term = undefined;
    // Stopped on purpose: what was taken in is finished first.
    if (!over.signal.aborted) await Promise.race([started.settled(), ended]);
    started.end(interrupted());
    await ended;
  }

  /** Until the term is over, or a month begins: the next term begins on a partition of its own. */
  async function keepLead(
    started: Term,
    connection: Connection,
    over: AbortSignal,
    monthStartMs: number,
  ): Promise<void> {
    while (!over.aborted) {
      await timers.sleep(HEARTBEAT_MS, over);
      if (over.aborted || startOfMonthMs(clock.nowMs()) > monthStartMs) return;
      const leads = await stillLeads(connection).catch(() => false);
      if (!leads) started.end(new Error("the lock of the lead is lost"));
    }
  }

  const running = leadForEver();
  return {
    append: (entries) => (term === undefined ? rejectAll(entries) : term.append(entries)),
    isLeading: () => term?.isOver === false,
    size: () => term?.size ?? 0,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}
