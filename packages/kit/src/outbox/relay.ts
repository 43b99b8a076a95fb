// The life of a message:
//
//   enqueue ──commit──▶ due ──claim (lease)──▶ out ──acknowledged──▶ deleted
//                        ▲                      │
//                        ├──── refused ─────────┤   at once, or after a pause when it was alone
//                        └──── lease over ──────┘   the relay was killed
//
// No transaction is open while a message is out: a destination that hangs holds back neither vacuum nor feeds. Killed
// at any point, a relay leaves rows that are due or become due; the destination sees the same id again.

import type { Clock } from "../clock/index.ts";
import type { Database } from "../db/index.ts";
import { DomainError, reasons } from "../errors/index.ts";
import type { Logger } from "../log/index.ts";
import type { Telemetry } from "../telemetry/index.ts";
import { backoffMs, createNudge, type Nudge, systemTimers, type Timers } from "../timers/index.ts";
import { type Claim, claimRows, claimRowsInOrder, type OutboxRow, oldestMs, removeRows, returnRows } from "./store.ts";

/** A message as its destination gets it. */
export interface Delivery {
  readonly id: string;
  readonly payload: Uint8Array;
}

/**
 * Resolves when the destination has made every message of the batch durable; rejects when it refuses any. The signal
 * ends the attempt in time. Messages may come again under the same id.
 */
export type Deliver = (batch: readonly Delivery[], signal: AbortSignal) => Promise<void>;

/**
 * `ordered`: in commit order, one batch at a time among all relays, and a refused message holds up those behind it.
 * Otherwise replicas deliver side by side, and a refused message is set aside while the others pass.
 */
export type Destination = Deliver | { readonly deliver: Deliver; readonly ordered: boolean };

type OutboxTelemetry = Pick<Telemetry, "observeGauge">;

export interface RelayOptions {
  readonly db: Database;
  readonly destinations: Readonly<Record<string, Destination>>;
  readonly batchMax: number;
  readonly log: Pick<Logger, "warn">;
  readonly clock: Clock;
  readonly timers?: Timers;
  /** Gets the gauge fujie.outbox.lag, in milliseconds by destination, measured every few seconds. */
  readonly telemetry?: OutboxTelemetry;
  /** For one attempt. Default 10 s. The lease is three times as long. */
  readonly deliverTimeoutMs?: number;
  /** How soon messages of other processes are found; those of this process nudge. Default 1 s. */
  readonly pollMs?: number;
}

export interface Relay extends AsyncDisposable {
  /** Looks for messages now. Commits that enqueued through this process's database do so by themselves. */
  nudge(): void;
  /** By destination, how old the oldest message that waits is; 0 when none does. */
  lagMs(): Promise<Readonly<Record<string, number>>>;
}

const LAG_EVERY_MS = 5_000;
const DESTINATION_BACKOFF = { baseMs: 100, capMs: 10_000 };
const MESSAGE_BACKOFF = { baseMs: 1_000, capMs: 300_000 };

/**
 * A message that was handed out more often than this goes alone, after the others: by then halving has told a bad
 * message from a bad moment.
 */
const SUSPECT_ATTEMPTS = 10;

/** Delivers the outbox until disposed. Each destination has a loop of its own, so that one cannot hold up another. */
export function startRelay(options: RelayOptions): Relay {
  const stop = new AbortController();
  const lanes = Object.entries(options.destinations).map(([name, destination]) => openLane(options, name, destination));
  const nudge = (): void => {
    for (const lane of lanes) lane.nudge.nudge();
  };
  const unlisten = options.db.listen("outbox", nudge);
  const running = [...lanes.map((lane) => runLane(lane, stop.signal)), measureLag(options, lanes, stop.signal)];
  return {
    nudge,
    lagMs: async () => Object.fromEntries(await Promise.all(lanes.map(async (lane) => [lane.name, await lagOf(lane)]))),
    [Symbol.asyncDispose]: async () => {
      unlisten();
      stop.abort();
      await Promise.all(running);
    },
  };
}

interface Lane {
  readonly name: string;
  readonly deliver: Deliver;
  readonly ordered: boolean;
  readonly nudge: Nudge;
  readonly db: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Pick<Logger, "warn">;
  readonly deliverTimeoutMs: number;
  readonly pollMs: number;
  readonly batchMax: number;
  /** Halved by a refusal, doubled by a success. */
  batchSize: number;
  /** Refusals in a row. */
  failures: number;
}

function openLane(options: RelayOptions, name: string, destination: Destination): Lane {
  const { deliver, ordered } =
    typeof destination === "function" ? { deliver: destination, ordered: false } : destination;
  return {
    name,
    deliver,
    ordered,
    nudge: createNudge(),
    db: options.db,
    clock: options.clock,
    timers: options.timers ?? systemTimers,
    log: options.log,
    deliverTimeoutMs: options.deliverTimeoutMs ?? 10_000,
    pollMs: options.pollMs ?? 1_000,
    batchMax: options.batchMax,
    batchSize: options.batchMax,
    failures: 0,
  };
}

async function lagOf({ db, name, clock }: Lane): Promise<number> {
  const oldest = await oldestMs(db, name);
  return oldest === undefined ? 0 : Math.max(0, clock.nowMs() - oldest);
}

