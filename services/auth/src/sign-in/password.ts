/**
 * Sign-in by login name and password.
 *
 *   count the attempt ─▶ look the name up ─▶ hash, known or not ─▶ ask the registry ─▶ session
 *
 * An unknown name, a wrong password and an account that may not sign in are one answer, after the same work.
 */

import { canonicalIdentifier, parseLoginName } from "@fujie/identity";
import { DomainError, reasons } from "@fujie/kit/errors";
import type { KeyRing, VersionedDigest } from "@fujie/kit/keys";
import type { Context } from "../context.ts";
import { openHash } from "../credentials/sealed-hash.ts";
import { findPassword } from "../credentials/store.ts";
import type { Session } from "../sessions/rules.ts";
import { establishSession, type Place, recordRefusedSignIn } from "./establish.ts";
import { type Counter, countAttempt, forgiveAttempts } from "./throttle.ts";

export interface PasswordAttempt {
  readonly loginName: string;
  readonly password: string;
  /** Keyed digest of the network. */
  readonly networkKey: string;
  /** The browser's id, when it is one in which this login name signed in before. */
  readonly knownBrowser: string | undefined;
}

/** @throws DomainError CREDENTIALS_INVALID, SIGN_IN_THROTTLED, OVERLOADED, DEPENDENCY_UNAVAILABLE */
export async function signInWithPassword(context: Context, place: Place, attempt: PasswordAttempt): Promise<Session> {
  const here = hereCounter(context, attempt);
  await countAttempt(context, [here, ...widerCounters(context, attempt)]);
  const stored = await findPassword(context.db, loginDigests(context.ring, attempt.loginName));
  const phc = stored === undefined ? undefined : openHash(context.ring, stored);
  const fits = await context.hasher.matches(phc, attempt.password);
  if (stored === undefined || !fits) {
    await recordRefusedSignIn(context, "CREDENTIALS_INVALID", "pwd", attempt.networkKey, stored?.accountId);
    throw new DomainError("CREDENTIALS_INVALID");
  }
  try {
    const session = await establishSession(context, place, { subject: stored.accountId, kind: "person" }, "pwd");
    await forgiveAttempts(context, here);
    return session;
  } catch (error) {
    // The password was right, and the fault is ours: trying until it works again is no guessing.
    if (error instanceof DomainError && reasons[error.reason].retryable) await forgiveAttempts(context, here);
    throw error;
  }
}

/** What a login name is counted under: a keyed digest, one for all spellings. */
export function loginKeyOf(ring: Pick<KeyRing, "hmac">, loginName: string): string {
  return ring.hmac("cache-key", canonicalLogin(loginName)).digest.toString("base64url");
}

/** The digests to look a login name up by; for what can be no login name, digests that nothing has. */
export function loginDigests(ring: Pick<KeyRing, "hmacAll">, loginName: string): readonly VersionedDigest[] {
  return ring.hmacAll("blind-index", canonicalLogin(loginName));
}

function canonicalLogin(loginName: string): string {
  const parsed = parseLoginName(loginName);
  // No canonical identifier begins like this: the kinds are a closed list.
  return parsed.ok ? canonicalIdentifier("login-name", parsed.value) : `no-login-name:${loginName}`;
}

function hereCounter({ ring, attemptLimits }: Context, attempt: PasswordAttempt): Counter {
  const login = loginKeyOf(ring, attempt.loginName);
  const place = attempt.knownBrowser ?? attempt.networkKey;
  return { key: `here:${login}:${place}`, max: attemptLimits.loginHere };
}

/** A browser that knows the login name does not wait for strangers who try it elsewhere. */
function widerCounters({ ring, attemptLimits }: Context, attempt: PasswordAttempt): readonly Counter[] {
  const network = { key: `network:${attempt.networkKey}`, max: attemptLimits.network };
  if (attempt.knownBrowser !== undefined) return [network];
  return [network, { key: `login:${loginKeyOf(ring, attempt.loginName)}`, max: attemptLimits.login }];
}
