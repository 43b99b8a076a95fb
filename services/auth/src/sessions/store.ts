import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { Session } from "./rules.ts";

type Row = {
  session_id: string;
  subject: string;
  kind: "person" | "operator";
  methods: string[];
  level: number;
  started_at_ms: number;
  authenticated_at_ms: number;
  used_at_ms: number;
  expires_at_ms: number;
  ended_at_ms: number | null;
};

const columns = `session_id, subject, kind, methods, level, started_at_ms::float8, authenticated_at_ms::float8,
  used_at_ms::float8, expires_at_ms::float8, ended_at_ms::float8`;

const find = statement("auth.session.find", `SELECT ${columns} FROM auth.session WHERE session_id = $1`);
const findByInteraction = statement(
  "auth.session.interaction",
  `SELECT ${columns} FROM auth.session WHERE interaction = $1`,
);
const insert = statement(
  "auth.session.insert",
  `INSERT INTO auth.session (session_id, interaction, subject, kind, methods, started_at_ms, authenticated_at_ms,
     used_at_ms, expires_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $6, $6, $7) ON CONFLICT (interaction) DO NOTHING`,
);
const authenticate = statement(
  "auth.session.authenticate",
  `UPDATE auth.session SET methods = $2, authenticated_at_ms = $3, used_at_ms = $3
   WHERE session_id = $1 AND ended_at_ms IS NULL`,
);
const touch = statement(
  "auth.session.touch",
  `UPDATE auth.session SET used_at_ms = greatest(used_at_ms, $2), level = greatest(level, $3)
   WHERE session_id = $1 AND ended_at_ms IS NULL`,
);
const listLive = statement(
  "auth.session.list",
  `SELECT ${columns} FROM auth.session
   WHERE subject = $1 AND ended_at_ms IS NULL AND expires_at_ms > $2 AND used_at_ms > $3
   ORDER BY started_at_ms DESC, session_id DESC LIMIT $4`,
);
const endOne = statement(
  "auth.session.end",
  `UPDATE auth.session SET ended_at_ms = $2 WHERE session_id = $1 AND ended_at_ms IS NULL`,
);
const endAll = statement(
  "auth.session.end_all",
  `UPDATE auth.session SET ended_at_ms = $3 WHERE subject = $1 AND ended_at_ms IS NULL AND started_at_ms <= $2
   RETURNING session_id`,
);
const lowerLevel = statement(
  "auth.session.lower",
  `UPDATE auth.session SET level = $2 WHERE subject = $1 AND ended_at_ms IS NULL AND level > $2`,
);
const purge = statement(
  "auth.session.purge",
  `DELETE FROM auth.session WHERE session_id = ANY (ARRAY(
     SELECT session_id FROM auth.session WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

export async function findSession(db: Queryable, sessionId: string): Promise<Session | undefined> {
  return toSession((await db.query<Row>(find(sessionId))).rows[0]);
}

export interface NewSession
  extends Pick<Session, "id" | "subject" | "kind" | "methods" | "startedAtMs" | "expiresAtMs"> {
  /** Where it was made. A second session from the same interaction is not made: the first one is given. */
  readonly interaction: string;
}

/** Starts a session, or finds the one that a double submit of the same interaction started. */
export async function insertSession(tx: Transaction, session: NewSession): Promise<Session | undefined> {
  const { id, interaction, subject, kind, methods, startedAtMs, expiresAtMs } = session;
  await tx.query(insert(id, interaction, subject, kind, methods, startedAtMs, expiresAtMs));
  return toSession((await tx.query<Row>(findByInteraction(interaction))).rows[0]);
}

/** Notes that the subject authenticated again; false when the session is over. */
export async function renewAuthentication(
  tx: Transaction,
  sessionId: string,
  methods: readonly string[],
  atMs: number,
): Promise<boolean> {
  return (await tx.query(authenticate(sessionId, methods, atMs))).rowCount === 1;
}

export async function touchSession(db: Queryable, sessionId: string, atMs: number, level: number): Promise<void> {
  await db.query(touch(sessionId, atMs, level));
}

/** The subject's live sessions, newest first. */
export async function listSessions(
  db: Queryable,
  subject: string,
  live: { readonly nowMs: number; readonly usedAfterMs: number; readonly limit: number },
): Promise<readonly Session[]> {
  const { rows } = await db.query<Row>(listLive(subject, live.nowMs, live.usedAfterMs, live.limit));
  return rows.map(fromRow);
}

/** Ends one session; false when it had ended before. */
export async function markEnded(tx: Transaction, sessionId: string, atMs: number): Promise<boolean> {
  return (await tx.query(endOne(sessionId, atMs))).rowCount === 1;
}

/** Ends the subject's sessions that began up to `startedUpToMs`; gives their ids. */
export async function markAllEnded(
  tx: Transaction,
  subject: string,
  startedUpToMs: number,
  atMs: number,
): Promise<readonly string[]> {
  const { rows } = await tx.query<{ session_id: string }>(endAll(subject, startedUpToMs, atMs));
  return rows.map((row) => row.session_id);
}

/** Lowers the level noted with live sessions; true when one had shown a higher one. */
export async function lowerSessionLevel(tx: Transaction, subject: string, level: number): Promise<boolean> {
  return (await tx.query(lowerLevel(subject, level))).rowCount > 0;
}

/** Removes at most `batchMax` sessions whose absolute limit passed before `beforeMs`; returns how many. */
export async function purgeSessions(db: Database, beforeMs: number, batchMax: number): Promise<number> {
  return (await db.query(purge(beforeMs, batchMax))).rowCount;
}

function toSession(row: Row | undefined): Session | undefined {
  return row === undefined ? undefined : fromRow(row);
}

function fromRow(row: Row): Session {
  return {
    id: row.session_id,
    subject: row.subject,
    kind: row.kind,
    methods: row.methods,
    level: row.level,
    startedAtMs: row.started_at_ms,
    authenticatedAtMs: row.authenticated_at_ms,
    usedAtMs: row.used_at_ms,
    expiresAtMs: row.expires_at_ms,
    endedAtMs: row.ended_at_ms ?? undefined,
  };
}
