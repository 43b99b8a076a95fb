/*
 *   RegisterOrganisation ──▶ PENDING: is the registrar its representative? ──yes──▶ ACTIVE, linked: L3
 *                               │ no
 *                               ▼
 *                            PENDING: does it exist under this name? ──yes──▶ ACTIVE, not linked
 *                               │ no
 *                               ▼
 *                            REJECTED, its code free again
 *
 * The representative is compared by citizen id, the registrar's own as it was verified: never by name. A base that is
 * away leaves PENDING, which completes by itself: by the gateway's feed, or the sweeper that asks (again).
 */
import type { HandlerContext } from "@connectrpc/connect";
import type { VerificationDecided } from "@fujie/api/fujie/trust/v1/evidence";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { type Origin, recordEvent } from "@fujie/kit/record";
import { refreshLevel } from "../accounts/level.ts";
import { lockAccount } from "../accounts/store.ts";
import { publishMembership } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { insertDelegation } from "../delegation/store.ts";
import { insertEvidence } from "../evidence/store.ts";
import { collectEvidence, evidenceOf, type Question, verdictOf } from "../gateway/ask.ts";
import { eraseSubjectAt, releaseIdentifiers } from "../subjects/store.ts";
import { openIdentities } from "../subjects/vault.ts";
import {
  askExistence,
  claimOrganisationsToAsk,
  findOrganisation,
  lockOrganisation,
  markQuestionTaken,
  type Organisation,
  type QuestionName,
  setOrganisationState,
} from "./store.ts";

export const ORGANISATION_REFERENCE = "organisation:";

type Asking = Pick<Context, "db" | "ring" | "clock" | "evidence" | "log">;

/** Asks the legal-person base what is still open about an organisation, at most both questions. */
export async function askAboutOrganisation(
  context: Asking,
  from: HandlerContext | Origin,
  organisationId: string,
  call?: HandlerContext,
): Promise<void> {
  const asked = new Set<QuestionName>();
  for (;;) {
    const organisation = await findOrganisation(context.db, organisationId);
    if (organisation?.state !== "PENDING" || asked.has(organisation.question)) return;
    asked.add(organisation.question);
    const question = await composeQuestion(context, organisation);
    const decision = question === undefined ? undefined : await collectEvidence(context, question, call);
    if (decision === undefined) return;
    const { question: name } = organisation;
    await transaction(context.db, (tx) => settleOrganisation(context, tx, from, organisationId, name, decision));
  }
}

/** Reads the reference of a question about an organisation; undefined for any other. */
export function readOrganisationReference(
  reference: string,
): { readonly organisationId: string; readonly question: QuestionName } | undefined {
  const [, organisationId, question] = /^organisation:([\da-f-]{36}):(REPRESENTATIVE|EXISTENCE)$/.exec(reference) ?? [];
  if (organisationId === undefined) return undefined;
  return { organisationId, question: question === "EXISTENCE" ? "EXISTENCE" : "REPRESENTATIVE" };
}

/** Applies a decision, once: an answer to a question that is not open any more changes nothing. */
export async function settleOrganisation(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  from: HandlerContext | Origin,
  organisationId: string,
  question: QuestionName,
  decision: VerificationDecided,
): Promise<void> {
  const organisation = await lockOrganisation(tx, organisationId);
  if (organisation?.state !== "PENDING" || organisation.question !== question) return;
  const verdict = verdictOf(decision);
  if (verdict === undefined) return markQuestionTaken(tx, organisationId, question);
  if (verdict === "VERIFIED") return activate(context, tx, from, organisation, decision);
  const now = new Date(context.clock.nowMs());
  // Who represents it and whether it exists are two questions: the second one may still be answered.
  if (question === "REPRESENTATIVE") return askExistence(tx, organisationId, now);
  // Its code is free again, for another registration, also where no source ever answered.
  await setOrganisationState(tx, organisationId, "REJECTED");
  await releaseIdentifiers(tx, organisationId);
  await eraseSubjectAt(tx, organisationId, now);
  await recordEvent(context, tx, from, {
    type: verdict === "EXPIRED" ? "organisation.expired" : "organisation.rejected",
    outcome: "SUCCESS",
    subject: organisationId,
    details: { verification_id: decision.verificationId },
  });
}

/** Asks about at most `batchMax` organisations whose question the gateway has not taken. Returns how many. */
export async function askAgainAboutOrganisations(context: Asking, batchMax: number): Promise<number> {
  const due = await claimOrganisationsToAsk(context.db, new Date(context.clock.nowMs()), batchMax);
  for (const { organisationId } of due) {
    await askAboutOrganisation(context, { service: "registry" }, organisationId);
  }
  return due.length;
}

async function activate(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  from: HandlerContext | Origin,
  { organisationId, registeredBy, question }: Organisation,
  decision: VerificationDecided,
): Promise<void> {
  await insertEvidence(tx, context.ring, evidenceOf(decision, organisationId));
  await setOrganisationState(tx, organisationId, "ACTIVE");
  const registrar = await lockAccount(tx, registeredBy);
  const isLinked = question === "REPRESENTATIVE" && registrar?.state === "ACTIVE";
  if (isLinked) await linkRepresentative(context, tx, organisationId, registeredBy);
  await recordEvent(context, tx, from, {
    type: "organisation.registered",
    outcome: "SUCCESS",
    subject: organisationId,
    organisationId,
    details: {
      registered_by: registeredBy,
      legal_representative_linked: String(isLinked),
      verification_id: decision.verificationId,
    },
  });
}

async function linkRepresentative(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  organisationId: string,
  accountId: string,
): Promise<void> {
  const grantedAt = new Date(context.clock.nowMs());
  const role = "LEGAL_REPRESENTATIVE";
  const delegationId = uuidv7(grantedAt.getTime());
  await insertDelegation(tx, {
    delegationId,
    organisationId,
    accountId,
    role,
    expireAt: null,
    parentId: null,
    grantedAt,
  });
  await publishMembership(tx, accountId, organisationId, role);
  await refreshLevel(context, tx, accountId);
}

/** Undefined when the organisation's or the registrar's data is erased: then nothing can be asked. */
async function composeQuestion(
  { db, ring }: Pick<Context, "db" | "ring">,
  { organisationId, registeredBy, question }: Organisation,
): Promise<Question | undefined> {
  const identities = await openIdentities(db, ring, [organisationId, registeredBy]);
  const [organisation, registrar] = [identities.get(organisationId), identities.get(registeredBy)];
  if (organisation === undefined || registrar === undefined) return undefined;
  const elements = { uscc: organisation.identifier, organisationName: organisation.name };
  return {
    requestId: `organisation-${organisationId}-${question}`,
    reference: `${ORGANISATION_REFERENCE}${organisationId}:${question}`,
    claim:
      question === "REPRESENTATIVE"
        ? { type: ClaimType.LEGAL_REPRESENTATIVE, ...elements, citizenId: registrar.identifier }
        : { type: ClaimType.LEGAL_PERSON, ...elements },
  };
}
