/** China Standard Time, the whole year: months and retention are counted in it. */
const ZONE_OFFSET_MS = 8 * 3_600_000;

/** When the month of `nowMs` began (China Standard Time), in milliseconds since 1970. */
export function startOfMonthMs(nowMs: number): number {
  return monthsBeforeMs(nowMs, 0);
}

/** When the month began that lies `months` months before that of `nowMs`. */
export function monthsBeforeMs(nowMs: number, months: number): number {
  const local = new Date(nowMs + ZONE_OFFSET_MS);
  return Date.UTC(local.getUTCFullYear(), local.getUTCMonth() - months, 1) - ZONE_OFFSET_MS;
}
