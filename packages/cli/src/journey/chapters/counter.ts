/** Chapter 2: the counter. The operator reads the document, archives a capture, signs the decision. */
import { createHash } from "node:crypto";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { CounterService, Decision, DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { callService } from "../callers.ts";
import { proofOf } from "../certificates.ts";
import { expectRefusal, expectThat } from "../expect.ts";
import { type Account, type Stage, signInOperator, signInPerson } from "../stage.ts";
import type { PendingPerson } from "./registration.ts";

/** The smallest picture: what the counter's camera would deliver. */
const CAPTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

export async function counterToken(stage: Stage): Promise<string> {
  return signInOperator(stage, stage.staff.counterOperator, ["registry.counter"]);
}

/** Confirms a registration and binds the fresh password; returns the account with it. */
export async function confirm(
  stage: Stage,
  token: string,
  person: SyntheticPerson,
  { registrationId, account }: PendingPerson,
): Promise<Account> {
  const { platform, trace, staff } = stage;
  const counter = callService(CounterService, platform.httpUrl("registry"), { token, trace });
  const { registrations } = await counter.findRegistrations({ citizenId: person.citizenId });
  expectThat(
    registrations.some((found) => found.registrationId === registrationId),
    "the registration is found",
  );
  const sha256 = Uint8Array.from(createHash("sha256").update(CAPTURE).digest());
  const { documentId } = await counter.archiveDocument({
    requestId: crypto.randomUUID(),
    registrationId,
    type: DocumentType.PERSON_WITH_DOCUMENT,
    mediaType: "image/png",
    content: Uint8Array.from(CAPTURE),
    sha256,
  });
  const decideTimeMs = Date.now();
  const lines = ["fujie-counter-decision-v1", registrationId, "CONFIRM", documentId, decideTimeMs];
  const statement = `${lines.join("\n")}\n`;
  const decided = await counter.decideRegistration({
    requestId: crypto.randomUUID(),
    registrationId,
    decision: Decision.CONFIRM,
    documentIds: [documentId],
    decideTime: timestampFromMs(decideTimeMs),
    proof: proofOf(staff.counterOperator, Buffer.from(statement)),
  });
  const password = `in-person-${crypto.randomUUID()}`;
  const credentials = callService(CredentialService, platform.httpUrl("auth"), { trace });
  await credentials.bindPassword({ enrolmentCode: decided.enrolmentCode, password });
  return { ...account, accountId: decided.accountId, password };
}

export async function playCounter(stage: Stage, person: SyntheticPerson, pending: PendingPerson): Promise<Account> {
  const { narrator, platform } = stage;
  narrator.asks(
    "the counter operator",
    "signs in with an SM2 certificate: auth → registry → trust-gateway → CA (CRL, OCSP)",
  );
  const token = await counterToken(stage);
  narrator.asks("the counter operator", "compares person and document, archives a capture, signs the decision");
  const account = await confirm(stage, token, person, pending);
  const { accessToken } = await signInPerson(stage, account);
  const accounts = callService(AccountService, platform.httpUrl("registry"), {
    token: accessToken,
    trace: stage.trace,
  });
  const own = await accounts.getOwnAccount({});
  expectThat(own.level === 2, "level 2 after the counter");
  const sources = own.evidence.map((evidence) => evidence.sourceId).join(", ");
  narrator.answers(
    "registry",
    `confirmed: level ${own.level}, ${own.maskedName} ${own.maskedCitizenId}; evidence: ${sources}`,
  );
  const stale = signInPerson(stage, pending.account);
  narrator.refused(
    "the password from before the counter",
    await expectRefusal(refusalOf(stale), "CREDENTIALS_INVALID"),
  );
  narrator.proof("the capture is hashed, encrypted and archived; the decision is signed by the operator's certificate");
  return account;
}

/** A refused sign-in names its reason in the error, not in gRPC details. */
async function refusalOf(signIn: Promise<unknown>): Promise<unknown> {
  try {
    return await signIn;
  } catch (error) {
    if (error instanceof Error && "reason" in error) throw new Error(String(error.reason));
    throw error;
  }
}
