/** Beyond this many identifiers a day the ones seen first start again from zero. */
const IDENTIFIERS_MAX = 200_000;
const DAY_MS = 86_400_000;
/** The day of a source in China begins at 16:00 UTC. */
const DAY_OFFSET_MS = 8 * 3_600_000;

/** So many checks within any stretch of time of that length. */
export type Cap = { readonly key: string; readonly max: number; readonly withinMs: number };

/** Counts calls. Each function takes one and tells undefined, or refuses it and tells when to come again. */
export type Quota = {
  takeSecond(nowMs: number, perSecond: number): number | undefined;
  takeIdentifier(nowMs: number, identifier: string, perDay: number): number | undefined;
  /** Takes one of each, or of none. */
  takeCaps(nowMs: number, caps: readonly Cap[]): number | undefined;
  reset(): void;
};

export function createQuota(): Quota {
  let second = { number: -1, taken: 0 };
  let day = { number: -1, taken: new Map<string, number>() };
  const rolling = new Map<string, number[]>();
  return {
    takeSecond(nowMs, perSecond) {
      const number = Math.floor(nowMs / 1000);
      if (second.number !== number) second = { number, taken: 0 };
      if (second.taken >= perSecond) return (number + 1) * 1000 - nowMs;
      second.taken += 1;
      return undefined;
    },
    takeIdentifier(nowMs, identifier, perDay) {
      const number = Math.floor((nowMs + DAY_OFFSET_MS) / DAY_MS);
      if (day.number !== number) day = { number, taken: new Map() };
      const taken = day.taken.get(identifier) ?? 0;
      if (taken >= perDay) return (number + 1) * DAY_MS - DAY_OFFSET_MS - nowMs;
      day.taken.set(identifier, taken + 1);
      if (day.taken.size > IDENTIFIERS_MAX) forgetFirst(day.taken);
      return undefined;
    },
    takeCaps(nowMs, caps) {
      for (const { key, max, withinMs } of caps) {
        const times = (rolling.get(key) ?? []).filter((atMs) => atMs > nowMs - withinMs);
        rolling.set(key, times);
        if (times.length >= max) return (times[0] ?? nowMs) + withinMs - nowMs;
      }
      for (const { key } of caps) rolling.get(key)?.push(nowMs);
      while (rolling.size > IDENTIFIERS_MAX) forgetFirst(rolling);
      return undefined;
    },
    reset() {
      rolling.clear();
      second = { number: -1, taken: 0 };
      day = { number: -1, taken: new Map() };
    },
  };
}

function forgetFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
