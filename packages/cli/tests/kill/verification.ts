/** A person's consent and its single use by an application, whatever is killed meanwhile. */
import assert from "node:assert/strict";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import { ClaimType, Outcome, VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { PURPOSE } from "../../src/journey/chapters/ceremony.ts";
import type { Account, Stage } from "../../src/journey/stage.ts";
import { clientCredentials } from "../../src/sign-in/client-credentials.ts";
import type { Ledger } from "./ledger.ts";
import { signIn } from "./person.ts";
import { refusalOf, stubbornly, untilAnswered } from "./stubborn.ts";

export async function verifyWithConsent(
  stage: Stage,
  ledger: Ledger,
  account: Account,
  person: SyntheticPerson,
): Promise<void> {
  const consentGrant = await grantConsent(stage, ledger, account);
  const verifications = await openVerifications(stage);
  const request = verificationOf(person, consentGrant);
  const first = await stubbornly(() => verifications.verify(request));
  const verificationId = first.verification?.verificationId ?? "";
  const about = { case: "subject", value: account.accountId } as const;
  ledger.note("verification.requested", about);
  const { verification: decided } = await untilAnswered(
    "the verification completes by itself",
    () => verifications.getVerification({ verificationId, waitMs: 5_000 }),
    ({ verification }) => verification?.outcome !== Outcome.PENDING,
  );
  assert.equal(decided?.outcome, Outcome.VERIFIED);
  ledger.note("verification.decided", about);

  const { verification: repeated } = await stubbornly(() => verifications.verify(request));
  assert.deepEqual(repeated, decided, "the same request_id gives the first verification");
  const another = { ...request, requestId: crypto.randomUUID() };
  const refusal = await stubbornly(() => refusalOf(verifications.verify(another)));
  assert.equal(refusal, "CONSENT_USED");
}

/** Waits until the gateway knows the application: its policy follows the ceremony within seconds. */
export async function awaitPolicy(stage: Stage, person: SyntheticPerson): Promise<void> {
  const verifications = await openVerifications(stage);
  await untilAnswered(
    "the gateway knows the application",
    () => refusalOf(verifications.verify(verificationOf(person, "no-grant"))),
    (reason) => reason === "CONSENT_INVALID",
  );
}

/** A grant is shown once: when its answer was lost, the person grants anew. */
async function grantConsent(stage: Stage, ledger: Ledger, account: Account): Promise<string> {
  const { accessToken: token } = await signIn(stage, ledger, account);
  const { applicationId } = stage.staff.housingFund;
  return stubbornly(async () => {
    const trace = newTrace();
    const consents = callService(ConsentService, stage.platform.httpUrl("registry"), { token, trace });
    const wish = { applicationId, purpose: PURPOSE, claimType: ClaimType.PERSON_TWO_ELEMENT };
    const request = { requestId: crypto.randomUUID(), ...wish };
    const { consentGrant } = await consents.grantConsent(request);
    ledger.note("consent.granted", { case: "traceId", value: trace.traceId });
    assert.equal(await stubbornly(() => refusalOf(consents.grantConsent(request))), "SECRET_ALREADY_SHOWN");
    return consentGrant;
  });
}

async function openVerifications({ platform, staff }: Stage) {
  const { clientId, clientSecret } = staff.housingFund;
  const credentials = { issuer: platform.issuer, clientId, clientSecret, scopes: ["trust.verify"] };
  const token = await stubbornly(() => clientCredentials(credentials));
  return callService(VerificationService, platform.httpUrl("trust-gateway"), { token, trace: newTrace() });
}

function verificationOf({ citizenId, name }: SyntheticPerson, consentGrant: string) {
  return {
    requestId: crypto.randomUUID(),
    claim: { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name },
    purpose: PURPOSE,
    ground: { case: "consentGrant", value: consentGrant } as const,
  };
}
