/** A calendar date of the Gregorian calendar as `YYYY-MM-DD`. Two of them compare as strings do. */
export type IsoDate = string;

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** True when `text` is `YYYY-MM-DD` and that day exists. */
export function isCalendarDate(text: string): boolean {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (parts === null) return false;
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  return day >= 1 && day <= daysInMonth(year, month);
}

/**
 * Full years of age on the day `on`. A year is completed on the birthday; who was born on 29 February completes it on
 * 1 March of a common year, the day after the month's last (Civil Code, article 202). Negative before birth.
 * Throws RangeError when a date does not exist.
 */
export function ageOn(birthDate: IsoDate, on: IsoDate): number {
  requireCalendarDate(birthDate);
  requireCalendarDate(on);
  const years = Number(on.slice(0, 4)) - Number(birthDate.slice(0, 4));
  return on.slice(5) < birthDate.slice(5) ? years - 1 : years;
}

/** Throws RangeError unless the date exists: for dates that a program supplies, never for a user's input. */
export function requireCalendarDate(date: IsoDate): void {
  if (!isCalendarDate(date)) throw new RangeError("a date must exist and be written YYYY-MM-DD");
}

function daysInMonth(year: number, month: number): number {
  const isLeapYear = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && isLeapYear ? 29 : (MONTH_DAYS[month - 1] ?? 0);
}
