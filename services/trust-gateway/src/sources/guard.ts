/**
 * What stands around every source, so that one that is ill harms nobody else:
 *
 *   maintenance, breaker ─▶ gate (limiter, fair queue) ─▶ lawful still? ─▶ quota ─▶ breaker ─▶ replica ─▶ timeout ─▶ adapter
 *        ▲                                                                            (hedge)                          │
 *        └── unknown: ask for the outcome ◀── retry, within a budget ◀─────────────────────────────────────────────────┘
 *
 * A mismatch is a success of the source: only its availability moves the breaker. While the breaker is open nobody's
 * question is spent on finding out whether the source is back: it is asked about a bizSeq that nobody used, for nothing.
 * Repeats and hedges carry the same bizSeq, and where the answer may have been given, the outcome is asked for first:
 * nothing is paid twice.
 */

import { randomBytes } from "node:crypto";
import type { Clock } from "@fujie/kit/clock";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import type { Logger } from "@fujie/kit/log";
import { backoffMs, type Timers } from "@fujie/kit/timers";
import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  type IBreaker,
  SamplingBreaker,
  TimeoutStrategy,
  timeout,
} from "cockatiel";
import type { ClaimTypeName } from "../claims/rules.ts";
import { createBudget } from "./budget.ts";
import type { Claimant } from "./fair-queue.ts";
import { createGate } from "./gate.ts";
import { latencyWindow } from "./latency.ts";
import { createLimiter } from "./limiter.ts";
import { type SourceTerms, takeSourceQuota } from "./quota.ts";
import { type Assigned, createReplicas } from "./replicas.ts";
import {
  type Announcement,
  type Answer,
  type Check,
  type MaintenanceWindow,
  type Replica,
  type Source,
  SourceError,
  type SourceFacts,
} from "./source.ts";

export interface GuardLimits {
  /** Calls to one source at once at most, and those that may wait for a place. */
  readonly concurrencyMax: number;
  readonly queueMax: number;
  /** For one call at most; a source that is usually quick is given up sooner. */
  readonly timeoutMs: number;
  /** Calls for one check, the first one included. */
  readonly attemptsMax: number;
  readonly retryBaseMs: number;
  /** The breaker opens when half of at least `breakerCallsMin` calls in `breakerWindowMs` found nobody. */
  readonly breakerWindowMs: number;
  readonly breakerCallsMin: number;
  /** How long it stays open before it is found out whether the source is back. */
  readonly breakMs: number;
}

export interface GuardOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: GuardLimits;
  /** Aborted when the service stops: nobody waits to try again. */
  readonly stopping: AbortSignal;
  readonly ephemeral: Pick<Ephemeral, "takeToken" | "increment">;
  /** On which terms the registry lets the source be asked now; undefined: it does not, and nothing is sent to it. */
  readonly terms: (sourceId: string) => Promise<SourceTerms | undefined>;
  readonly log: Pick<Logger, "warn">;
  readonly random?: () => number;
}

/** On whose behalf a source is asked. */
export interface Turn extends Claimant {
  /** It was asked before under this bizSeq and the answer was lost. */
  readonly mayBePaid: boolean;
  /** Nobody needs the answer any more. What has not been sent is dropped; what has been sent is heard to its end. */
  readonly signal?: AbortSignal;
}

/** Why a source is not asked now. */
export type Hindrance = "MAINTENANCE" | "UNAVAILABLE" | "QUOTA";

/** What operators see of a source beside its latency. */
export interface GuardState {
  readonly breaker: "CLOSED" | "OPEN" | "HALF_OPEN";
  readonly limit: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly replicasEjected: number;
  /** Since the start. */
  readonly hedges: number;
  readonly retries: number;
  readonly reused: number;
}