async function measureLag(
  { telemetry, log }: RelayOptions,
  lanes: readonly Lane[],
  signal: AbortSignal,
): Promise<void> {
  if (telemetry === undefined) return;
  const measured = new Map<string, number>();
  using gauges = new DisposableStack();
  for (const { name } of lanes) {
    const read = (): number => measured.get(name) ?? 0;
    gauges.use(
      telemetry.observeGauge("fujie.outbox.lag", "Age of the oldest message that waits", read, { destination: name }),
    );
  }
  while (!signal.aborted) {
    for (const lane of lanes) {
      try {
        measured.set(lane.name, await lagOf(lane));
      } catch (error) {
        log.warn({ error, destination: lane.name }, "outbox lag not measured");
      }
      await lane.timers.sleep(LAG_EVERY_MS / lanes.length, signal);
    }
  }
}

async function runLane(lane: Lane, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const found = await relayBatch(lane, signal);
      if (!found) await lane.nudge.wait(backoffMs(1, { baseMs: lane.pollMs, capMs: lane.pollMs }), lane.timers, signal);
    } catch (error) {
      lane.failures += 1;
      lane.log.warn({ error, destination: lane.name, failures: lane.failures }, "outbox delivery failed");
      await lane.timers.sleep(backoffMs(lane.failures, DESTINATION_BACKOFF), signal);
    }
  }
}

/** Delivers one batch. Returns whether there was one; throws when the destination or the database refused. */
async function relayBatch(lane: Lane, signal: AbortSignal): Promise<boolean> {
  const nowMs = lane.clock.nowMs();
  const claim: Claim = {
    destination: lane.name,
    nowMs,
    leaseUntilMs: nowMs + 3 * lane.deliverTimeoutMs,
    batchMax: lane.batchSize,
  };
  const rows = lane.ordered ? await claimRowsInOrder(lane.db, claim) : await claimRows(lane.db, claim);
  const { group, untried } = lane.ordered ? { group: rows, untried: [] } : chooseGroup(rows);
  if (group.length === 0) return false;
  // One attempt per claim keeps within the lease; the others are due again at once.
  await returnRows(lane.db, claim, untried, { notBeforeMs: nowMs, tried: false });
  try {
    await deliverInTime(lane, group, signal);
  } catch (error) {
    await returnRefused(lane, claim, group, error);
    throw error;
  }
  await removeRows(lane.db, lane.name, group);
  lane.batchSize = Math.min(lane.batchMax, lane.batchSize * 2);
  lane.failures = 0;
  return true;
}

/** A suspect whose turn it is goes alone; otherwise all that are not suspect go together. */
function chooseGroup(rows: readonly OutboxRow[]): { group: readonly OutboxRow[]; untried: readonly OutboxRow[] } {
  const [first, ...rest] = rows;
  if (first !== undefined && isSuspect(first)) return { group: [first], untried: rest };
  return { group: rows.filter((row) => !isSuspect(row)), untried: rows.filter(isSuspect) };
}

function isSuspect(row: OutboxRow): boolean {
  return row.attempts > SUSPECT_ATTEMPTS;
}

async function returnRefused(lane: Lane, claim: Claim, group: readonly OutboxRow[], error: unknown): Promise<void> {
  const nowMs = lane.clock.nowMs();
  const [first] = group;
  if (first !== undefined && group.length === 1 && !lane.ordered) {
    // Refused alone. Among successes it is a bad message, and its pause grows long; while everything fails, or when
    // the answer is that the destination is away, the message should not wait long after that is back.
    const capMs = lane.failures > 1 || isAway(error) ? DESTINATION_BACKOFF.capMs : MESSAGE_BACKOFF.capMs;
    const pauseMs = backoffMs(first.attempts, { ...MESSAGE_BACKOFF, capMs });
    return returnRows(lane.db, claim, group, { notBeforeMs: nowMs + pauseMs, tried: true });
  }
  lane.batchSize = Math.max(1, Math.floor(group.length / 2));
  await returnRows(lane.db, claim, group, { notBeforeMs: nowMs, tried: true });
}

/** The destination did not judge the message: it, or something that it needs, is down for now. */
function isAway(error: unknown): boolean {
  return error instanceof DomainError && reasons[error.reason].retryable;
}

async function deliverInTime(lane: Lane, group: readonly OutboxRow[], stopping: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const attempt = new AbortController();
  const timeout = lane.timers.sleep(lane.deliverTimeoutMs, settled.signal).then(() => {
    if (settled.signal.aborted) return;
    attempt.abort();
    const cause = new Error(`no acknowledgement within ${lane.deliverTimeoutMs} ms`);
    throw new DomainError("DEADLINE_EXCEEDED", { cause });
  });
  const onStop = (): void => attempt.abort();
  stopping.addEventListener("abort", onStop, { once: true });
  try {
    const batch = group.map(({ id, payload }) => ({ id, payload }));
    await Promise.race([lane.deliver(batch, attempt.signal), timeout]);
  } finally {
    stopping.removeEventListener("abort", onStop);
    settled.abort();
  }
}
