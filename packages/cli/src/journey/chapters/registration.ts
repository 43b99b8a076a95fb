/** Chapter 1: a person registers at the portal. The account is PENDING, holds nobody's slot, and can do next to nothing. */
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { AccountService, AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import { RegistrationService, RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { clientCredentials } from "../../sign-in/client-credentials.ts";
import { callService } from "../callers.ts";
import { expectRefusal, expectThat } from "../expect.ts";
import { type Account, type Stage, signInPerson } from "../stage.ts";
import { PURPOSE } from "./ceremony.ts";

export interface PendingPerson {
  readonly registrationId: string;
  readonly account: Account;
}

export async function portalToken({ platform, staff }: Pick<Stage, "platform" | "staff">): Promise<string> {
  const { clientId, clientSecret } = staff.portal;
  return clientCredentials({
    issuer: platform.issuer,
    clientId,
    clientSecret,
    scopes: ["registry.registrations.write"],
  });
}

/** Registers one person and waits for the population base's answer. */
export async function register(stage: Stage, person: SyntheticPerson, loginName: string): Promise<PendingPerson> {
  const { platform, trace } = stage;
  const token = await portalToken(stage);
  const registrations = callService(RegistrationService, platform.httpUrl("registry"), { token, trace });
  const agreement = await registrations.getAgreement({});
  const registered = await registrations.registerPerson({
    requestId: crypto.randomUUID(),
    citizenId: person.citizenId,
    name: person.name,
    loginName,
    acceptance: {
      agreementVersion: agreement.version,
      agreementSha256: agreement.sha256,
      noticeVersion: agreement.noticeVersion,
    },
  });
  const password = `pending-${crypto.randomUUID()}`;
  const credentials = callService(CredentialService, platform.httpUrl("auth"), { trace });
  await credentials.bindPassword({ enrolmentCode: registered.enrolmentCode, password });
  const { registrationId, accountId } = registered;
  const answered = await registrations.getRegistration({ registrationId, waitMs: 20_000 });
  expectThat(answered.state === RegistrationState.VERIFIED, "the population base knows the person");
  return { registrationId, account: { accountId, loginName, password } };
}

export async function playRegistration(
  stage: Stage,
  person: SyntheticPerson,
  loginName: string,
): Promise<PendingPerson> {
  const { narrator, platform } = stage;
  narrator.asks("a person", "the portal registers citizen id, name and a chosen login name; agreement accepted");
  const pending = await register(stage, person, loginName);
  narrator.answers("registry", "PENDING; the population base was asked by the trust-gateway and agrees");

  const { accessToken: token } = await signInPerson(stage, pending.account);
  const account = await callService(AccountService, platform.httpUrl("registry"), {
    token,
    trace: stage.trace,
  }).getOwnAccount({});
  expectThat(account.state === AccountState.PENDING && account.level === 1, "a PENDING account of level 1");
  const consents = callService(ConsentService, platform.httpUrl("registry"), { token, trace: stage.trace });
  const consent = consents.grantConsent({
    requestId: crypto.randomUUID(),
    applicationId: stage.staff.housingFund.applicationId,
    purpose: PURPOSE,
    claimType: ClaimType.PERSON_TWO_ELEMENT,
  });
  narrator.refused("a real-name service for the pending account", await expectRefusal(consent, "LEVEL_TOO_LOW"));
  return pending;
}
