/**
 * What a log may hold of an error. Messages of errors that are not ours quote their input (a database's detail line, a
 * parser's excerpt), so they never get in: name, code, reason and the frames of our own code do.
 */
import { DomainError } from "../errors/index.ts";

export interface LoggableError {
  readonly name: string;
  /** The reason of a DomainError. */
  readonly reason?: string;
  /** Field paths of a DomainError's violations. */
  readonly fields?: readonly string[];
  /** A system or database code: "ECONNREFUSED", "40001". */
  readonly code?: string;
  readonly stack?: readonly string[];
  readonly cause?: LoggableError;
}

const CAUSES_MAX = 4;
const FRAMES_MAX = 12;
const CODE = /^[A-Z0-9_]{1,48}$/i;
const NAME = /^[A-Za-z][A-Za-z0-9_.]{0,63}$/;
const FRAME = /^ {4}at .*$/;

export function loggableError(error: unknown, depth = 0): LoggableError {
  if (!(error instanceof Error)) return { name: "NonError" };
  const frames = ownFrames(error);
  const code = codeOf(error);
  return {
    name: NAME.test(error.name) ? error.name : "Error",
    ...(error instanceof DomainError ? { reason: error.reason } : {}),
    ...(error instanceof DomainError && error.violations.length > 0
      ? { fields: error.violations.map(({ field }) => field) }
      : {}),
    ...(code === undefined ? {} : { code }),
    ...(frames.length === 0 ? {} : { stack: frames }),
    ...(error.cause === undefined || depth >= CAUSES_MAX ? {} : { cause: loggableError(error.cause, depth + 1) }),
  };
}

function codeOf(error: Error): string | undefined {
  const code = "code" in error ? error.code : undefined;
  if (typeof code === "number") return String(code);
  return typeof code === "string" && CODE.test(code) ? code : undefined;
}

/**
 * Frames outside Node and installed packages, as file:line. The text before the frames repeats the message, which may
 * itself look like frames: it is cut off first.
 */
function ownFrames(error: Error): string[] {
  const stack = typeof error.stack === "string" ? error.stack : "";
  const messageAt = error.message === "" ? 0 : stack.indexOf(error.message);
  // A stack that does not carry the present message was made with another one, which cannot be told from frames.
  if (messageAt < 0) return [];
  return stack
    .slice(messageAt + error.message.length)
    .split("\n")
    .filter((line) => FRAME.test(line) && !/node:|[\\/]node_modules[\\/]/.test(line))
    .slice(0, FRAMES_MAX)
    .map((line) => line.trim());
}