export interface GuardedSource extends SourceFacts, Disposable {
  /** What it is asked for: what is configured, as far as it says itself that it answers it. May change at any time. */
  readonly claimTypes: readonly ClaimTypeName[];
  /** The configured level, or what it says itself where that is less. May change at any time. */
  readonly level: number;
  /** What is configured, and not offered by the source itself. */
  notOffered(): readonly ClaimTypeName[];
  /** Answers the check. Throws SourceError when no answer is to be had now. */
  ask(check: Check, turn: Turn): Promise<Answer>;
  /** As Source.wasAnswered, within the timeout. */
  wasAnswered(bizSeq: string, signal: AbortSignal): Promise<boolean>;
  /** Undefined while calls are let through to it, on these terms. */
  hindrance(terms: SourceTerms): Hindrance | undefined;
  /** Whether a question of this claimant would be taken, or find a place to wait. */
  admits(claimant: Claimant): boolean;
  /** When one that is not admitted may come again. */
  retryAfterMs(): number;
  /** Counts a question that a word of the source's was at hand for. */
  noteReuse(): void;
  /** What it announced. */
  maintenance(): readonly MaintenanceWindow[];
  p95Ms(): number | undefined;
  /**
   * Resolves with true once it has answered nobody for longer than its 99th percentile, though not within 250 ms, since
   * this call, and its budget for repeated calls bears that another source is asked in its place. False: it does not,
   * or the signal was aborted. Never throws.
   */
  fallsSilent(signal: AbortSignal): Promise<boolean>;
  state(): GuardState;
  /** Asks the source for its announced maintenance. Never throws. */
  refresh(): Promise<void>;
}

/** Bounds of the wait between attempts. */
const RETRY_CAP_MS = 2_000;
/** Retries are a tenth of the calls at most, and a few for a source that is seldom asked. */
const RETRY_SHARE = 0.1;
const RETRIES_KEPT = 3;
const HEDGE_SHARE = 0.05;
const HEDGES_KEPT = 5;
/** So many calls in a row that found nobody open the breaker, however seldom it is called. */
const ABSENCES_MAX = 5;
/** A call is given up at this many times the usual latency, though not sooner than the least. */
const PATIENCE = 8;
const PATIENCE_MS_MIN = 1_000;
/** So long nobody takes it for silent, however quick it usually is. */
const SILENCE_MS_MIN = 250;
/** The limiter leaves a source at least this part of its places. */
const LIMIT_SHARE_MIN = 0.25;
/** How long a source that says that it is over its quota is left alone when it does not say. */
const QUOTA_MS = 1_000;
const BIZ_SEQ_BYTES = 16;

