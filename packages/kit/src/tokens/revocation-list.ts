/**
 * Who was signed out or suspended in the last minutes. Access tokens live five minutes at most, so a revocation that
 * is ten minutes old has nothing left to revoke, and the list stays small by itself.
 */
import type { Clock } from "../clock/index.ts";
import type { VerifiedToken } from "./verified-token.ts";

/**
 * A session that ended never comes back. A subject, client or application may (a suspension is lifted, a password
 * changed): only tokens issued up to `atMs` are void then.
 */
export interface Revocation {
  readonly kind: "session" | "subject" | "client" | "application";
  readonly id: string;
  readonly atMs: number;
}

export interface RevocationList {
  revoke(revocation: Revocation): void;
  isRevoked(token: VerifiedToken): boolean;
  /** The followed feed was known to be complete at `atMs` (a heartbeat or an event). */
  markFresh(atMs: number): void;
  /** True when no heartbeat came for 5 s, or none ever: privileged methods then refuse with REVOCATIONS_STALE. */
  isStale(): boolean;
}

export interface RevocationListOptions {
  readonly clock: Clock;
}

const STALE_AFTER_MS = 5_000;
const KEEP_MS = 10 * 60_000;

export function createRevocationList({ clock }: RevocationListOptions): RevocationList {
  const revokedAtMs: Record<Revocation["kind"], Map<string, number>> = {
    session: new Map(),
    subject: new Map(),
    client: new Map(),
    application: new Map(),
  };
  let freshAtMs = Number.NEGATIVE_INFINITY;

  return {
    revoke({ kind, id, atMs }) {
      const entries = revokedAtMs[kind];
      const latestMs = Math.max(atMs, entries.get(id) ?? Number.NEGATIVE_INFINITY);
      entries.delete(id);
      entries.set(id, latestMs);
      dropExpired(entries, clock.nowMs() - KEEP_MS);
    },
    isRevoked(token) {
      // A token's times are whole seconds: one issued in the very second of the revocation counts as issued before.
      const voids = (atMs: number | undefined) => atMs !== undefined && token.issuedAtMs <= atMs;
      return (
        (token.sessionId !== undefined && revokedAtMs.session.has(token.sessionId)) ||
        voids(revokedAtMs.subject.get(token.subject)) ||
        voids(revokedAtMs.client.get(token.clientId)) ||
        (token.application !== undefined && voids(revokedAtMs.application.get(token.application)))
      );
    },
    markFresh(atMs) {
      // A heartbeat from the future (a peer's clock) must not keep the list fresh for longer than one from now.
      freshAtMs = Math.max(freshAtMs, Math.min(atMs, clock.nowMs()));
    },
    isStale: () => clock.nowMs() - freshAtMs > STALE_AFTER_MS,
  };
}

/** Entries are in the order in which they came: the expired ones are at the front. */
function dropExpired(entries: Map<string, number>, beforeMs: number): void {
  for (const [id, atMs] of entries) {
    if (atMs >= beforeMs) return;
    entries.delete(id);
  }
}
