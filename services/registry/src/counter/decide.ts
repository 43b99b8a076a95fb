/*
 * The decision at the counter, as a list of checks. What stands before the transaction asks others; inside it, the
 * registration is held, and the confirming insert into the identifier index decides between two that claim one person.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type DecideRegistrationRequest,
  DecideRegistrationRequestSchema,
  DecideRegistrationResponseSchema,
  Decision,
} from "@fujie/api/fujie/registry/v1/counter";
import { RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import type { VerifyCertificateResponse } from "@fujie/api/fujie/trust/v1/evidence";
import { type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { deriveLevel } from "../accounts/rules.ts";
import { activateAccount, setLevel } from "../accounts/store.ts";
import { publishAccount } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { areDocumentsOf } from "../documents/store.ts";
import { issueEnrolment } from "../enrolments/issue.ts";
import { COUNTER_SOURCE } from "../evidence/rules.ts";
import { findEvidence, insertEvidence } from "../evidence/store.ts";
import { verifyCertificate } from "../gateway/ask.ts";
import { requireOperator } from "../operators/acting.ts";
import { findOperatorDigests, type Operator } from "../operators/store.ts";
import { endRegistration } from "../registrations/end.ts";
import { isOpen } from "../registrations/rules.ts";
import {
  findOpenRegistrations,
  findRegistrationDigests,
  lockRegistration,
  type Registration,
  setRegistrationState,
} from "../registrations/store.ts";
import { claimIdentifier, lockIdentifier } from "../subjects/store.ts";
import { identifierDigests, openIdentity, sealForSubject } from "../subjects/vault.ts";
import { type DecisionName, decisionMessage, isSameIdentifier, requireRecent, type SignedDecision } from "./rules.ts";
import { insertDecision } from "./store.ts";

/** Level of the counter's own evidence: a person compared with his document (SZ-14.4). */
const COUNTER_LEVEL = 2;
const LOSERS_MAX = 1_000;

/** See CounterService.DecideRegistration. */
export async function decideRegistration(context: Context, request: DecideRegistrationRequest, call: HandlerContext) {
  const operator = await requireOperator(context, call, "registry.counter");
  const decision = readDecision(request);
  requireRecent(decision.decidedAt, context.clock.nowMs());
  await requireOwnSignature(context, operator, decision, request, call);

  let enrolmentCode = "";
  const reply = await transaction(context.db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: DecideRegistrationRequestSchema, responseSchema: DecideRegistrationResponseSchema },
      async () => {
        const digests = await findRegistrationDigests(tx, decision.registrationId);
        await lockIdentifier(tx, digests);
        const registration = await requireDecidable(context, tx, decision);
        await requireFourEyes(tx, operator, registration, digests);
        await requireDocuments(tx, decision);
        await keepDecision(context, tx, operator, registration, decision, request);
        if (decision.decision === "REFUSE") {
          const ending = { state: "REJECTED", because: COUNTER_SOURCE } as const;
          await endRegistration(context, tx, call, registration, ending);
        } else {
          await confirm(context, tx, call, registration, decision);
          enrolmentCode = await issueEnrolment(context, tx, { kind: "account", id: registration.accountId });
        }
        return create(DecideRegistrationResponseSchema, {
          state: RegistrationState[decision.decision === "REFUSE" ? "REJECTED" : "CONFIRMED"],
          accountId: registration.accountId,
        });
      },
    ),
  );
  // The code is in the first answer only: a repetition goes without.
  return { ...reply, enrolmentCode };
}

function readDecision(request: DecideRegistrationRequest): SignedDecision {
  const { registrationId, documentIds, decideTime } = request;
  const decision: DecisionName = request.decision === Decision.CONFIRM ? "CONFIRM" : "REFUSE";
  if (new Set(documentIds).size !== documentIds.length) {
    throw fieldError("FIELD_INVALID", "document_ids", "repeats a document");
  }
  const decidedAt = decideTime === undefined ? new Date(0) : timestampDate(decideTime);
  return { registrationId, decision, documentIds, decidedAt };
}

/** The operator's bound certificate, and nobody else's, signed exactly this decision. */
async function requireOwnSignature(
  context: Context,
  operator: Operator,
  decision: SignedDecision,
  request: DecideRegistrationRequest,
  call: HandlerContext,
): Promise<void> {
  const holder = await verifyCertificate(context, decisionMessage(decision), request.proof, call).catch(
    (error: unknown) => {
      const isForged = error instanceof DomainError && error.reason === "SIGNATURE_INVALID";
      throw isForged ? fieldError("DECISION_SIGNATURE_INVALID", "signature", "does not fit the decision") : error;
    },
  );
  if (!(await isBoundCertificate(context, operator, holder))) {
    throw fieldError("DECISION_SIGNATURE_INVALID", "certificates", "are not the operator's");
  }
}