export function guardSource(source: Source, options: GuardOptions): GuardedSource {
  const { clock, timers, limits, stopping, ephemeral, terms, log, random = Math.random } = options;
  const latency = latencyWindow(clock);
  const limiter = createLimiter({
    min: Math.max(1, Math.floor(limits.concurrencyMax * LIMIT_SHARE_MIN)),
    max: limits.concurrencyMax,
  });
  const gate = createGate({ clock, limiter, queueMax: limits.queueMax, waitMsMax: limits.timeoutMs });
  const replicas = createReplicas(source.replicas ?? [source], { clock, ejectMs: limits.breakMs, random });
  const breaker = circuitBreaker(handleWhen(isAbsence), {
    // `findOutWhenBack` alone waits, on our own timers, and alone tries.
    halfOpenAfter: 0,
    breaker: eitherBreaker(
      new ConsecutiveBreaker(ABSENCES_MAX),
      new SamplingBreaker({
        threshold: 0.5,
        duration: limits.breakerWindowMs,
        minimumRps: (limits.breakerCallsMin * 1_000) / limits.breakerWindowMs,
      }),
    ),
  });
  const retryBudget = createBudget(RETRY_SHARE, RETRIES_KEPT, true);
  const hedgeBudget = createBudget(HEDGE_SHARE, HEDGES_KEPT, false);
  const closing = new AbortController();
  const closed = AbortSignal.any([stopping, closing.signal]);
  let announced: Announcement = { maintenance: [] };
  let offer: Offer = { claimTypes: source.claimTypes, level: source.level, notOffered: [] };
  let overQuota: { readonly untilMs: number; readonly terms: SourceTerms | undefined } = {
    untilMs: 0,
    terms: undefined,
  };
  let answeredAtMs = 0;
  let looking = false;
  let hedges = 0;
  let retries = 0;
  let reused = 0;

  const inMaintenance = () =>
    announced.maintenance.some(({ startMs, endMs }) => startMs <= clock.nowMs() && clock.nowMs() < endMs);
  // What we count ourselves holds for as long as the registry's terms do.
  const isOverQuota = (present: SourceTerms) =>
    clock.nowMs() < overQuota.untilMs && (overQuota.terms === undefined || isSame(overQuota.terms, present));
  const timeoutMs = () =>
    Math.min(limits.timeoutMs, Math.max(PATIENCE_MS_MIN, PATIENCE * (latency.p95Ms() ?? source.usualLatencyMs)));

  breaker.onBreak(() => {
    gate.clear(new SourceError("AWAY", "not called: it was away"));
    void findOutWhenBack();
  });

  /** Asks for nothing, until there is an answer: only then are questions let through again. */
  async function findOutWhenBack(): Promise<void> {
    if (looking) return;
    looking = true;
    const bizSeq = randomBytes(BIZ_SEQ_BYTES).toString("hex");
    while (breaker.state !== CircuitState.Closed) {
      await timers.sleep(limits.breakMs, closed);
      if (closed.aborted) return;
      const mayAsk = (await terms(source.id).catch(() => undefined)) !== undefined;
      if (mayAsk) await breaker.execute(() => inTime((signal) => source.wasAnswered(bizSeq, signal))).catch(() => {});
    }
    looking = false;
  }

  function inTime<T>(call: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return timeout(timeoutMs(), TimeoutStrategy.Aggressive)
      .execute(async (context) => call(context.signal), signal)
      .catch(toUnknown);
  }

  async function callReplica<T>(
    { replica, ended }: Assigned,
    call: Call<T>,
    attempt: Attempt,
    signal?: AbortSignal,
  ): Promise<T> {
    const startedMs = clock.nowMs();
    let answered = true;
    try {
      return await inTime((each) => call(replica, each), signal);
    } catch (error) {
      answered = !isAbsence(error);
      if (!answered) attempt.not = replica;
      throw error;
    } finally {
      const durationMs = clock.nowMs() - startedMs;
      // One that lost to its hedge tells how slow it is at least, not that it is away.
      ended({ durationMs, answered: answered || signal?.aborted === true });
      if (answered) {
        answeredAtMs = clock.nowMs();
        latency.record(durationMs);
      }
    }
  }

  /** A second replica is asked when the first takes longer than usual; the first answer counts, the other is given up. */
  async function hedged<T>(call: Call<T>, attempt: Attempt): Promise<T> {
    hedgeBudget.earn();
    const first = replicas.pick(attempt.not);
    const delayMs = latency.p95Ms();
    if (delayMs === undefined) return callReplica(first, call, attempt);
    const done = new AbortController();
    const primary = callReplica(first, call, attempt, done.signal);
    const ended = primary.then(
      () => true,
      () => true,
    );
    try {
      const early = await Promise.race([ended, timers.sleep(Math.max(1, delayMs), done.signal).then(() => false)]);
      if (early || !hedgeBudget.spend(1)) return await primary;
      hedges += 1;
      return await firstAnswer(primary, callReplica(replicas.pick(first.replica), call, attempt, done.signal));
    } finally {
      done.abort();
    }
  }

  /** One call through everything that stands around the source. */
  async function guarded<T>(call: Call<T>, turn: Turn, attempt: Attempt): Promise<T> {
    let granted = await requireThere();
    await gate.enter(turn, turn.signal);
    let startedMs: number | undefined;
    let dropped = false;
    try {
      granted = await requireThere();
      await takeQuota(granted);
      // Counting took a while: whoever goes on through an open breaker would be its trial.
      requireClosed();
      startedMs = clock.nowMs();
      const free = source.priceFen === 0 && granted.ratePerSecond === 0 && granted.perDay === 0;
      return await breaker.execute(() =>
        free && replicas.size > 1 ? hedged(call, attempt) : callReplica(replicas.pick(attempt.not), call, attempt),
      );
    } catch (error) {
      dropped = isAbsence(error);
      if (error instanceof SourceError && error.fault === "LIMITED") {
        const untilMs = clock.nowMs() + (error.retryAfterMs ?? QUOTA_MS);
        overQuota = { untilMs, terms: startedMs === undefined ? granted : undefined };
      }
      throw error;
    } finally {
      gate.leave(startedMs === undefined ? undefined : { durationMs: clock.nowMs() - startedMs, dropped });
    }
  }

  /** The terms of a source that may be asked and is there, as far as we know. */
  async function requireThere(): Promise<SourceTerms> {
    if (inMaintenance()) throw new SourceError("AWAY", "announced maintenance");
    requireClosed();
    const granted = await terms(source.id).catch(noTerms);
    if (granted === undefined) throw new SourceError("AWAY", "not called: suspended");
    if (!isOverQuota(granted)) return granted;
    const retryAfterMs = overQuota.untilMs - clock.nowMs();
    throw new SourceError("LIMITED", "not called: over its quota", { retryAfterMs });
  }

  function requireClosed(): void {
    if (breaker.state !== CircuitState.Closed) throw new SourceError("AWAY", "not called: it was away");
  }

  async function takeQuota(granted: SourceTerms): Promise<void> {
    const waitMs = await takeSourceQuota({ ephemeral, clock }, source.id, granted).catch(noCounters);
    if (waitMs !== undefined) throw new SourceError("LIMITED", "not called: over its quota", { retryAfterMs: waitMs });
  }

  async function askOnce(check: Check, turn: Turn, attempt: Attempt): Promise<Answer> {
    const known = attempt.unknown
      ? await guarded((to, signal) => to.findOutcome(check, signal), turn, attempt)
      : undefined;
    return known ?? guarded((to, signal) => to.check(check, signal), turn, attempt);
  }

  async function ask(check: Check, turn: Turn): Promise<Answer> {
    const attempt: Attempt = { number: 1, unknown: turn.mayBePaid };
    retryBudget.earn();
    for (; ; attempt.number += 1) {
      try {
        return await askOnce(check, turn, attempt);
      } catch (error) {
        attempt.unknown ||= error instanceof SourceError && error.fault === "UNKNOWN";
        if (!mayRetry(error, attempt, turn)) throw error;
        retries += 1;
        const pauseMs = backoffMs(attempt.number, { baseMs: limits.retryBaseMs, capMs: RETRY_CAP_MS });
        await timers.sleep(pauseMs, stopping);
      }
    }
  }

  function mayRetry(error: unknown, { number, unknown }: Attempt, { signal }: Turn): boolean {
    const there = breaker.state === CircuitState.Closed && !stopping.aborted && signal?.aborted !== true;
    // The outcome and the check: two calls more.
    return isAbsence(error) && number < limits.attemptsMax && there && retryBudget.spend(unknown ? 2 : 1);
  }

  async function fallsSilent(signal: AbortSignal): Promise<boolean> {
    const sinceMs = clock.nowMs();
    const usualMs = latency.p99Ms() ?? source.usualLatencyMs;
    const leftMs = () => Math.max(sinceMs, answeredAtMs) + Math.max(SILENCE_MS_MIN, usualMs) - clock.nowMs();
    while (leftMs() > 0 && !signal.aborted) await timers.sleep(leftMs(), signal);
    return !signal.aborted && retryBudget.spend(1);
  }

  /** Whatever is configured beyond what the source offers is not asked for, and the operators are told, once. */
  function keepAnnouncement(next: Announcement): void {
    announced = next;
    const { notOffered, level } = offer;
    offer = offerOf(source, next);
    if (offer.level === level && offer.notOffered.join() === notOffered.join()) return;
    const told = { source: id, notOffered: offer.notOffered, level: offer.level, configuredLevel: source.level };
    log.warn(told, "what a source offers is not what is configured: it is asked for no more than both");
  }

  const { id, kind, priceFen, usualLatencyMs } = source;
  return {
    id,
    kind,
    get claimTypes() {
      return offer.claimTypes;
    },
    get level() {
      return offer.level;
    },
    notOffered: () => offer.notOffered,
    priceFen,
    usualLatencyMs,
    ask,
    wasAnswered: (bizSeq, signal) => inTime((each) => source.wasAnswered(bizSeq, each), signal),
    hindrance: (present) => {
      if (inMaintenance()) return "MAINTENANCE";
      if (breaker.state !== CircuitState.Closed) return "UNAVAILABLE";
      return isOverQuota(present) ? "QUOTA" : undefined;
    },
    admits: (claimant) => gate.admits(claimant),
    retryAfterMs: () => gate.retryAfterMs(),
    noteReuse: () => {
      reused += 1;
    },
    maintenance: () => announced.maintenance,
    p95Ms: () => latency.p95Ms(),
    fallsSilent,
    state: () => ({
      breaker: stateNames[breaker.state],
      limit: limiter.limit(),
      inFlight: gate.inFlight,
      queued: gate.queued,
      replicasEjected: replicas.ejected(),
      hedges,
      retries,
      reused,
    }),
    refresh: async () => {
      const describe = source.describe;
      // Right after a start there is no policy yet; the question for a calendar names nobody.
      if (describe === undefined || (await terms(id).catch(() => true)) === undefined) return;
      // What was announced stays true while the source cannot be asked.
      const next = await inTime((signal) => describe(signal)).catch(() => undefined);
      if (next !== undefined) keepAnnouncement(next);
    },
    [Symbol.dispose]: () => {
      closing.abort();
      source[Symbol.dispose]();
    },
  };
}

