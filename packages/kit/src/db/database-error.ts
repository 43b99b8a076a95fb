import pg from "pg";
import { DomainError } from "../errors/index.ts";

/**
 * SQLSTATE classes and codes that mean "the database is not there for you now": connection exceptions (08), shutdown
 * and recovery (57P01–57P03), too many connections (53), statement timeout (57014), lock timeout (55P03), and
 * read-only (25006), which is what the old primary says after a failover.
 */
const UNAVAILABLE = /^(?:08...|53...|57P0[1-5]|57014|55P03|25006)$/;

const SOCKET_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
]);

/** pg gives these no code. */
const CONNECTION_MESSAGES =
  /^(?:Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|Query read timeout|Client was closed|Cannot use a pool after calling end)/;

/** Turns trouble with the connection into DomainError DEPENDENCY_UNAVAILABLE and leaves every other error alone. */
export function translateError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DomainError) return error;
  const code = codeOf(error);
  const unavailable =
    error instanceof pg.DatabaseError
      ? code !== undefined && UNAVAILABLE.test(code)
      : SOCKET_CODES.has(code ?? "") || CONNECTION_MESSAGES.test(error.message) || error instanceof AggregateError;
  return unavailable ? new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "database", cause: error }) : error;
}

/** Serialisation failure or deadlock: the same transaction may succeed when it is run again. */
export function isContention(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof pg.DatabaseError && (code === "40001" || code === "40P01");
}

/** Refused only because a statement before it, in the same transaction, had failed. */
export function isAftermath(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "25P02";
}

/** Whether a unique constraint or index (by name, when given) refused the row. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  if (!(error instanceof pg.DatabaseError) || error.code !== "23505") return false;
  return constraint === undefined || error.constraint === constraint;
}

/** The SQLSTATE of PostgreSQL's answer, or undefined when there was none. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
