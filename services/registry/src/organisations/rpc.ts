import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type CreateChallengeRequest,
  type GetOrganisationRequest,
  type OrganisationService,
  OrganisationState,
  type RegisterOrganisationRequest,
  RegisterOrganisationRequestSchema,
  RegisterOrganisationResponseSchema,
} from "@fujie/api/fujie/registry/v1/organisations";
import type { VerifyCertificateResponse } from "@fujie/api/fujie/trust/v1/evidence";
import { normaliseUscc } from "@fujie/identity";
import { type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import { requireRealName } from "../accounts/acting.ts";
import { type ChallengeBinding, composeChallenge } from "../challenges/rules.ts";
import { findChallenge, insertChallenge, takeChallenge } from "../challenges/store.ts";
import type { Context } from "../context.ts";
import { findHeld } from "../delegation/store.ts";
import { verifyCertificate } from "../gateway/ask.ts";
import { recordingRefusals } from "../refusals.ts";
import { type AcceptedTerms, requireAcceptance } from "../registrations/acceptance.ts";
import { claimIdentifier } from "../subjects/store.ts";
import { identifierDigests, openIdentity, storeIdentity } from "../subjects/vault.ts";
import { cancelOrganisation } from "./cancel.ts";
import { readOrganisation } from "./rules.ts";
import { askAboutOrganisation } from "./settle.ts";
import { findOrganisation, insertOrganisation } from "./store.ts";

const CHALLENGE_MS = 2 * 60_000;
/** After which the sweeper asks, should the process die between storing and asking. */
const FIRST_QUESTION_MS = 20_000;

export function organisationService(context: Context) {
  return {
    createChallenge: (_request: CreateChallengeRequest, call: HandlerContext) => createChallenge(context, call),
    registerOrganisation: recordingRefusals(context, "organisation.submitted", (request, call) =>
      registerOrganisation(context, request, call),
    ),
    cancelOrganisation: recordingRefusals(context, "organisation.cancelled", (request, call) =>
      cancelOrganisation(context, request, call),
    ),
    getOrganisation: (request, call) => getOrganisation(context, request, call),
  } satisfies ServiceImpl<typeof OrganisationService>;
}

async function createChallenge(context: Context, call: HandlerContext) {
  const { db, clock, issuer } = context;
  await requireRealName(context, call);
  const binding = bindingOf(call);
  const challengeId = uuidv7(clock.nowMs());
  const expireAt = new Date(clock.nowMs() + CHALLENGE_MS);
  const message = composeChallenge(issuer, binding, challengeId, expireAt);
  await insertChallenge(db, { ...binding, challengeId, expireAt, message });
  return { challengeId, message, expireTime: timestampFromDate(expireAt) };
}

/** A challenge is for whoever asked for it, in the session in which he asked. */
function bindingOf(call: HandlerContext): ChallengeBinding {
  const { subject, sessionId = "" } = subjectOf(call);
  return { purpose: "organisation-registration", subject, session: sessionId };
}

async function registerOrganisation(context: Context, request: RegisterOrganisationRequest, call: HandlerContext) {
  const { db, clock, environment } = context;
  const terms = requireAcceptance(request.acceptance, clock.nowMs());
  const { uscc, name } = readOrganisation(request, { allowFictional: environment === "sandbox" });
  const registrar = await requireRealName(context, call);
  const binding = bindingOf(call);
  const challenge = await findChallenge(db, request.challengeId, binding, new Date(clock.nowMs()));
  const holder = challenge === undefined ? undefined : await verifyCertificate(context, challenge, request.proof, call);
  if (holder !== undefined) requireOwnCode(holder, uscc.code);

  const stored = await transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: RegisterOrganisationRequestSchema, responseSchema: RegisterOrganisationResponseSchema },
      async () => {
        const isTaken = await takeChallenge(tx, request.challengeId, binding, new Date(clock.nowMs()));
        if (holder === undefined || !isTaken) throw new DomainError("CHALLENGE_INVALID");
        const organisationId = uuidv7(clock.nowMs());
        const identity = { kind: "organisation", identifier: uscc.code, name: name.name } as const;
        await storeIdentity(tx, context.ring, organisationId, identity);
        const digests = identifierDigests(context.ring, "uscc", uscc.code);
        if (!(await claimIdentifier(tx, "uscc", digests, organisationId))) {
          throw new DomainError("IDENTIFIER_ALREADY_REGISTERED");
        }
        await storeOrganisation(context, tx, organisationId, registrar.accountId, holder, terms);
        await recordEvent(context, tx, call, {
          type: "organisation.submitted",
          outcome: "PENDING",
          subject: organisationId,
          details: { certificate_ca: holder.caId, agreement_version: terms.agreementVersion },
        });
        return create(RegisterOrganisationResponseSchema, { organisationId, state: OrganisationState.PENDING });
      },
    ),
  );
  await askAboutOrganisation(context, call, stored.organisationId, call);
  return replyTo(context, stored.organisationId, registrar.accountId);
}

/** The certificate is the named organisation's own: no person's, no other organisation's. */
function requireOwnCode({ identifier }: VerifyCertificateResponse, uscc: string): void {
  if (identifier.case !== "uscc" || normaliseUscc(identifier.value) !== uscc) {
    throw new DomainError("CERTIFICATE_IDENTITY_CONFLICT");
  }
}

async function storeOrganisation(
  { clock }: Pick<Context, "clock">,
  tx: Transaction,
  organisationId: string,
  registeredBy: string,
  { caId, fingerprint }: VerifyCertificateResponse,
  terms: AcceptedTerms,
): Promise<void> {
  await insertOrganisation(tx, {
    organisationId,
    registeredBy,
    certificateCa: caId,
    certificateSha256: fingerprint,
    createdAt: new Date(clock.nowMs()),
    askAt: new Date(clock.nowMs() + FIRST_QUESTION_MS),
    ...terms,
  });
}

async function replyTo({ db, clock }: Pick<Context, "db" | "clock">, organisationId: string, accountId: string) {
  const organisation = await findOrganisation(db, organisationId);
  if (organisation === undefined) throw new DomainError("ORGANISATION_NOT_FOUND");
  if (organisation.state === "REJECTED") throw new DomainError("REGISTRATION_REJECTED");
  const held = await findHeld(db, organisationId, accountId, new Date(clock.nowMs()));
  return {
    organisationId,
    state: OrganisationState[organisation.state],
    legalRepresentativeLinked: held?.role === "LEGAL_REPRESENTATIVE",
  };
}

async function getOrganisation(context: Context, { organisationId }: GetOrganisationRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  // The token may be older than the end of the role.
  const held = await findHeld(db, organisationId, subjectOf(call).subject, new Date(clock.nowMs()));
  const organisation = held === undefined ? undefined : await findOrganisation(db, organisationId);
  const identity = organisation === undefined ? undefined : await openIdentity(db, ring, organisationId);
  if (organisation === undefined || identity === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  const { name, identifier: uscc } = identity;
  return { organisationId, state: OrganisationState[organisation.state], name, uscc };
}
