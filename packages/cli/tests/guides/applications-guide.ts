/** docs/applications.md, typed in from top to bottom against a platform on which the journey was played. */
import assert from "node:assert/strict";
import { ApplicationKind, ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { castPlayers, remember } from "../../src/journey/cast.ts";
import { LEGAL_BASIS, PURPOSE } from "../../src/journey/chapters/ceremony.ts";
import { confirm, counterToken } from "../../src/journey/chapters/counter.ts";
import { register } from "../../src/journey/chapters/registration.ts";
import type { Narrator } from "../../src/journey/index.ts";
import { type Stage, signInOperator, signInPerson } from "../../src/journey/stage.ts";
import type { Platform } from "../../src/up/index.ts";
import { runGuide } from "./run-guide.ts";

/** A run of the journey that no test plays: its people are still nobody's. */
const RUN = 40;

/** Follows the page with an application of its own and a real-name person, and asserts what each step must print. */
export async function followApplicationsGuide(platform: Platform): Promise<void> {
  const stage = openStage(platform);
  const { applicationId, enrolmentCode } = await registerApplicant(stage);
  const person = stage.players.clerk;
  const account = await confirm(stage, await counterToken(stage), person, await register(stage, person, `guide${RUN}`));
  const { accessToken } = await signInPerson(stage, account);

  const [, secret, token, verified, repeated, rejected, pending, receipt, consented, refused, addresses] =
    await runGuide("applications.md", {
      AUTH: platform.httpUrl("auth"),
      REGISTRY: platform.httpUrl("registry"),
      TRUST: platform.httpUrl("trust-gateway"),
      APPLICATION_ID: applicationId,
      ENROLMENT_CODE: enrolmentCode,
      PERSON_TOKEN: accessToken,
      CITIZEN_ID: person.citizenId,
      PERSON_NAME: person.name,
    });
  assert.match(secret ?? "", /^client /);
  assert.match(token ?? "", /expires in 300 s/);
  assert.match(verified ?? "", /"outcome":"OUTCOME_VERIFIED"/);
  assert.equal(repeated, verified);
  assert.match(rejected ?? "", /"outcome":"OUTCOME_REJECTED"/);
  assert.match(pending ?? "", /"outcome":"OUTCOME_PENDING".*"pendingReason":"PENDING_REASON_SOURCE_AWAY"/s);
  assert.match(receipt ?? "", /^logged: [\w+/]{43}=$/m);
  assert.match(consented ?? "", /"outcome":"OUTCOME_VERIFIED"/);
  assert.match(refused ?? "", /^HTTP\/1.1 403 .*x-trace-id: [0-9a-f]{32}.*"reason":"CONSENT_USED"/is);
  assert.match(addresses ?? "", /"token_endpoint".*"keys":\[/s);
}

function openStage(platform: Platform): Stage {
  const { staff } = remember(platform.files.journey).memory;
  assert.ok(staff, "the journey was played before");
  const silent = () => {};
  const narrator: Narrator = { chapter: silent, asks: silent, answers: silent, proof: silent, refused: silent };
  return { platform, narrator, players: castPlayers(RUN), staff, trace: newTrace(), traces: [] };
}

async function registerApplicant(stage: Stage): Promise<{ applicationId: string; enrolmentCode: string }> {
  const { platform, staff, trace } = stage;
  const token = await signInOperator(stage, staff.systemAdministrator, ["registry.applications.write"]);
  const applications = callService(ApplicationService, platform.httpUrl("registry"), { token, trace });
  return applications.registerApplication({
    requestId: crypto.randomUUID(),
    providerName: "Guide unit",
    name: "Guide application",
    kind: ApplicationKind.CONFIDENTIAL,
    redirectUris: ["https://app.example/callback"],
    scopes: ["trust.verify", "application.read", "openid"],
    sector: "guide.example",
    purposes: [{ purpose: PURPOSE, claimTypes: [ClaimType.PERSON_TWO_ELEMENT], legalBases: [LEGAL_BASIS] }],
  });
}
