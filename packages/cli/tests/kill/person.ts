/** A person from registration to a real-name account with a password, whatever is killed meanwhile. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { CounterService, Decision, DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import { RegistrationService, RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { proofOf } from "../../src/journey/certificates.ts";
import { counterToken } from "../../src/journey/chapters/counter.ts";
import { portalToken } from "../../src/journey/chapters/registration.ts";
import { type Account, type Stage, signInPerson } from "../../src/journey/stage.ts";
import type { Tokens } from "../../src/sign-in/sign-in.ts";
import type { Ledger } from "./ledger.ts";
import { stubbornly, untilAnswered } from "./stubborn.ts";

export async function becomeRealName(
  stage: Stage,
  ledger: Ledger,
  person: SyntheticPerson,
  loginName: string,
): Promise<Account> {
  const { platform } = stage;
  const portal = await stubbornly(() => portalToken(stage));
  const registrations = callService(RegistrationService, platform.httpUrl("registry"), {
    token: portal,
    trace: newTrace(),
  });
  const request = {
    requestId: crypto.randomUUID(),
    citizenId: person.citizenId,
    name: person.name,
    loginName,
    acceptance: await acceptTerms(stage),
  };
  const { registrationId, accountId } = await stubbornly(() => registrations.registerPerson(request));
  const about = { case: "subject", value: accountId } as const;
  ledger.note("registration.submitted", about);
  const { state } = await untilAnswered(
    "the registration completes by itself",
    () => registrations.getRegistration({ registrationId, waitMs: 5_000 }),
    (registration) => registration.state !== RegistrationState.SUBMITTED,
  );
  assert.equal(state, RegistrationState.VERIFIED);

  const enrolmentCode = await confirm(stage, await stubbornly(() => counterToken(stage)), registrationId);
  ledger.note("registration.confirmed", about);
  const password = `stubborn-${crypto.randomUUID()}`;
  const credentials = callService(CredentialService, platform.httpUrl("auth"), { trace: newTrace() });
  await stubbornly(() => credentials.bindPassword({ enrolmentCode, password }));
  ledger.note("password.bound", about);
  return { accountId, loginName, password };
}

export async function acceptTerms({ platform }: Stage) {
  const registrations = callService(RegistrationService, platform.httpUrl("registry"), { trace: newTrace() });
  const { version, sha256, noticeVersion } = await stubbornly(() => registrations.getAgreement({}));
  return { agreementVersion: version, agreementSha256: sha256, noticeVersion };
}

/** Signs in, each attempt under a trace of its own: the answered one has begun exactly one session. */
export async function signIn(stage: Stage, ledger: Ledger, who: Account, organisationId?: string): Promise<Tokens> {
  return stubbornly(async () => {
    const trace = newTrace();
    const tokens = await signInPerson({ ...stage, trace }, who, organisationId);
    ledger.note("session.started", { case: "traceId", value: trace.traceId });
    return tokens;
  });
}

async function confirm(stage: Stage, token: string, registrationId: string): Promise<string> {
  const counter = callService(CounterService, stage.platform.httpUrl("registry"), { token, trace: newTrace() });
  const content = new Uint8Array(Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(64)]));
  const document = {
    requestId: crypto.randomUUID(),
    registrationId,
    type: DocumentType.PERSON_WITH_DOCUMENT,
    mediaType: "image/png",
    content,
    sha256: new Uint8Array(createHash("sha256").update(content).digest()),
  };
  const { documentId } = await stubbornly(() => counter.archiveDocument(document));
  const decideTimeMs = Date.now();
  const lines = ["fujie-counter-decision-v1", registrationId, "CONFIRM", documentId, decideTimeMs];
  const decision = {
    requestId: crypto.randomUUID(),
    registrationId,
    decision: Decision.CONFIRM,
    documentIds: [documentId],
    decideTime: timestampFromMs(decideTimeMs),
    proof: proofOf(stage.staff.counterOperator, Buffer.from(`${lines.join("\n")}\n`)),
  };
  const decided = await stubbornly(() => counter.decideRegistration(decision));
  if (decided.enrolmentCode !== "") return decided.enrolmentCode;
  // The first answer was lost with the process, and a secret is not told twice: the counter asks for a fresh one.
  const issued = await untilAnswered(
    "a fresh enrolment code",
    () => counter.issueEnrolment({ requestId: crypto.randomUUID(), registrationId }),
    (answer) => answer.enrolmentCode !== "",
  );
  return issued.enrolmentCode;
}
