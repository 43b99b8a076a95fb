/**
 * Caps against using the API as an oracle: so many verifications per second of an application, so many per day about one
 * identifier, by whichever application. Counted under keyed digests. While the counters cannot be had nothing passes.
 */
import type { Clock } from "@fujie/kit/clock";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import { DomainError } from "@fujie/kit/errors";
import type { KeyRing } from "@fujie/kit/keys";

export interface Caps {
  /** Verifications per second where the application's policy names no rate. */
  readonly applicationRatePerSecond: number;
  readonly perIdentifierPerDay: number;
}

export interface Counting {
  readonly ephemeral: Pick<Ephemeral, "takeToken" | "increment">;
  readonly ring: Pick<KeyRing, "hmac">;
  readonly clock: Clock;
  readonly caps: Caps;
}

const DAY_MS = 86_400_000;

/** Throws QUOTA_EXCEEDED with the time after which the application may ask again. */
export async function takeApplicationQuota(
  { ephemeral, caps }: Counting,
  application: { readonly applicationId: string; readonly ratePerSecond: number },
): Promise<void> {
  const ratePerSecond = application.ratePerSecond === 0 ? caps.applicationRatePerSecond : application.ratePerSecond;
  const bucket = { ratePerSecond, burst: Math.max(1, ratePerSecond) };
  const { allowed, retryAfterMs } = await ephemeral.takeToken(`quota:application:${application.applicationId}`, bucket);
  if (!allowed) throw new DomainError("QUOTA_EXCEEDED", { subject: "application", retryDelayMs: retryAfterMs });
}

/** Throws QUOTA_EXCEEDED until the end of the day (UTC) once the identifier was asked about too often. */
export async function takeIdentifierQuota(
  { ephemeral, ring, clock, caps }: Counting,
  identifier: string,
): Promise<void> {
  const nowMs = clock.nowMs();
  const day = Math.floor(nowMs / DAY_MS);
  const leftMs = (day + 1) * DAY_MS - nowMs;
  const digest = ring.hmac("cache-key", `quota:${identifier}`).digest.toString("base64url");
  const count = await ephemeral.increment(`quota:identifier:${day}:${digest}`, { ttlMs: leftMs });
  if (count > caps.perIdentifierPerDay) {
    throw new DomainError("QUOTA_EXCEEDED", { subject: "identifier", retryDelayMs: leftMs });
  }
}
