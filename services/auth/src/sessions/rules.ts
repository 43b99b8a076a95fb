/**
 * The one session model for every method of signing in (SZ-4.2).
 *
 *   sign-in ──▶ live ── signed in again (step-up): new time and methods ──▶ live
 *                │
 *                ├── signed out, ended by the subject, credentials wiped, suspended, cancelled ──▶ ended
 *                └── 12 hours, or idle ──▶ over
 *
 * A session that is not live gives no token, whatever cookie, code or refresh token still names it.
 */

/** RFC 8176: a password, or proof that one holds the key of a certificate. */
export type SignInMethod = "pwd" | "pop";

export interface Session {
  /** UUIDv7; the `sid` of its tokens. */
  readonly id: string;
  /** Account or operator id. */
  readonly subject: string;
  readonly kind: "person" | "operator";
  readonly methods: readonly string[];
  /** The highest real-name level its tokens have shown; 0 before the first. */
  readonly level: number;
  readonly startedAtMs: number;
  readonly authenticatedAtMs: number;
  readonly usedAtMs: number;
  readonly expiresAtMs: number;
  readonly endedAtMs: number | undefined;
}

export interface SessionLimits {
  readonly lifetimeMs: number;
  readonly idleMs: number;
}

/** How stale `usedAtMs` may be: a session that is used all the time is not written all the time. */
export const USE_GRAIN_MS = 60_000;

export function isLive(session: Session, nowMs: number, { idleMs }: Pick<SessionLimits, "idleMs">): boolean {
  return session.endedAtMs === undefined && nowMs < session.expiresAtMs && nowMs < session.usedAtMs + idleMs;
}

/** When a live session ends if nothing happens. */
export function endsAtMs(session: Session, { idleMs }: Pick<SessionLimits, "idleMs">): number {
  return Math.min(session.expiresAtMs, session.usedAtMs + idleMs);
}
