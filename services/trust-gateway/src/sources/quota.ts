/** What a source grants us, counted over all replicas of the gateway: calls per second and per day (UTC). */
import type { Clock } from "@fujie/kit/clock";
import type { Ephemeral } from "@fujie/kit/ephemeral";

/** On which terms a source may be asked. */
export interface SourceTerms {
  /** Calls per second; 0: no limit of ours. */
  readonly ratePerSecond: number;
  /** Calls per day; 0: no limit of ours. */
  readonly perDay: number;
}

export const NO_LIMITS: SourceTerms = { ratePerSecond: 0, perDay: 0 };

export interface QuotaCounting {
  readonly ephemeral: Pick<Ephemeral, "takeToken" | "increment">;
  readonly clock: Clock;
}

const DAY_MS = 86_400_000;

/** Takes one call. Undefined: it may be made; else after how many milliseconds to try again. */
export async function takeSourceQuota(
  { ephemeral, clock }: QuotaCounting,
  sourceId: string,
  { ratePerSecond, perDay }: SourceTerms,
): Promise<number | undefined> {
  if (ratePerSecond > 0) {
    const bucket = { ratePerSecond, burst: ratePerSecond };
    const { allowed, retryAfterMs } = await ephemeral.takeToken(`quota:source:${sourceId}`, bucket);
    if (!allowed) return Math.max(1, Math.ceil(retryAfterMs));
  }
  if (perDay > 0) {
    const nowMs = clock.nowMs();
    const day = Math.floor(nowMs / DAY_MS);
    const leftMs = (day + 1) * DAY_MS - nowMs;
    if ((await ephemeral.increment(`quota:source:${sourceId}:${day}`, { ttlMs: leftMs })) > perDay) return leftMs;
  }
  return undefined;
}
