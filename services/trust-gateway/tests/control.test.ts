/** What the registry controls while the gateway runs: on every replica, within seconds, without a restart. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType, Outcome, VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { DomainError } from "@fujie/kit/errors";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { booksOf, hasten } from "./ledger.ts";
import {
  APPLICATION,
  LEGAL_BASIS,
  type Policy,
  PURPOSE,
  type Replica,
  reasonOf,
  startWorld,
  type World,
} from "./world.ts";

let world: World;
let second: Replica;
let usual: Policy;
before(async () => {
  world = await startWorld({ FUJIE_IDENTIFIER_PER_DAY_MAX: "100000" });
  second = await world.another();
  usual = { ...world.policy, blockRules: [], claimPolicies: [] };
});
after(async () => {
  await second[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});
beforeEach(async () => {
  for (const front of FRONTS) await world.control.control(front, { fault: "none" });
  await world.putPolicy(usual);
  world.time.advance(1_000);
});

const FRONTS = ["population-base", "population-base-2"] as const;
const { citizenId, name } = NAMED_PEOPLE.match.person;
const person = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
const { organisation } = NAMED_ORGANISATIONS.match;
const firm = { type: ClaimType.LEGAL_PERSON, uscc: organisation.uscc, organisationName: organisation.name };
const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;

function verify(at: "first" | "second", claim: object = person, application = APPLICATION) {
  const verifications = at === "first" ? world.verifications : second.client(VerificationService);
  return verifications.verify({ requestId: randomUUID(), claim, purpose: PURPOSE, ground }, world.as(application));
}
const refusal = (at: "first" | "second", claim: object = person, application = APPLICATION) =>
  reasonOf(verify(at, claim, application));
const received = async () => (await booksOf(world, "population-base")).received;
const without = (sourceId: string) => usual.sources.filter((source) => source.sourceId !== sourceId);

test("SZ-4.4 a suspended source gets no traffic within a second, on every replica, and traffic again when it is resumed", async () => {
  assert.deepEqual(await Promise.all([refusal("first"), refusal("second")]), ["accepted", "accepted"]);
  await world.putPolicy({ sources: [...without("population-base"), { sourceId: "population-base", enabled: false }] });
  world.time.advance(1_000);
  const before = await received();
  const refusals = await Promise.all([refusal("first"), refusal("second")]);
  assert.deepEqual(refusals, ["CLAIM_UNSUPPORTED", "CLAIM_UNSUPPORTED"]);
  assert.equal(await received(), before);
  await world.putPolicy(usual);
  world.time.advance(1_000);
  assert.deepEqual(await Promise.all([refusal("first"), refusal("second")]), ["accepted", "accepted"]);
});

test("SZ-4.4 a question that is waiting to try again does not reach a source that was suspended meanwhile", async () => {
  const before = await received();
  for (const front of FRONTS) await world.control.control(front, { fault: "error" });
  const asked = verify("second");
  await world.until(async () => (await received()) === before + 1, "the first attempt has failed");
  await world.putPolicy({ sources: without("population-base") });
  world.time.advance(1_000);
  const atSuspension = await received();
  const { verification } = await world.passing(asked);
  assert.equal(verification?.level, 0);
  for (let i = 0; i < 20; i += 1) await world.passing(Promise.resolve());
  assert.equal(await received(), atSuspension);
  for (const front of FRONTS) await world.control.control(front, { fault: "none" });
  await world.putPolicy(usual);
  const verificationId = verification?.verificationId ?? "";
  const decided = async () => {
    const { verification: kept } = await world.verifications.getVerification({ verificationId, waitMs: 0 }, world.as());
    return kept?.outcome === Outcome.VERIFIED;
  };
  await hasten(world, decided, "it is asked again once the source is resumed");
});

test("SZ-20.2 a block rule is live on every replica within ten seconds, before anybody is asked, and names itself", async () => {
  const rule = (ruleId: string, target: object, more: object = {}) => ({ ruleId, target, ...more }) as never;
  const hmac = world.registryRing.hmac("consent-elements", `fujie-block-identifier-v1\n${citizenId}`);
  const identifierHmac = { case: "identifierHmac", value: new Uint8Array(hmac.digest) };
  const cases = [
    rule("of-application", { case: "applicationId", value: APPLICATION }),
    rule("of-identifier", identifierHmac, { hmacKeyVersion: hmac.version }),
    rule("of-network", { case: "network", value: "127.0.0.0/8" }),
    rule("of-claim-type", { case: "claimType", value: ClaimType.PERSON_TWO_ELEMENT }),
  ];
  for (const blockRule of cases) {
    await world.putPolicy({ blockRules: [blockRule] });
    world.time.advance(1_000);
    const before = await received();
    assert.deepEqual(await Promise.all([refusal("first"), refusal("second")]), ["BLOCKED", "BLOCKED"]);
    assert.equal(await received(), before);
  }
  assert.equal(await refusal("second", firm), "accepted", "others go on");
  const collected = world.evidence.collectEvidence({ requestId: randomUUID(), reference: randomUUID(), claim: person });
  assert.equal(await reasonOf(collected), "BLOCKED", "the registry's own questions too");
  const error = await verify("second").catch((thrown: unknown) => thrown);
  assert.ok(error instanceof DomainError && error.cause instanceof ConnectError);
  assert.equal(error.cause.findDetails(ErrorInfoSchema)[0]?.metadata["subject"], "of-claim-type");
  const refused = () =>
    world.events.some(({ reason, details }) => reason === "BLOCKED" && details["refused_by"] === "of-application");
  await world.until(refused, "the refusal is in the audit log");

  const inAMinute = { expireTime: timestampFromMs(world.time.clock.nowMs() + 5_000) };
  await world.putPolicy({ blockRules: [rule("soon-over", { case: "applicationId", value: APPLICATION }, inAMinute)] });
  assert.equal(await refusal("first"), "BLOCKED");
  world.time.advance(5_000);
  assert.equal(await refusal("first"), "accepted", "a rule ends by itself");
});

test("a policy that is malformed is refused by the field's name, and the one in force stays", async () => {
  const policies = world.client(PolicyService);
  const malformed = {
    version: 1_000_000n,
    blockRules: [{ ruleId: "n", target: { case: "network", value: "1.2.3.4" } as const }],
  };
  await assert.rejects(policies.putPolicy(malformed), (error) => {
    assert.ok(error instanceof Error && error.cause instanceof ConnectError);
    return error.cause.findDetails(ErrorInfoSchema)[0]?.reason === "FIELD_INVALID";
  });
  assert.equal(await refusal("first"), "accepted");
  await world.putPolicy();
  assert.equal(await refusal("first"), "accepted");
});

test("an application's day and everybody's identifiers are capped by the policy", async () => {
  const applications = usual.applications.map((each) => ({ ...each, dailyLimit: 2 }));
  await world.putPolicy({ applications });
  const ask = () => refusal("first", firm, "application-2");
  assert.deepEqual([await ask(), await ask(), await ask()], ["accepted", "accepted", "QUOTA_EXCEEDED"]);
  const tomorrowMs = 86_400_000 - (world.time.clock.nowMs() % 86_400_000);
  world.time.advance(tomorrowMs);
  await world.putPolicy({ caps: { perIdentifierPerDay: 1 } });
  assert.deepEqual([await ask(), await ask()], ["accepted", "QUOTA_EXCEEDED"]);
  const { caps: _, ...rest } = world.policy;
  world.policy = rest;
});
