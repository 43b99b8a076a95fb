/** Chapters 3 and 4: an organisation by its SM2 certificate, and who may act for it. */
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { DelegationService, Role } from "@fujie/api/fujie/registry/v1/delegation";
import { OrganisationService, OrganisationState } from "@fujie/api/fujie/registry/v1/organisations";
import { RegistrationService } from "@fujie/api/fujie/registry/v1/registrations";
import { callService } from "../callers.ts";
import { applyForCertificate, proofOf } from "../certificates.ts";
import { expectRefusal, expectThat } from "../expect.ts";
import { type Account, type Stage, signInPerson } from "../stage.ts";

/** Chapter 3: registers the organisation; its legal representative, by his own session, becomes L3. */
export async function playOrganisation(stage: Stage, representative: Account): Promise<string> {
  const { narrator, platform, players, trace } = stage;
  const url = platform.httpUrl("registry");
  const { accessToken: token } = await signInPerson(stage, representative);
  const { uscc, name } = players.organisation;
  const certificate = await applyForCertificate(platform.sandboxUrl, "ca-sm2", {
    kind: "organisation",
    name,
    identifier: uscc,
  });
  const organisations = callService(OrganisationService, url, { token, trace });
  narrator.asks(
    "the legal representative",
    "signs a challenge, bound to his session, with the organisation's SM2 certificate",
  );
  const { challengeId, message } = await organisations.createChallenge({});
  const agreement = await callService(RegistrationService, url, { trace }).getAgreement({});
  const request = {
    requestId: crypto.randomUUID(),
    challengeId,
    uscc,
    name,
    proof: proofOf(certificate, message),
    acceptance: {
      agreementVersion: agreement.version,
      agreementSha256: agreement.sha256,
      noticeVersion: agreement.noticeVersion,
    },
  };
  const registered = await organisations.registerOrganisation(request);
  expectThat(registered.state === OrganisationState.ACTIVE, "the organisation is real-name at once");
  expectThat(registered.legalRepresentativeLinked, "the caller is its legal representative");
  narrator.answers(
    "registry",
    `${name} is real-name: chain, revocation, identity extension and legal-person base agree`,
  );
  const replay = organisations.registerOrganisation({ ...request, requestId: crypto.randomUUID() });
  narrator.refused("the same challenge again", await expectRefusal(replay, "CHALLENGE_INVALID"));
  const own = await callService(AccountService, url, { token, trace }).getOwnAccount({});
  expectThat(own.level === 3, "level 3 for the legal representative");
  narrator.proof(`matched by citizen id, never by name: the representative is level ${own.level} now`);
  return registered.organisationId;
}

export interface Staffed {
  readonly representative: Account;
  readonly administrator: Account;
  readonly clerk: Account;
}

/** Chapter 4: legal representative → administrator → clerk, and no further. */
export async function playDelegation(stage: Stage, organisationId: string, people: Staffed): Promise<void> {
  const { narrator } = stage;
  const { representative, administrator, clerk } = people;
  await grant(stage, representative, administrator.loginName, Role.ADMINISTRATOR, organisationId);
  narrator.answers("registry", "the legal representative named an administrator");
  await grant(stage, administrator, clerk.loginName, Role.CLERK, organisationId);
  narrator.answers("registry", "the administrator named a clerk");
  const third = grant(stage, clerk, representative.loginName, Role.CLERK, organisationId);
  narrator.refused("the clerk names another", await expectRefusal(third, "ROLE_FORBIDDEN"));
}

async function grant(stage: Stage, by: Account, loginName: string, role: Role, organisationId: string): Promise<void> {
  const { accessToken: token } = await signInPerson(stage, by, organisationId);
  const delegation = callService(DelegationService, stage.platform.httpUrl("registry"), { token, trace: stage.trace });
  await delegation.grantRole({ requestId: crypto.randomUUID(), organisationId, loginName, role });
}
