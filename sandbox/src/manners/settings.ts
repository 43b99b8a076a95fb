import { FieldError, readFields } from "./field-error.ts";

/**
 * How a source fails on command:
 *   error         500, not billed
 *   hang          the request is taken and never answered nor worked on, not billed
 *   drop          worked on and billed, then the connection is cut: the caller does not know the outcome
 *   maintenance   503 until it is lifted
 */
export const FAULTS = ["none", "error", "hang", "drop", "maintenance"] as const;
export type Fault = (typeof FAULTS)[number];

/** From `startMs` up to, not including, `endMs`, since the epoch. */
export type MaintenanceWindow = { readonly startMs: number; readonly endMs: number };

export type Settings = {
  /** The median. */
  readonly latencyMs: number;
  readonly fault: Fault;
  readonly quotaPerSecond: number;
  /** How many of the next checks fail as with `error`. */
  readonly failNext: number;
  /** Announced windows, soonest first. */
  readonly maintenance: readonly MaintenanceWindow[];
  /** While it is true the source has nobody on file. */
  readonly noRecord: boolean;
  /** Checks a day about one identifier. */
  readonly identifierPerDay: number;
  /** Checks in 24 hours of one bank card. */
  readonly cardPerDay: number;
};

/** What a source is that nobody has steered, but for its pace; the caps are those of real ones (NI-28d). */
export const UNSTEERED = {
  fault: "none",
  failNext: 0,
  maintenance: [],
  noRecord: false,
  identifierPerDay: 1_000,
  cardPerDay: 4,
} as const;

const LATENCY_MS_MAX = 60_000;
const QUOTA_PER_SECOND_MAX = 1_000_000;
const FAIL_NEXT_MAX = 1_000_000;
const PER_DAY_MAX = 1_000_000;
const WINDOWS_MAX = 16;

type WholeField = "latencyMs" | "quotaPerSecond" | "failNext" | "identifierPerDay" | "cardPerDay";

/** The settings after a change; what is not named stays. Throws FieldError. */
export function changeSettings(settings: Settings, change: unknown): Settings {
  const fields = readFields(change, Object.keys(settings));
  const whole = (field: WholeField, min: number, max: number) =>
    fields[field] === undefined ? settings[field] : requireWhole(fields[field], field, min, max);
  return {
    latencyMs: whole("latencyMs", 0, LATENCY_MS_MAX),
    fault: fields["fault"] === undefined ? settings.fault : requireFault(fields["fault"]),
    quotaPerSecond: whole("quotaPerSecond", 1, QUOTA_PER_SECOND_MAX),
    failNext: whole("failNext", 0, FAIL_NEXT_MAX),
    maintenance: fields["maintenance"] === undefined ? settings.maintenance : requireWindows(fields["maintenance"]),
    noRecord: fields["noRecord"] === undefined ? settings.noRecord : requireFlag(fields["noRecord"]),
    identifierPerDay: whole("identifierPerDay", 0, PER_DAY_MAX),
    cardPerDay: whole("cardPerDay", 0, PER_DAY_MAX),
  };
}

/** The settings as `changeSettings` reads them. */
export function describeSettings(settings: Settings): unknown {
  const maintenance = settings.maintenance.map(({ startMs, endMs }) => ({
    startTime: new Date(startMs).toISOString(),
    endTime: new Date(endMs).toISOString(),
  }));
  return { ...settings, maintenance };
}

function requireWhole(value: unknown, field: string, min: number, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new FieldError(field, `is not a whole number from ${min} to ${max}`);
}

function requireFlag(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new FieldError("noRecord", "is not true or false");
}

function requireFault(value: unknown): Fault {
  const fault = FAULTS.find((known) => known === value);
  if (fault === undefined) throw new FieldError("fault", `is none of ${FAULTS.join(", ")}`);
  return fault;
}

function requireWindows(value: unknown): MaintenanceWindow[] {
  if (!Array.isArray(value) || value.length > WINDOWS_MAX) {
    throw new FieldError("maintenance", `is not a list of at most ${WINDOWS_MAX} windows`);
  }
  return value.map(requireWindow).sort((one, other) => one.startMs - other.startMs);
}

function requireWindow(value: unknown): MaintenanceWindow {
  const fields = readFields(value, ["startTime", "endTime"]);
  const startMs = requireTime(fields["startTime"], "maintenance.startTime");
  const endMs = requireTime(fields["endTime"], "maintenance.endTime");
  if (startMs >= endMs) throw new FieldError("maintenance.endTime", "is not after the start");
  return { startMs, endMs };
}

function requireTime(value: unknown, field: string): number {
  const timeMs = typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(timeMs)) throw new FieldError(field, "is not a UTC time like 2026-03-01T02:00:00Z");
  return timeMs;
}
