/**
 * How often somebody may guess. Counters live in the ephemeral store, so that replicas share them, and their windows
 * are named by the time: each ends by itself, and nothing that an attacker does makes it longer. Nobody can be locked
 * out for good (a browser that signed in before has a counter of its own, and a certificate needs no password).
 */
import type { Clock } from "@fujie/kit/clock";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import { DomainError } from "@fujie/kit/errors";

export interface Counter {
  /** What is counted; holds digests, never the thing itself. */
  readonly key: string;
  /** Attempts in one window. */
  readonly max: number;
}

export const WINDOW_MS = 5 * 60_000;

/** Attempts in five minutes. */
export interface AttemptLimits {
  /** For one login name from one network, or from one browser that knows it. */
  readonly loginHere: number;
  /** For one login name from everywhere. */
  readonly login: number;
  /** From one network for all login names: many people may sit behind one address. */
  readonly network: number;
}

export const attemptLimits: AttemptLimits = { loginHere: 10, login: 60, network: 1_500 };

/**
 * Counts an attempt before it is made, so that many at once are counted too.
 * @throws DomainError SIGN_IN_THROTTLED with the time until the window ends; DEPENDENCY_UNAVAILABLE.
 */
export async function countAttempt(
  { ephemeral, clock }: { readonly ephemeral: Pick<Ephemeral, "increment">; readonly clock: Clock },
  counters: readonly Counter[],
): Promise<void> {
  const nowMs = clock.nowMs();
  const counts = await Promise.all(
    counters.map(({ key }) => ephemeral.increment(windowKey(key, nowMs), { ttlMs: WINDOW_MS })),
  );
  const exceeded = counters.some(({ max }, index) => (counts[index] ?? 0) > max);
  if (exceeded) throw new DomainError("SIGN_IN_THROTTLED", { retryDelayMs: WINDOW_MS - (nowMs % WINDOW_MS) });
}

/** Forgets the attempts of whoever got it right. */
export async function forgiveAttempts(
  { ephemeral, clock }: { readonly ephemeral: Pick<Ephemeral, "delete">; readonly clock: Clock },
  counter: Counter,
): Promise<void> {
  await ephemeral.delete(windowKey(counter.key, clock.nowMs()));
}

function windowKey(key: string, nowMs: number): string {
  return `attempts:${key}:${Math.floor(nowMs / WINDOW_MS)}`;
}