type Call<T> = (replica: Replica, signal: AbortSignal) => Promise<T>;

interface Offer {
  readonly claimTypes: readonly ClaimTypeName[];
  readonly level: number;
  readonly notOffered: readonly ClaimTypeName[];
}

function offerOf({ claimTypes, level }: SourceFacts, announced: Announcement): Offer {
  const isOffered = (type: ClaimTypeName) => announced.claimTypes?.includes(type) ?? true;
  return {
    claimTypes: claimTypes.filter(isOffered),
    level: Math.min(level, announced.level ?? level),
    notOffered: claimTypes.filter((type) => !isOffered(type)),
  };
}

interface Attempt {
  /** From 1. */
  number: number;
  /** It may have been answered already. */
  unknown: boolean;
  /** The replica that did not answer the last time. */
  not?: Replica;
}

const stateNames = {
  [CircuitState.Closed]: "CLOSED",
  [CircuitState.Open]: "OPEN",
  [CircuitState.HalfOpen]: "HALF_OPEN",
  [CircuitState.Isolated]: "OPEN",
} as const;

/** The first that answers; where both fail, the first one's failure. */
async function firstAnswer<T>(primary: Promise<T>, second: Promise<T>): Promise<T> {
  try {
    return await Promise.any([primary, second]);
  } catch {
    return primary;
  }
}

