/*
 *   RegisterPerson ──▶ SUBMITTED ──base agrees──▶ VERIFIED ──counter confirms──▶ CONFIRMED
 *                          │                         │
 *                          ├──base disagrees──┬──counter refuses, or another one is confirmed──▶ REJECTED
 *                          └──nobody comes────┴──▶ EXPIRED
 *
 * Nothing but the counter makes an account real-name (SZ-14.4). A base that is away leaves SUBMITTED, which completes
 * by itself: by the gateway's feed when it took the question, else by the sweeper that asks again (SZ-13.4).
 */
import type { HandlerContext } from "@connectrpc/connect";
import type { VerificationDecided } from "@fujie/api/fujie/trust/v1/evidence";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { type Transaction, transaction } from "@fujie/kit/db";
import { type Origin, recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { insertEvidence } from "../evidence/store.ts";
import { collectEvidence, evidenceOf, type Question, verdictOf } from "../gateway/ask.ts";
import type { Identity } from "../subjects/vault.ts";
import { openIdentity } from "../subjects/vault.ts";
import { endRegistration } from "./end.ts";
import { claimRegistrationsToAsk, lockRegistration, markTaken, setRegistrationState } from "./store.ts";

export const REGISTRATION_REFERENCE = "registration:";

/** Asks the population base about a registration and applies what it says. Never throws for a source that is away. */
export async function askAboutRegistration(
  context: Pick<Context, "db" | "ring" | "clock" | "evidence" | "log">,
  from: HandlerContext | Origin,
  registrationId: string,
  identity: Pick<Identity, "identifier" | "name">,
  call?: HandlerContext,
): Promise<void> {
  const decision = await collectEvidence(context, questionAbout(registrationId, identity), call);
  if (decision === undefined) return;
  await transaction(context.db, (tx) => settleRegistration(context, tx, from, registrationId, decision));
}

/** Applies a decision, once: a registration that is no longer SUBMITTED stays as it is. */
export async function settleRegistration(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  from: HandlerContext | Origin,
  registrationId: string,
  decision: VerificationDecided,
): Promise<void> {
  const registration = await lockRegistration(tx, registrationId);
  if (registration?.state !== "SUBMITTED") return;
  const verdict = verdictOf(decision);
  if (verdict === undefined) return markTaken(tx, registrationId);
  if (verdict !== "VERIFIED") {
    return endRegistration(context, tx, from, registration, { state: verdict, because: "population-base" });
  }
  await insertEvidence(tx, context.ring, evidenceOf(decision, registration.accountId));
  await setRegistrationState(tx, registrationId, "VERIFIED");
  await recordEvent(context, tx, from, {
    type: "registration.verified",
    outcome: "SUCCESS",
    subject: registration.accountId,
    details: { registration_id: registrationId, verification_id: decision.verificationId },
  });
}

/** Asks about at most `batchMax` registrations whose question the gateway has not taken. Returns how many it asked. */
export async function askAgainAboutRegistrations(
  context: Pick<Context, "db" | "ring" | "clock" | "evidence" | "log">,
  batchMax: number,
): Promise<number> {
  const due = await claimRegistrationsToAsk(context.db, new Date(context.clock.nowMs()), batchMax);
  for (const { registrationId, accountId } of due) {
    const identity = await openIdentity(context.db, context.ring, accountId);
    if (identity === undefined) continue;
    await askAboutRegistration(context, { service: "registry" }, registrationId, identity);
  }
  return due.length;
}

function questionAbout(registrationId: string, { identifier, name }: Pick<Identity, "identifier" | "name">): Question {
  return {
    requestId: `registration-${registrationId}`,
    reference: `${REGISTRATION_REFERENCE}${registrationId}`,
    claim: { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: identifier, personName: name },
  };
}
