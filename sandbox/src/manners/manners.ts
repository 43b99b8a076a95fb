import type { Clock, Sleep } from "../clock.ts";
import type { Log } from "../log.ts";
import { drawLatencyMs } from "./latency.ts";
import { type Counters, createLedger, type Ledger } from "./ledger.ts";
import { createQuota, type Quota } from "./quota.ts";
import { changeSettings, type MaintenanceWindow, type Settings, UNSTEERED } from "./settings.ts";

/** A source under maintenance by command does not say until when: this is when one may ask again. */
export const AWAY_RETRY_MS = 60_000;

/** What every source of the sandbox is made in. */
export type Surroundings = {
  readonly clock: Clock;
  readonly sleep: Sleep;
  readonly log: Log;
  /** Aborted when the sandbox stops. */
  readonly closing: AbortSignal;
};

/** How a call gets past the door, or why it does not. */
export type Admission =
  | { readonly kind: "admitted"; readonly drop: boolean }
  | { readonly kind: "away" | "limited"; readonly retryAfterMs: number }
  | { readonly kind: "failed" | "hung" };

/** The temper of one source: how it is steered, counted, limited and slowed. */
export type Manners = {
  readonly id: string;
  readonly ledger: Ledger;
  readonly quota: Quota;
  settings(): Settings;
  /** Throws FieldError and changes nothing when the change is malformed. */
  change(change: unknown): void;
  /** Counters to zero, quotas fresh, settings as at the start. Given answers stay: a repeat is never billed twice. */
  reset(): void;
  counters(): Counters;
  /** How long the source stays away, or undefined while it is there. */
  awayMs(): number | undefined;
  /** Windows to announce that are not over. */
  maintenance(): readonly MaintenanceWindow[];
  /** Lets one call in; refusals are counted. */
  admit(): Admission;
  /** Takes the time that an answer takes. */
  work(seed: string): Promise<void>;
};

/** How fast a source answers and how many calls it grants; the rest is as in UNSTEERED where it is not named. */
export type Defaults = Pick<Settings, "latencyMs" | "quotaPerSecond"> & Partial<Settings>;

export function createManners(id: string, pace: Defaults, surroundings: Surroundings): Manners {
  const { clock, sleep, closing } = surroundings;
  const ledger = createLedger();
  const quota = createQuota();
  const defaults: Settings = { ...UNSTEERED, ...pace };
  let settings = defaults;

  function awayMs(): number | undefined {
    if (settings.fault === "maintenance") return AWAY_RETRY_MS;
    const nowMs = clock.nowMs();
    const window = settings.maintenance.find(({ startMs, endMs }) => startMs <= nowMs && nowMs < endMs);
    return window === undefined ? undefined : window.endMs - nowMs;
  }

  function weigh(): Admission {
    const away = awayMs();
    if (away !== undefined) return { kind: "away", retryAfterMs: away };
    const limited = quota.takeSecond(clock.nowMs(), settings.quotaPerSecond);
    if (limited !== undefined) return { kind: "limited", retryAfterMs: limited };
    if (settings.failNext > 0) {
      settings = { ...settings, failNext: settings.failNext - 1 };
      return { kind: "failed" };
    }
    if (settings.fault === "error") return { kind: "failed" };
    if (settings.fault === "hang") return { kind: "hung" };
    return { kind: "admitted", drop: settings.fault === "drop" };
  }

  return {
    id,
    ledger,
    quota,
    settings: () => settings,
    change(change) {
      settings = changeSettings(settings, change);
    },
    reset() {
      settings = defaults;
      ledger.reset();
      quota.reset();
    },
    counters: () => ledger.counters(),
    awayMs,
    maintenance() {
      const nowMs = clock.nowMs();
      const announced = settings.maintenance.filter(({ endMs }) => endMs > nowMs);
      if (settings.fault !== "maintenance") return announced;
      return [{ startMs: nowMs, endMs: nowMs + AWAY_RETRY_MS }, ...announced];
    },
    admit() {
      const admission = weigh();
      if (admission.kind !== "admitted") ledger.refuse(admission.kind);
      return admission;
    },
    work: (seed) => sleep(drawLatencyMs(settings.latencyMs, seed), closing),
  };
}
