/** Chapter 6: consent and verification. The application learns the result and nothing else. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import {
  ClaimType,
  type GetReceiptResponse,
  Outcome,
  VerificationService,
} from "@fujie/api/fujie/trust/v1/verification";
import { canonicalElements } from "@fujie/identity";
import { loadKeyBundle } from "@fujie/kit/keys";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { verifyReceipt } from "../../receipt/verify.ts";
import { clientCredentials } from "../../sign-in/client-credentials.ts";
import { callService } from "../callers.ts";
import { eventually, expectRefusal, expectThat, reasonOf } from "../expect.ts";
import type { Stage } from "../stage.ts";
import { PURPOSE } from "./ceremony.ts";

export async function playVerification(
  stage: Stage,
  subjectToken: string,
  subject: SyntheticPerson,
  somebodyElse: SyntheticPerson,
): Promise<void> {
  const { narrator, platform, staff, trace } = stage;
  const { applicationId, clientId, clientSecret } = staff.housingFund;
  const consents = callService(ConsentService, platform.httpUrl("registry"), { token: subjectToken, trace });
  narrator.asks("the clerk, as a person", "lets the housing fund verify his own identity, once, for one purpose");
  const { consentGrant } = await consents.grantConsent({
    requestId: crypto.randomUUID(),
    applicationId,
    purpose: PURPOSE,
    claimType: ClaimType.PERSON_TWO_ELEMENT,
  });

  const token = await clientCredentials({ issuer: platform.issuer, clientId, clientSecret, scopes: ["trust.verify"] });
  const verifications = callService(VerificationService, platform.httpUrl("trust-gateway"), { token, trace });
  const verify = (person: SyntheticPerson) =>
    verifications.verify({
      requestId: crypto.randomUUID(),
      claim: { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: person.citizenId, personName: person.name },
      purpose: PURPOSE,
      ground: { case: "consentGrant", value: consentGrant },
    });
  // The application's policy reaches the gateway within seconds of its registration.
  const foreign = await eventually(
    "the gateway knows the application",
    () => verify(somebodyElse).then(() => "accepted", reasonOf),
    (reason) => reason !== "PURPOSE_NOT_REGISTERED" && reason !== "POLICY_STALE",
  );
  expectThat(foreign === "CONSENT_INVALID", `a refusal of somebody else's identity, got ${foreign}`);
  narrator.refused("somebody else under that grant", foreign);

  narrator.asks("the housing fund", "curl: POST /fujie.trust.v1.VerificationService/Verify with the grant");
  const answer = await verifyByCurl(stage, token, {
    requestId: crypto.randomUUID(),
    claim: { type: "CLAIM_TYPE_PERSON_TWO_ELEMENT", citizenId: subject.citizenId, personName: subject.name },
    purpose: PURPOSE,
    consentGrant,
  });
  const verification = answer.verification;
  expectThat(verification.outcome === Outcome[Outcome.VERIFIED].replace(/^/, "OUTCOME_"), "the claim is verified");
  const told = Object.keys(verification).sort().join(", ");
  narrator.answers("trust-gateway", `${verification.outcome}, level ${verification.level}; all that is told: ${told}`);
  narrator.refused("the same grant a second time", await expectRefusal(verify(subject), "CONSENT_USED"));

  const bundle = await verifications.getReceipt({ verificationId: verification.verificationId, waitMs: 5_000 });
  narrator.answers("fujie receipt verify", proveReceipt(stage, bundle, subject));
}

/** Checks the receipt as anybody can: offline, with the public keys, and the elements that the asker knows. */
function proveReceipt({ platform }: Stage, bundle: GetReceiptResponse, { citizenId, name }: SyntheticPerson): string {
  using keys = loadKeyBundle(platform.bundleFile, platform.bundleRootFile);
  const elements = canonicalElements({ type: "PERSON_TWO_ELEMENT", citizenId, personName: name });
  const verdict = verifyReceipt(bundle, { bundle: keys, witnesses: [] }, elements);
  if (!verdict.ok) throw new Error(`the receipt is not proven: ${verdict.reason}`);
  const { logged, signatures } = verdict;
  return `PROVEN: signed (${signatures.join(", ")}), entry ${logged.index} of the audit log, about exactly these elements`;
}

interface VerifyAnswer {
  readonly verification: { readonly verificationId: string; readonly outcome: string; readonly level: number };
}

async function verifyByCurl({ platform, trace }: Stage, token: string, body: object): Promise<VerifyAnswer> {
  const url = `${platform.httpUrl("trust-gateway")}/fujie.trust.v1.VerificationService/Verify`;
  const headers = {
    "content-type": "application/json",
    authorization: `Bearer ${token}`,
    traceparent: trace.traceparent,
  };
  // The arguments go in by a config on standard input: a token on a command line would be seen by every process.
  const config = Object.entries(headers).map(([name, value]) => `header = "${name}: ${value}"`);
  const quoted = JSON.stringify(JSON.stringify(body));
  const lines = ["silent", "show-error", `url = "${url}"`, ...config, `data-raw = ${quoted}`];
  const running = promisify(execFile)("curl", ["--config", "-"]);
  running.child.stdin?.end(`${lines.join("\n")}\n`);
  const { stdout } = await running;
  const answer = JSON.parse(stdout) as VerifyAnswer;
  expectThat(answer.verification !== undefined, `a verification, got ${stdout}`);
  return answer;
}
