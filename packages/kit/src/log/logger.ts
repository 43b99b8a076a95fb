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
    formatters: { level: (label: string) => ({ level: label }) },
    mixin: activeTrace,
    hooks: { logMethod: logWithoutPrivateValues },
  };
  const log = destination === undefined ? pino(options) : pino(options, destination);
  return reducingChildren(log);
}

function activeTrace(): object {
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? {} : { trace_id: active.traceId, span_id: active.spanId };
}

/** A child's fields are written as they are, past the hook: they are reduced when the child is made. */
function reducingChildren(log: PinoLogger): PinoLogger {
  const child = log.child;
  // Children inherit from their parent, and with it this method.
  log.child = function childOf(this: PinoLogger, ...args: unknown[]) {
    const [bindings, ...rest] = args;
    return Reflect.apply(child, this, [loggable(bindings), ...rest]);
  };
  return log;
}

/** How deep the fields of a line may nest; anything below is data, not a log line. */
const DEPTH_MAX = 4;

/** Errors are reduced to what may be shown; messages of the API, which may hold anything personal, to their type. */
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

/**
 * Every argument is reduced before pino sees it: pino would take the message of an error for the line's own, and put
 * objects into the text where it says %o.
 */
function logWithoutPrivateValues(this: PinoLogger, args: readonly unknown[], method: PinoLogger["info"]): void {
  const [first, ...rest] = args;
  const values = rest.map((value) => loggable(value));
  if (first instanceof Error) {
    Reflect.apply(method, this, [{ error: loggable(first) }, ...(values.length > 0 ? values : [first.name])]);
  } else {
    Reflect.apply(method, this, [loggable(first), ...values]);
  }
}
