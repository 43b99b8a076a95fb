/**
 * What stands around every source, so that one that is ill harms nobody else:
 *
 *   maintenance? ─▶ bulkhead ─▶ breaker ─▶ timeout ─▶ the adapter
 *        ▲                                               │
 *        └── unknown: ask for the outcome ◀── retry ◀────┘  away or unknown, a bounded number of times
 *
 * A mismatch is a success of the source: only its availability moves the breaker. Repeats carry the same bizSeq, and
 * where the answer may have been given, the outcome is asked for first: nothing is paid twice.
 */

import type { Clock } from "@fujie/kit/clock";
import { backoffMs, type Timers } from "@fujie/kit/timers";
import {
  BrokenCircuitError,
  bulkhead,
  CircuitState,
  circuitBreaker,
  handleWhen,
  SamplingBreaker,
  TimeoutStrategy,
  timeout,
  wrap,
} from "cockatiel";
import { latencyWindow } from "./latency.ts";
import {
  type Answer,
  type Check,
  type MaintenanceWindow,
  type Source,
  SourceError,
  type SourceFacts,
} from "./source.ts";

export interface GuardLimits {
  /** Calls to one source at once, and those that may wait for a place. */
  readonly concurrencyMax: number;
  readonly queueMax: number;
  /** For one call. */
  readonly timeoutMs: number;
  /** Calls for one check, the first one included. */
  readonly attemptsMax: number;
  readonly retryBaseMs: number;
  /** The breaker opens when half of at least `breakerCallsMin` calls in `breakerWindowMs` found nobody. */
  readonly breakerWindowMs: number;
  readonly breakerCallsMin: number;
  /** How long it stays open before one call tries again. */
  readonly breakMs: number;
}

export interface GuardOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: GuardLimits;
  /** Aborted when the service stops: nobody waits to try again. */
  readonly stopping: AbortSignal;
}

export interface GuardedSource extends SourceFacts, Disposable {
  /**
   * Answers the check. `mayBePaid`: it was asked before and the answer was lost.
   * Throws SourceError when no answer is to be had now.
   */
  ask(check: Check, mayBePaid: boolean): Promise<Answer>;
  /** Whether calls are let through to it now. */
  isAvailable(): boolean;
  p95Ms(): number | undefined;
  /** Asks the source for its announced maintenance. Never throws. */
  refresh(): Promise<void>;
}

/** Bounds of the wait between attempts. */
const RETRY_CAP_MS = 2_000;

export function guardSource(source: Source, { clock, timers, limits, stopping }: GuardOptions): GuardedSource {
  const latency = latencyWindow(clock);
  const breaker = circuitBreaker(handleWhen(isAbsence), {
    halfOpenAfter: limits.breakMs,
    breaker: new SamplingBreaker({
      threshold: 0.5,
      duration: limits.breakerWindowMs,
      minimumRps: (limits.breakerCallsMin * 1_000) / limits.breakerWindowMs,
    }),
  });
  const around = wrap(bulkhead(limits.concurrencyMax, limits.queueMax), breaker);
  let windows: readonly MaintenanceWindow[] = [];
  const inMaintenance = () => windows.some(({ startMs, endMs }) => startMs <= clock.nowMs() && clock.nowMs() < endMs);

  async function guarded<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (inMaintenance()) throw new SourceError("AWAY", "announced maintenance");
    const limit = timeout(limits.timeoutMs, TimeoutStrategy.Aggressive);
    try {
      return await around.execute(async () => {
        const startedMs = clock.nowMs();
        const result = await limit.execute(async (_, signal) => call(signal)).catch(toUnknown);
        latency.record(clock.nowMs() - startedMs);
        return result;
      });
    } catch (error) {
      if (error instanceof SourceError) throw error;
      const what = error instanceof BrokenCircuitError ? "not called: it was away" : "not called: too many calls";
      throw new SourceError("AWAY", what, { cause: error });
    }
  }

  async function askOnce(check: Check, mayBePaid: boolean): Promise<Answer> {
    const known = mayBePaid ? await guarded((signal) => source.findOutcome(check, signal)) : undefined;
    return known ?? guarded((signal) => source.check(check, signal));
  }

  async function ask(check: Check, mayBePaid: boolean): Promise<Answer> {
    let unknown = mayBePaid;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await askOnce(check, unknown);
      } catch (error) {
        const again = isAbsence(error) && attempt < limits.attemptsMax && isPassing(breaker.state) && !stopping.aborted;
        if (!again) throw error;
        unknown ||= error instanceof SourceError && error.fault === "UNKNOWN";
        await timers.sleep(backoffMs(attempt, { baseMs: limits.retryBaseMs, capMs: RETRY_CAP_MS }), stopping);
      }
    }
  }

  const { id, kind, claimTypes, level, priceFen, usualLatencyMs } = source;
  return {
    id,
    kind,
    claimTypes,
    level,
    priceFen,
    usualLatencyMs,
    ask,
    isAvailable: () => isPassing(breaker.state) && !inMaintenance(),
    p95Ms: () => latency.p95Ms(),
    refresh: async () => {
      const describe = source.describe;
      if (describe === undefined) return;
      const limit = timeout(limits.timeoutMs, TimeoutStrategy.Aggressive);
      // What was announced stays true while the source cannot be asked.
      windows = await limit.execute(async (_, signal) => describe(signal)).catch(() => windows);
    },
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}

function isPassing(state: CircuitState): boolean {
  return state === CircuitState.Closed || state === CircuitState.HalfOpen;
}

/** Whether the source could not be reached or said that it is away: what breakers count and retries repeat. */
function isAbsence(error: unknown): boolean {
  return error instanceof SourceError && (error.fault === "AWAY" || error.fault === "UNKNOWN");
}

/** A timeout, or a fault of the adapter: whether the check was paid is not known. */
function toUnknown(error: unknown): never {
  throw error instanceof SourceError ? error : new SourceError("UNKNOWN", "no answer in time", { cause: error });
}
