/** An organisation by its SM2 certificate, and who may act for it, whatever is killed meanwhile. */
import assert from "node:assert/strict";
import { DelegationService, Role } from "@fujie/api/fujie/registry/v1/delegation";
import { OrganisationService, OrganisationState } from "@fujie/api/fujie/registry/v1/organisations";
import type { SyntheticOrganisation } from "@fujie/sandbox/people";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { applyForCertificate, proofOf } from "../../src/journey/certificates.ts";
import type { Account, Stage } from "../../src/journey/stage.ts";
import type { Ledger } from "./ledger.ts";
import { acceptTerms, signIn } from "./person.ts";
import { stubbornly, untilAnswered } from "./stubborn.ts";

/** Registers the organisation in its legal representative's own session; returns its id once it is real-name. */
export async function registerOrganisation(
  stage: Stage,
  ledger: Ledger,
  { uscc, name }: SyntheticOrganisation,
  representative: Account,
): Promise<string> {
  const subject = { kind: "organisation", name, identifier: uscc } as const;
  const certificate = await applyForCertificate(stage.platform.sandboxUrl, "ca-sm2", subject);
  const { accessToken: token } = await signIn(stage, ledger, representative);
  const call = { token, trace: newTrace() };
  const organisations = callService(OrganisationService, stage.platform.httpUrl("registry"), call);
  const acceptance = await acceptTerms(stage);
  const { challengeId, message } = await stubbornly(() => organisations.createChallenge({}));
  const proof = proofOf(certificate, message);
  const request = { requestId: crypto.randomUUID(), challengeId, uscc, name, proof, acceptance };
  // The same request until the legal-person base was heard: PENDING is an answer, too.
  const { organisationId, state, legalRepresentativeLinked } = await untilAnswered(
    "the organisation becomes real-name by itself",
    () => organisations.registerOrganisation(request),
    (answer) => answer.state !== OrganisationState.PENDING,
  );
  assert.equal(state, OrganisationState.ACTIVE);
  assert.ok(legalRepresentativeLinked, "the caller is its legal representative");
  ledger.note("organisation.submitted", { case: "subject", value: organisationId });
  ledger.note("organisation.registered", { case: "subject", value: organisationId });
  return organisationId;
}

export async function nameSomebody(
  stage: Stage,
  ledger: Ledger,
  organisationId: string,
  by: Account,
  whom: Account,
  role: Role.ADMINISTRATOR | Role.CLERK,
): Promise<void> {
  const { accessToken: token } = await signIn(stage, ledger, by, organisationId);
  const call = { token, trace: newTrace() };
  const delegation = callService(DelegationService, stage.platform.httpUrl("registry"), call);
  const request = { requestId: crypto.randomUUID(), organisationId, loginName: whom.loginName, role };
  const first = await stubbornly(() => delegation.grantRole(request));
  const again = await stubbornly(() => delegation.grantRole(request));
  assert.equal(again.delegationId, first.delegationId, "a repetition names nobody again");
  ledger.note("role.granted", { case: "subject", value: whom.accountId });
}

/** Who acts for the organisation, as its legal representative reads it: accounts with their roles, sorted. */
export async function rolesIn(stage: Stage, ledger: Ledger, organisationId: string, representative: Account) {
  const { accessToken: token } = await signIn(stage, ledger, representative, organisationId);
  const call = { token, trace: newTrace() };
  const delegation = callService(DelegationService, stage.platform.httpUrl("registry"), call);
  const { delegations } = await stubbornly(() => delegation.listRoles({ organisationId, pageSize: 100 }));
  return delegations.map(({ accountId, role }) => `${accountId} ${Role[role]}`).toSorted();
}
