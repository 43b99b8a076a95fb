/** Days and quarters of China Standard Time (UTC+8, no summer time), by which the rules reckon. */

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
const OFFSET_MS = 8 * HOUR_MS;

/** The day's number since 1970-01-01. */
export function dayOf(timeMs: number): number {
  return Math.floor((timeMs + OFFSET_MS) / DAY_MS);
}

/** 0 to 23. */
export function hourOf(timeMs: number): number {
  return Math.floor(((timeMs + OFFSET_MS) % DAY_MS) / HOUR_MS);
}

export function dayStartMs(day: number): number {
  return day * DAY_MS - OFFSET_MS;
}

/** "2026-09-30" */
export function formatDay(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** Of "2026-09-30"; undefined for a day that no calendar has. */
export function parseDay(text: string): number | undefined {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  const day = ms / DAY_MS;
  return Number.isInteger(day) && formatDay(day) === text ? day : undefined;
}

export interface Quarter {
  /** "2026-Q3" */
  readonly name: string;
  readonly startMs: number;
  /** Excluded. */
  readonly endMs: number;
}

export function quarterOf(timeMs: number): Quarter {
  const date = new Date(timeMs + OFFSET_MS);
  return quarterAt(date.getUTCFullYear(), Math.floor(date.getUTCMonth() / 3));
}

/** Of "2026-Q3". */
export function parseQuarter(name: string): Quarter | undefined {
  const [, year, number] = /^(\d{4})-Q([1-4])$/.exec(name) ?? [];
  return year === undefined ? undefined : quarterAt(Number(year), Number(number) - 1);
}

export function quarterBefore({ startMs }: Quarter): Quarter {
  return quarterOf(startMs - 1);
}

function quarterAt(year: number, index: number): Quarter {
  return {
    name: `${year}-Q${index + 1}`,
    startMs: Date.UTC(year, index * 3) - OFFSET_MS,
    endMs: Date.UTC(year, index * 3 + 3) - OFFSET_MS,
  };
}
