import assert from "node:assert/strict";
import { RegistrationService, RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import { sandboxClient } from "@fujie/sandbox";
import { personAt } from "@fujie/sandbox/people";
import { callService, newTrace } from "../src/journey/callers.ts";
import { remember } from "../src/journey/cast.ts";
import { portalToken } from "../src/journey/chapters/registration.ts";
import { eventually } from "../src/journey/expect.ts";
import type { Platform } from "../src/up/index.ts";

/**
 * Takes the population base away, registers somebody, and brings it back: the registration waits meanwhile and then
 * completes by itself. Needs a platform whose ceremony was played.
 */
export async function registerThroughAnOutage(platform: Platform): Promise<void> {
  const { staff } = remember(platform.files.journey).memory;
  assert.ok(staff);
  const sandbox = sandboxClient(platform.sandboxUrl);
  const token = await portalToken({ platform, staff });
  const call = { token, trace: newTrace() };
  const registrations = callService(RegistrationService, platform.httpUrl("registry"), call);
  const terms = await registrations.getAgreement({});
  const person = Array.from({ length: 20 }, (_, offset) => personAt(6_000 + offset)).find(
    (candidate) => candidate.outcome === "match",
  );
  assert.ok(person);
  await sandbox.control("population-base", { fault: "error" });
  try {
    const { registrationId, state } = await registrations.registerPerson({
      requestId: crypto.randomUUID(),
      citizenId: person.citizenId,
      name: person.name,
      loginName: "patient.person",
      acceptance: {
        agreementVersion: terms.version,
        agreementSha256: terms.sha256,
        noticeVersion: terms.noticeVersion,
      },
    });
    assert.equal(state, RegistrationState.SUBMITTED, "an outage is no answer, and never a pass");
    await sandbox.control("population-base", { fault: "none" });
    await eventually(
      "the registration completes by itself",
      () => registrations.getRegistration({ registrationId, waitMs: 5_000 }),
      (registration) => registration.state === RegistrationState.VERIFIED,
      { timeoutMs: 60_000 },
    );
  } finally {
    await sandbox.control("population-base", { fault: "none" });
  }
}
