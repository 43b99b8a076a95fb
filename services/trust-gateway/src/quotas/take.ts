/**
 * Caps against using the API as an oracle: so many verifications per second of an application, so many per day about one
 * identifier, by whichever application. Counted under keyed digests. While the counters cannot be had nothing passes.
 */
import type { Clock } from "@fujie/kit/clock";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import { DomainError } from "@fujie/kit/errors";
import type { KeyRing } from "@fujie/kit/keys";
import type { Cap } from "../claims/rules.ts";

export interface Caps {
  /** Verifications per second where the application's policy names no rate. */
  readonly applicationRatePerSecond: number;
  readonly perIdentifierPerDay: number;
  readonly perNetworkPerMinute: number;
}

export interface Counting {
  readonly ephemeral: Pick<Ephemeral, "takeToken" | "increment">;
  readonly ring: Pick<KeyRing, "hmac">;
  readonly clock: Clock;
  readonly caps: Caps;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** Throws QUOTA_EXCEEDED with the time after which the application may ask again. */
export async function takeApplicationQuota(
  { ephemeral, clock, caps }: Counting,
  application: { readonly applicationId: string; readonly ratePerSecond: number; readonly dailyLimit: number },
): Promise<void> {
  const ratePerSecond = application.ratePerSecond === 0 ? caps.applicationRatePerSecond : application.ratePerSecond;
  const bucket = { ratePerSecond, burst: Math.max(1, ratePerSecond) };
  const { allowed, retryAfterMs } = await ephemeral.takeToken(`quota:application:${application.applicationId}`, bucket);
  if (!allowed) throw new DomainError("QUOTA_EXCEEDED", { subject: "application", retryDelayMs: retryAfterMs });
  if (application.dailyLimit === 0) return;
  const day = Math.floor(clock.nowMs() / DAY_MS);
  const leftMs = (day + 1) * DAY_MS - clock.nowMs();
  const asked = await ephemeral.increment(`quota:application:${application.applicationId}:${day}`, { ttlMs: leftMs });
  if (asked > application.dailyLimit) {
    throw new DomainError("QUOTA_EXCEEDED", { subject: "application", retryDelayMs: leftMs });
  }
}

/**
 * Throws QUOTA_EXCEEDED once too many questions of this minute came from one network, by whichever application. Those
 * whose network nobody knows count as one.
 */
export async function takeNetworkQuota(
  { ephemeral, ring, clock, caps }: Counting,
  network: string | undefined,
): Promise<void> {
  const nowMs = clock.nowMs();
  const minute = Math.floor(nowMs / MINUTE_MS);
  const leftMs = (minute + 1) * MINUTE_MS - nowMs;
  const digest = digestNetwork(ring, minute, network ?? "");
  const asked = await ephemeral.increment(`quota:network:${minute}:${digest}`, { ttlMs: leftMs });
  if (asked > caps.perNetworkPerMinute) {
    throw new DomainError("QUOTA_EXCEEDED", { subject: "network", retryDelayMs: leftMs });
  }
}

interface NetworkDigests {
  readonly minute: number;
  readonly digests: Map<string, string>;
}

/** Most questions come from few networks: their digests are kept until the minute is over, and no longer. */
const networkDigests = new WeakMap<Counting["ring"], NetworkDigests>();
const NETWORKS_MAX = 1_000;

function digestNetwork(ring: Counting["ring"], minute: number, network: string): string {
  let kept = networkDigests.get(ring);
  if (kept === undefined || kept.minute !== minute || kept.digests.size > NETWORKS_MAX) {
    kept = { minute, digests: new Map() };
    networkDigests.set(ring, kept);
  }
  const known = kept.digests.get(network);
  if (known !== undefined) return known;
  const digest = ring.hmac("cache-key", `quota:network:${network}`).digest.toString("base64url");
  kept.digests.set(network, digest);
  return digest;
}

/** Throws QUOTA_EXCEEDED once something that the claim is about was asked about too often. */
export async function takeCaps(counting: Counting, caps: readonly Cap[]): Promise<void> {
  for (const cap of caps) await takeCap(counting, cap);
}

/** Days are of UTC for identifiers; what the sources cap themselves is counted from the first question on. */
async function takeCap({ ephemeral, ring, clock, caps }: Counting, cap: Cap): Promise<void> {
  const { kind, identifier, perDayMax } = cap;
  const nowMs = clock.nowMs();
  const day = perDayMax === undefined ? Math.floor(nowMs / DAY_MS) : undefined;
  const leftMs = day === undefined ? DAY_MS : (day + 1) * DAY_MS - nowMs;
  const digest = ring.hmac("cache-key", `quota:${identifier}`).digest.toString("base64url");
  const count = await ephemeral.increment(`quota:${kind}:${day ?? "24h"}:${digest}`, { ttlMs: leftMs });
  if (count > (perDayMax ?? caps.perIdentifierPerDay)) {
    throw new DomainError("QUOTA_EXCEEDED", { subject: kind, retryDelayMs: leftMs });
  }
}
