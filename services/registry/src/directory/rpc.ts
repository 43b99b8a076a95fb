import { randomBytes } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import type {
  DirectoryService,
  GetOperatorRequest,
  GetPairwiseSubjectRequest,
  GetSubjectRequest,
  MatchCertificateRequest,
  RedeemEnrolmentRequest,
} from "@fujie/api/fujie/registry/v1/directory";
import { OperatorRole } from "@fujie/api/fujie/registry/v1/operators";
import { isUuid, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { findAccount, lockAccount } from "../accounts/store.ts";
import type { Context } from "../context.ts";
import { findMemberships } from "../delegation/memberships.ts";
import { findHeld } from "../delegation/store.ts";
import { enrolmentDigestInput } from "../enrolments/rules.ts";
import { takeEnrolment } from "../enrolments/store.ts";
import { verifyCertificate } from "../gateway/ask.ts";
import { operatorScopes } from "../operators/rules.ts";
import { findOperator, findOperatorByDigest } from "../operators/store.ts";
import { findOrganisation } from "../organisations/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { findSubjectByDigest, keepPairwiseId } from "../subjects/store.ts";
import { identifierDigests, openIdentity } from "../subjects/vault.ts";

export function directoryService(context: Context) {
  return {
    redeemEnrolment: recordingRefusals(context, "enrolment.redeemed", (request, call) =>
      redeemEnrolment(context, request, call),
    ),
    getSubject: (request) => getSubject(context, request),
    getOperator: (request) => getOperator(context, request),
    matchCertificate: recordingRefusals(context, "certificate.matched", (request, call) =>
      matchCertificate(context, request, call),
    ),
    getPairwiseSubject: (request) => getPairwiseSubject(context, request),
  } satisfies ServiceImpl<typeof DirectoryService>;
}

async function redeemEnrolment(
  context: Context,
  { enrolmentCode, requestId }: RedeemEnrolmentRequest,
  call: HandlerContext,
) {
  const { db, ring, clock } = context;
  return transaction(db, async (tx) => {
    const digests = ring.hmacAll("blind-index", enrolmentDigestInput(enrolmentCode));
    const holder = await takeEnrolment(tx, digests, new Date(clock.nowMs()), requestId);
    if (holder === undefined) throw new DomainError("ENROLMENT_INVALID");
    await recordEvent(context, tx, call, {
      type: "enrolment.redeemed",
      outcome: "SUCCESS",
      ...(holder.kind === "account" ? { subject: holder.id } : {}),
      details: { [`${holder.kind}_id`]: holder.id },
    });
    if (holder.kind === "client") return { holder: { case: "clientId" as const, value: holder.id } };
    const account = await lockAccount(tx, holder.id);
    const identity = await openIdentity(tx, ring, holder.id);
    const mayBind = account?.state === "PENDING" || account?.state === "ACTIVE";
    if (!mayBind || identity === undefined) throw new DomainError("ENROLMENT_INVALID");
    return { holder: { case: "accountId" as const, value: holder.id }, loginName: identity.loginName ?? "" };
  });
}

async function getSubject(context: Context, { accountId, organisationId }: GetSubjectRequest) {
  const { db } = context;
  const account = await findAccount(db, accountId);
  if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
  return {
    state: AccountState[account.state],
    level: account.level,
    memberships: await findMemberships(context, accountId),
    role: Role[(await findRole(context, organisationId, accountId)) ?? "UNSPECIFIED"],
  };
}

/** The role in an ACTIVE organisation; in any other one nobody acts. */
async function findRole({ db, clock }: Pick<Context, "db" | "clock">, organisationId: string, accountId: string) {
  if (!isUuid(organisationId)) return undefined;
  const held = await findHeld(db, organisationId, accountId, new Date(clock.nowMs()));
  if (held === undefined) return undefined;
  return (await findOrganisation(db, organisationId))?.state === "ACTIVE" ? held.role : undefined;
}

async function getOperator({ db, clock }: Pick<Context, "db" | "clock">, { operatorId }: GetOperatorRequest) {
  const operator = await findOperator(db, operatorId);
  if (operator === undefined) throw new DomainError("OPERATOR_NOT_FOUND");
  return {
    role: OperatorRole[operator.role],
    scopes: [...operatorScopes(operator, new Date(clock.nowMs()))],
    reviewedUntil: timestampFromDate(operator.reviewedUntil),
  };
}

async function matchCertificate(context: Context, request: MatchCertificateRequest, call: HandlerContext) {
  const { db, ring } = context;
  const { message, proof } = request;
  if (proof === undefined) throw new DomainError("SIGNATURE_INVALID");
  const { caId, identifier } = await verifyCertificate(context, message, proof, call);
  if (identifier.case !== "citizenId") throw new DomainError("CREDENTIALS_INVALID");
  const digests = identifierDigests(ring, "citizen-id", identifier.value);
  // Staff sign in as staff with the certificate that binds them; for the rest of their life they have other ways.
  const operator = await findOperatorByDigest(db, digests);
  if (operator?.caId === caId) return { holder: { case: "operatorId" as const, value: operator.operatorId } };
  const accountId = await findSubjectByDigest(db, "citizen-id", digests);
  if (accountId === undefined) throw new DomainError("CREDENTIALS_INVALID");
  return { holder: { case: "accountId" as const, value: accountId } };
}

async function getPairwiseSubject({ db }: Pick<Context, "db">, { accountId, sector }: GetPairwiseSubjectRequest) {
  return transaction(db, async (tx) => {
    const account = await lockAccount(tx, accountId);
    if (account === undefined || account.state === "CANCELLED") throw new DomainError("ACCOUNT_NOT_FOUND");
    return { subject: await keepPairwiseId(tx, accountId, sector, randomBytes(16).toString("base64url")) };
  });
}
