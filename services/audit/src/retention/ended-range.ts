/** Entries that ended with their partitions: begin included, end excluded. */
export interface EndedRange {
  readonly begin: number;
  readonly end: number;
}

/** The event by which the log itself records what ended; its digest is `digestOfEnded` of everything that has. */
export const DROPPED_TYPE = "entries.dropped";

export function isEnded(ranges: readonly EndedRange[], index: number): boolean {
  return ranges.some(({ begin, end }) => begin <= index && index < end);
}
