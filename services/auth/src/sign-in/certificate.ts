/**
 * Sign-in by certificate: sign the challenge of this interaction.
 *
 *   count ─▶ use the challenge up ─▶ registry and trust-gateway verify ─▶ session
 *
 * The challenge is used up before anything is verified: of any number of answers to it, on whatever replica, one is
 * looked at, and a replay never is.
 */
import { uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { type Challenge, makeChallenge } from "../challenges/rules.ts";
import { findOpenChallenge, insertChallenge, useChallenge } from "../challenges/store.ts";
import type { Context } from "../context.ts";
import type { CertificateProof } from "../directory/directory.ts";
import type { Session } from "../sessions/rules.ts";
import { establishSession, type Place, recordRefusedSignIn } from "./establish.ts";
import { countAttempt } from "./throttle.ts";

/** A page shown again gives the same challenge while there is time left to sign it. */
const TIME_TO_SIGN_MS = 30_000;

/** The interaction's challenge: the open one, or a fresh one. */
export async function offerChallenge(
  { db, clock, issuer }: Pick<Context, "db" | "clock" | "issuer">,
  interaction: string,
): Promise<Challenge> {
  const nowMs = clock.nowMs();
  const open = await findOpenChallenge(db, interaction, nowMs + TIME_TO_SIGN_MS);
  if (open !== undefined) return open;
  const fresh = makeChallenge({ id: uuidv7(nowMs), origin: new URL(issuer).origin, interaction, nowMs });
  await insertChallenge(db, fresh);
  return fresh;
}

/** @throws DomainError CHALLENGE_INVALID, CREDENTIALS_INVALID, CERTIFICATE_*, SIGNATURE_INVALID, SIGN_IN_THROTTLED … */
export async function signInWithCertificate(
  context: Context,
  place: Place,
  proof: CertificateProof,
  networkKey: string,
): Promise<Session> {
  await countAttempt(context, [{ key: `network:${networkKey}`, max: context.attemptLimits.network }]);
  try {
    const challenge = await findOpenChallenge(context.db, place.interaction, context.clock.nowMs());
    if (challenge === undefined || !(await useChallenge(context.db, challenge))) {
      throw new DomainError("CHALLENGE_INVALID");
    }
    const who = await context.directory.match(challenge.message, proof);
    return await establishSession(context, place, who, "pop");
  } catch (error) {
    if (error instanceof DomainError) await recordRefusedSignIn(context, error.reason, "pop", networkKey);
    throw error;
  }
}