async function isBoundCertificate(
  { db, ring }: Pick<Context, "db" | "ring">,
  operator: Operator,
  { caId, identifier }: VerifyCertificateResponse,
): Promise<boolean> {
  if (caId !== operator.caId || identifier.case !== "citizenId") return false;
  const own = await findOperatorDigests(db, operator.operatorId);
  return isSameIdentifier(own, identifierDigests(ring, "citizen-id", identifier.value));
}

async function requireDecidable(
  { clock }: Pick<Context, "clock">,
  tx: Transaction,
  { registrationId, decision }: SignedDecision,
): Promise<Registration> {
  const registration = await lockRegistration(tx, registrationId);
  if (registration === undefined) throw new DomainError("REGISTRATION_NOT_FOUND");
  if (!isOpen(registration, new Date(clock.nowMs()))) throw new DomainError("REGISTRATION_STATE_INVALID");
  if (decision === "CONFIRM" && registration.state !== "VERIFIED") throw new DomainError("IDENTITY_NOT_VERIFIED");
  return registration;
}

/** Nobody decides about himself or what he entered himself (SZ-8.3). */
async function requireFourEyes(
  tx: Transaction,
  { operatorId }: Operator,
  registration: Registration,
  digests: Parameters<typeof isSameIdentifier>[0],
): Promise<void> {
  const isHimself = isSameIdentifier(await findOperatorDigests(tx, operatorId), digests);
  if (isHimself || registration.enteredBy === operatorId) throw new DomainError("SELF_APPROVAL_FORBIDDEN");
}

async function requireDocuments(
  tx: Transaction,
  { registrationId, decision, documentIds }: SignedDecision,
): Promise<void> {
  const isBare = decision === "CONFIRM" && documentIds.length === 0;
  if (isBare || !(await areDocumentsOf(tx, registrationId, documentIds))) throw new DomainError("DOCUMENT_MISSING");
}

async function keepDecision(
  { ring }: Pick<Context, "ring">,
  tx: Transaction,
  { operatorId }: Operator,
  { registrationId, accountId }: Registration,
  decision: SignedDecision,
  request: DecideRegistrationRequest,
): Promise<void> {
  const proof = toBinary(DecideRegistrationRequestSchema, request);
  const proofSealed = await sealForSubject(tx, ring, accountId, `decision:${registrationId}`, proof);
  if (proofSealed === undefined) throw new DomainError("REGISTRATION_STATE_INVALID");
  await insertDecision(tx, { ...decision, operatorId, proofSealed });
}

/** Makes the account real-name. Everybody else who claims the person loses. */
async function confirm(
  context: Context,
  tx: Transaction,
  call: HandlerContext,
  { registrationId, accountId }: Registration,
  decision: SignedDecision,
): Promise<void> {
  const { ring, clock } = context;
  const identity = await openIdentity(tx, ring, accountId);
  if (identity === undefined) throw new DomainError("REGISTRATION_STATE_INVALID");
  const digests = identifierDigests(ring, "citizen-id", identity.identifier);
  if (!(await claimIdentifier(tx, "citizen-id", digests, accountId))) {
    throw new DomainError("IDENTIFIER_ALREADY_REGISTERED");
  }
  const checkedAt = decision.decidedAt;
  const counterEvidence = { evidenceId: uuidv7(clock.nowMs()), sourceId: COUNTER_SOURCE, level: COUNTER_LEVEL };
  await insertEvidence(tx, ring, [{ subjectId: accountId, ...counterEvidence, checkedAt }]);
  const evidence = await findEvidence(tx, ring, accountId);
  const level = deriveLevel({ state: "ACTIVE", evidence, representsOrganisation: false });
  // The base's own evidence is gone or does not bear its MAC: the state alone proves nothing.
  if (level < COUNTER_LEVEL) throw new DomainError("IDENTITY_NOT_VERIFIED");

  await activateAccount(tx, accountId);
  await setLevel(tx, accountId, level);
  await setRegistrationState(tx, registrationId, "CONFIRMED");
  await publishAccount(tx, { accountId, state: "ACTIVE", level }, { wipeCredentials: true });
  await recordEvent(context, tx, call, {
    type: "registration.confirmed",
    outcome: "SUCCESS",
    subject: accountId,
    details: { registration_id: registrationId, document_ids: decision.documentIds.join(",") },
  });
  const losers = await findOpenRegistrations(tx, digests, new Date(clock.nowMs()), LOSERS_MAX);
  for (const { registrationId: loserId } of losers) {
    const loser = await lockRegistration(tx, loserId);
    if (loser === undefined || !isOpen(loser, new Date(clock.nowMs()))) continue;
    await endRegistration(context, tx, call, loser, { state: "REJECTED", because: "another-was-confirmed" });
  }
}
