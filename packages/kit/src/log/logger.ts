/**
 * The service's log: one JSON line per event, with the ids of the active trace. What is written is what was chosen to be
 * written: of an error its kind and place, of a protobuf message nothing but its type (use `redact` for its public
 * fields).
 */
import { trace } from "@opentelemetry/api";
import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";
import { loggableError } from "./loggable-error.ts";

export type Logger = PinoLogger;

export interface LoggerOptions {
  readonly service: string;
  readonly level: "debug" | "info" | "warn" | "error";
  /** Where lines go; standard output by default. */
  readonly destination?: DestinationStream;
}

export function createLogger({ service, level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service },
    messageKey: "message",
    errorKey: "error",
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }), log: withoutPrivateValues },
    mixin: activeTrace,
    hooks: { logMethod: withoutErrorMessage },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function activeTrace(): object {
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? {} : { trace_id: active.traceId, span_id: active.spanId };
}

/** Errors are reduced to what may be shown; messages of the API, which may hold anything personal, to their type. */
function withoutPrivateValues(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, loggable(value)]));
}

/** How deep the fields of a line may nest; anything below is data, not a log line. */
const DEPTH_MAX = 4;

function loggable(value: unknown, depth = 0): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return loggableError(value);
  if ("$typeName" in value) return `[${value.$typeName}]`;
  if (ArrayBuffer.isView(value)) return "[bytes]";
  if (depth >= DEPTH_MAX) return "[nested]";
  if (Array.isArray(value)) return value.map((item) => loggable(item, depth + 1));
  if (value instanceof Map || value instanceof Set) return "[collection]";
  if (value instanceof Date) return value.toISOString();
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, loggable(inner, depth + 1)]));
}

/** pino takes an error's message as the line's when there is no other: here it never gets the error itself. */
function withoutErrorMessage(
  this: PinoLogger,
  args: Parameters<PinoLogger["info"]>,
  method: (...args: Parameters<PinoLogger["info"]>) => void,
): void {
  const [first, ...rest] = args;
  const error: unknown = first;
  if (!(error instanceof Error)) {
    method.apply(this, args);
    return;
  }
  const [message = error.name] = rest;
  method.apply(this, [{ error: loggableError(error) }, message]);
}
