import { setTimeout as wait } from "node:timers/promises";

/** The one source of time of the sandbox, in milliseconds since the epoch. */
export type Clock = { nowMs(): number };

/** Waits; rejects with the signal's reason when it is aborted. Tests give one that does not wait. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

export const systemClock: Clock = { nowMs: () => Date.now() };

export const systemSleep: Sleep = (ms, signal) => wait(ms, undefined, { signal });