/**
 * Opens when either of the two does, and at the first failure after it was found to be back: a source may tell what
 * became of old checks and still do no new ones.
 */
function eitherBreaker(a: ConsecutiveBreaker, b: SamplingBreaker): IBreaker {
  let onTrial = false;
  return {
    state: undefined,
    success: (state) => {
      onTrial = state === CircuitState.HalfOpen;
      a.success();
      b.success(state);
    },
    failure: (state) => {
      const inARow = a.failure();
      const oftenEnough = b.failure(state);
      return onTrial || inARow || oftenEnough;
    },
  };
}

/** Nobody knows whether the source may be asked: it is not. */
function noTerms(cause: unknown): never {
  throw new SourceError("AWAY", "not called: the policy cannot be had", { cause });
}

function noCounters(cause: unknown): never {
  throw new SourceError("LIMITED", "not called: its quota cannot be counted", { cause });
}

/** Whether the source could not be reached or said that it is away: what breakers count and retries repeat. */
function isAbsence(error: unknown): boolean {
  return error instanceof SourceError && (error.fault === "AWAY" || error.fault === "UNKNOWN");
}

/** A timeout, or a fault of the adapter: whether the check was paid is not known. */
function toUnknown(error: unknown): never {
  throw error instanceof SourceError ? error : new SourceError("UNKNOWN", "no answer in time", { cause: error });
}

function isSame(a: SourceTerms, b: SourceTerms): boolean {
  return a.ratePerSecond === b.ratePerSecond && a.perDay === b.perDay;
}
