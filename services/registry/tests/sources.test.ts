import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  BlockService,
  ClaimPolicyService,
  SourceService,
  SourceState,
  SourceTestKind,
} from "@fujie/api/fujie/registry/v1/sources";
import type { ClaimPolicySchema, PutPolicyRequest } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import {
  type CaseReport,
  contractVersion,
  encodeReport,
  NONCE_FORM,
  type Report,
  signReport,
  suiteCaseIds,
  testerKeyIdOf,
} from "@fujie/conformance";
import { appointStaff, because, type Staff } from "./acts.ts";
import { type Claims, citizenId, startWorld, uscc, type World } from "./world.ts";

const DAY_MS = 86_400_000;
const OWNER = uscc(1);
const system = "registry.sources.write registry.sources.suspend registry.policies.propose trust.sources.read";
const security =
  "registry.sources.approve registry.sources.suspend registry.policies.approve registry.blocks.write trust.sources.read";

let world: World;
let registrar: Claims;
let approver: Claims;
before(async () => {
  world = await startWorld();
  const staff: Staff = await appointStaff(world);
  registrar = { ...staff.system, scope: system };
  approver = { ...staff.security, scope: security };
});
after(() => world[Symbol.asyncDispose]());

const sources = () => world.peer(SourceService);
const at = (inMs: number) => timestampFromMs(world.time.clock.nowMs() + inMs);

/** The newest policy that the gateway got, once one is as wanted. */
async function pushed(isWanted: (policy: PutPolicyRequest) => boolean): Promise<PutPolicyRequest> {
  for (;;) {
    const newest = world.gateway.policies.at(-1);
    if (newest !== undefined && isWanted(newest)) return newest;
    await world.pass(20);
  }
}

const isEnabled = (policy: PutPolicyRequest, sourceId: string): boolean | undefined =>
  policy.sources.find((source) => source.sourceId === sourceId)?.enabled;

interface Tester {
  readonly testerId: string;
  readonly key: KeyObject;
}

async function registerTester(testerId: string, unit: string): Promise<Tester> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  await sources().registerTester(tester(testerId, unit, publicKey, "der"), world.as(approver));
  // The same key in its other form is the same key.
  const again = tester(`${testerId}-again`, unit, publicKey, "pem");
  await assert.rejects(sources().registerTester(again, world.as(approver)), because("TESTER_EXISTS"));
  return { testerId, key: privateKey };
}

function tester(testerId: string, unit: string, key: KeyObject, format: "der" | "pem") {
  const der = key.export({ format: "der", type: "spki" });
  const publicKey = format === "der" ? der : Buffer.from(key.export({ format: "pem", type: "spki" }));
  return { testerId, name: testerId, uscc: unit, publicKey: new Uint8Array(publicKey) };
}

interface Reporting extends Partial<Pick<Report, "cases" | "verdict" | "nonce" | "contractVersion">> {
  readonly about?: string;
  /** What is signed in the report's place. */
  readonly bytes?: Buffer;
  readonly validMs?: number;
}

const passed: readonly CaseReport[] = suiteCaseIds.map((id) => {
  return { id, title: id, requirement: "SZ-9", result: "PASSED", reason: "", milliseconds: 1, detail: "" };
});
const failed = passed.map((one, i) => (i === 2 ? { ...one, result: "FAILED" as const } : one));

function soundReport(sourceId: string, nonce: string, key: KeyObject): Report {
  return {
    formatVersion: 1,
    sourceId,
    endpoint: "bank.example.cn:8443",
    nonce,
    contractVersion: contractVersion(),
    testerKeyId: testerKeyIdOf(createPublicKey(key)),
    startTime: "2026-03-02T08:00:00.000Z",
    endTime: "2026-03-02T08:00:05.000Z",
    cases: passed,
    verdict: "PASSED",
  };
}

/** Begins a test of the source and hands in the tester's report. */
async function report(
  sourceId: string,
  kind: SourceTestKind,
  { testerId, key }: Tester,
  { about = sourceId, validMs = 365 * DAY_MS, bytes: other, ...more }: Reporting = {},
) {
  const begun = await sources().beginSourceTest({ sourceId, kind }, world.as(registrar));
  assert.match(begun.nonce, NONCE_FORM);
  const bytes = other ?? encodeReport({ ...soundReport(about, begun.nonce, key), ...more });
  const signature = Buffer.from(signReport(bytes, key).signature, "base64url");
  const request = { sourceId, testerId, report: bytes, signature, expireTime: at(validMs) };
  world.time.advance(1);
  await sources().submitSourceTest(request, world.as(registrar));
  return begun.nonce;
}

function register(sourceId: string) {
  const source = { sourceId, kind: "partner", ownerName: "Example Bank", ownerUscc: OWNER, contact: "duty desk 10086" };
  return sources().registerSource(source, world.as(registrar));
}

const file = { sha256: Buffer.alloc(32, 7) };
const fileAgreement = (sourceId: string, endInMs: number) =>
  sources().fileAgreement({ sourceId, ...file, startTime: at(0), endTime: at(endInMs) }, world.as(registrar));
const enable = (sourceId: string, claims = approver) => sources().enableSource({ sourceId }, world.as(claims));

test("SZ-4.4 SZ-11.1 SZ-11.3 SZ-12 a source gets traffic once everything is on file and another administrator enables it, and not before", async () => {
  const sourceId = "bank-1";
  const tester = await registerTester("lab-1", uscc(2));
  const ownersLab = await registerTester("lab-of-owner", OWNER);
  await register(sourceId);
  await assert.rejects(register(sourceId), because("SOURCE_EXISTS"));
  const lacking = async () => (await sources().getSource({ sourceId }, world.as(approver))).lacking;
  assert.deepEqual(await lacking(), [
    "AGREEMENT_MISSING: agreement",
    "ATTESTATION_MISSING: attestation",
    "TEST_REPORT_MISSING: FUNCTION",
    "TEST_REPORT_MISSING: SECURITY",
  ]);
  await assert.rejects(enable(sourceId), because("AGREEMENT_MISSING"));
  await assert.rejects(fileAgreement(sourceId, -1), because("DATE_RANGE_INVALID"));
  await fileAgreement(sourceId, 400 * DAY_MS);
  await assert.rejects(enable(sourceId), because("ATTESTATION_MISSING"));
  await sources().fileAttestation({ sourceId, ...file }, world.as(registrar));
  await assert.rejects(enable(sourceId), because("TEST_REPORT_MISSING"));

  const { FUNCTION, SECURITY } = SourceTestKind;
  const stranger = { testerId: "nobody", key: tester.key };
  await assert.rejects(report(sourceId, FUNCTION, stranger), because("TESTER_NOT_INDEPENDENT"));
  await assert.rejects(report(sourceId, FUNCTION, ownersLab), because("TESTER_NOT_INDEPENDENT"));
  const forged = { ...tester, key: ownersLab.key };
  await assert.rejects(report(sourceId, FUNCTION, forged), because("SIGNATURE_INVALID"));
  for (const wrong of [
    { about: "bank-2" },
    { nonce: "00".repeat(32) },
    { nonce: "x" },
    { nonce: "A".repeat(43) },
    { contractVersion: "0".repeat(64) },
    { cases: [] },
    { cases: failed },
    { cases: passed.slice(1) },
    { cases: [...passed.slice(1), { ...passed[0], id: "another.case" }] as CaseReport[] },
    { bytes: Buffer.from("{}") },
    { bytes: Buffer.from(JSON.stringify({ sourceId, verdict: "PASSED", cases: [{ result: "PASSED" }] })) },
  ]) {
    await assert.rejects(report(sourceId, FUNCTION, tester, wrong), because("TEST_REPORT_INVALID"));
  }
  await report(sourceId, FUNCTION, tester, { verdict: "FAILED", cases: failed });
  await assert.rejects(enable(sourceId), because("TEST_REPORT_FAILED"));
  const nonce = await report(sourceId, FUNCTION, tester);
  await assert.rejects(report(sourceId, SECURITY, tester, { nonce }), because("TEST_REPORT_INVALID"), "used once");
  await assert.rejects(enable(sourceId), because("TEST_REPORT_MISSING"));
  await report(sourceId, SECURITY, tester, { validMs: DAY_MS });
  world.time.advance(DAY_MS);
  await assert.rejects(enable(sourceId), because("TEST_REPORT_EXPIRED"));
  await report(sourceId, SECURITY, tester);
  assert.deepEqual(await lacking(), []);

  await assert.rejects(enable(sourceId, registrar), because("SCOPE_MISSING"));
  assert.equal(isEnabled(await pushed((policy) => isEnabled(policy, sourceId) !== undefined), sourceId), false);
  await enable(sourceId);
  await pushed((policy) => isEnabled(policy, sourceId) === true);
  await world.recorded("source.enabled");
  const { contact } = await sources().getSource({ sourceId }, world.as(approver));
  assert.equal(contact, "duty desk 10086");
  const { rows } = await world.admin.query<{ sealed: string }>(
    "SELECT row_to_json(source)::text AS sealed FROM source",
  );
  assert.ok(!rows.some(({ sealed }) => sealed.includes("duty desk")), "the contact is kept sealed");

  const beforeMs = world.time.clock.nowMs();
  await sources().suspendSource({ sourceId }, world.as(approver));
  await pushed((policy) => isEnabled(policy, sourceId) === false);
  assert.ok(world.time.clock.nowMs() - beforeMs < 5_000, "pushed at once");
  const resume = (claims: Claims) => sources().resumeSource({ sourceId }, world.as(claims));
  await assert.rejects(resume(approver), because("FOUR_EYES_REQUIRED"), "not by who suspended it");
  await world.admin.query("UPDATE source SET suspended_by = registered_by WHERE source_id = 'bank-1'");
  await resume(approver);
  await pushed((policy) => isEnabled(policy, sourceId) === true);

  await sources().revokeAttestation({ sourceId }, world.as(approver));
  await pushed((policy) => isEnabled(policy, sourceId) === false);
  await assert.rejects(resume(approver), because("ATTESTATION_REVOKED"));
  await assert.rejects(world.admin.query("UPDATE source SET enabled = true WHERE source_id = 'bank-1'"), /source_gate/);
});

test("SZ-11.1 the end of an agreement suspends its source by itself, and a new one lets it be resumed", async () => {
  const sourceId = "bank-3";
  const tester = await registerTester("lab-3", uscc(3));
  await register(sourceId);
  await fileAgreement(sourceId, DAY_MS);
  await sources().fileAttestation({ sourceId, ...file }, world.as(registrar));
  await report(sourceId, SourceTestKind.FUNCTION, tester);
  await report(sourceId, SourceTestKind.SECURITY, tester);
  await enable(sourceId);
  await pushed((policy) => isEnabled(policy, sourceId) === true);
  world.time.advance(DAY_MS);
  await world.registry.sweep();
  await pushed((policy) => isEnabled(policy, sourceId) === false);
  const resume = () => sources().resumeSource({ sourceId }, world.as(approver));
  await assert.rejects(resume(), because("AGREEMENT_EXPIRED"));
  await fileAgreement(sourceId, 30 * DAY_MS);
  await resume();
  await pushed((policy) => isEnabled(policy, sourceId) === true);
});

test("SZ-12 a revoked tester's word counts for no source that is not enabled, and what rested on it is told", async () => {
  const [wrongTester, other] = [await registerTester("lab-4", uscc(4)), await registerTester("lab-5", uscc(5))];
  const prepare = async (sourceId: string) => {
    await register(sourceId);
    await fileAgreement(sourceId, 30 * DAY_MS);
    await sources().fileAttestation({ sourceId, ...file }, world.as(registrar));
    await report(sourceId, SourceTestKind.FUNCTION, wrongTester);
    await report(sourceId, SourceTestKind.SECURITY, other);
  };
  for (const sourceId of ["bank-4", "bank-5"]) await prepare(sourceId);
  await enable("bank-4");
  const revoke = (claims: Claims, testerId = "lab-4") =>
    sources().revokeTester({ testerId, reasonCode: "accreditation.lapsed" }, world.as(claims));
  await assert.rejects(revoke(registrar), because("SCOPE_MISSING"));
  await assert.rejects(revoke(approver, "nobody"), because("TESTER_NOT_FOUND"));

  const affected = [
    ["bank-4", SourceState.ENABLED],
    ["bank-5", SourceState.REGISTERED],
  ];
  for (const time of ["first", "again"]) {
    const { sources: told } = await revoke(approver);
    assert.deepEqual(
      told.map(({ sourceId, state }) => [sourceId, state]),
      affected,
      time,
    );
  }
  await world.recorded("tester.revoked");
  await assert.rejects(enable("bank-5"), because("TEST_REPORT_MISSING"));
  await assert.rejects(report("bank-5", SourceTestKind.FUNCTION, wrongTester), because("TESTER_REVOKED"));
  assert.equal(isEnabled(await pushed((policy) => isEnabled(policy, "bank-5") !== undefined), "bank-4"), true);
  await sources().suspendSource({ sourceId: "bank-4" }, world.as(registrar));
  const resume = () => sources().resumeSource({ sourceId: "bank-4" }, world.as(approver));
  await assert.rejects(resume(), because("TEST_REPORT_MISSING"), "what is suspended is not enabled");
  await report("bank-4", SourceTestKind.FUNCTION, other);
  await resume();
});

test("limits and planned maintenance reach the gateway; a setting's sources are told apart from registered ones", async () => {
  const sourceId = "population-base";
  await sources().setSourceLimits({ sourceId, rateLimitPerSecond: 20, dailyLimit: 1_000 }, world.as(registrar));
  const plan = { requestId: randomUUID(), sourceId, startTime: at(DAY_MS), endTime: at(DAY_MS + 3_600_000) };
  const { maintenanceId } = await sources().planMaintenance(plan, world.as(registrar));
  const policy = await pushed(({ sources: all }) => all.some(({ maintenance }) => maintenance.length > 0));
  const found = policy.sources.find((source) => source.sourceId === sourceId);
  assert.deepEqual([found?.enabled, found?.rateLimitPerSecond, found?.dailyLimit], [true, 20, 1_000]);
  const [window] = found?.maintenance ?? [];
  assert.ok(window?.startTime !== undefined && window.endTime !== undefined);
  assert.equal(timestampMs(window.endTime) - timestampMs(window.startTime), 3_600_000);
  await sources().cancelMaintenance({ maintenanceId }, world.as(registrar));
  await pushed(({ sources: all }) => all.every(({ maintenance }) => maintenance.length === 0));
  const reversed = { ...plan, requestId: randomUUID(), startTime: at(2 * DAY_MS) };
  await assert.rejects(sources().planMaintenance(reversed, world.as(registrar)), because("DATE_RANGE_INVALID"));

  const first = await sources().listSources({ pageSize: 3 }, world.as(approver));
  const rest = await sources().listSources({ pageSize: 3, pageToken: first.nextPageToken }, world.as(approver));
  const all = [...first.sources, ...rest.sources];
  assert.deepEqual(
    all.map((source) => [source.sourceId, source.kind]),
    [
      ["bank-1", "partner"],
      ["bank-3", "partner"],
      ["bank-4", "partner"],
      ["bank-5", "partner"],
      ["legal-person-base", ""],
      ["population-base", ""],
    ],
  );
});

test("SZ-20.2 block rules reach the gateway, an identifier as its digest alone, and end when lifted or over", async () => {
  const blocks = () => world.peer(BlockService);
  const create = (target: object, more: object = {}) =>
    blocks().createBlockRule(
      { requestId: randomUUID(), target, reasonCode: "abuse.enumeration", ...more } as Parameters<
        ReturnType<typeof blocks>["createBlockRule"]
      >[0],
      world.as(approver),
    );
  const person = citizenId(77);
  const { ruleId } = await create({ case: "identifier", value: ` ${person.toLowerCase()} ` });
  await create({ case: "network", value: "203.0.113.0/24" }, { expireTime: at(60_000) });
  const policy = await pushed(({ blockRules }) => blockRules.length === 2);
  const rule = policy.blockRules.find((each) => each.ruleId === ruleId);
  assert.equal(rule?.target.case, "identifierHmac");
  const digest = world.gatewayRing.hmac("consent-elements", `fujie-block-identifier-v1\n${person}`);
  assert.deepEqual(Buffer.from(rule.target.value), digest.digest);
  assert.equal(rule.hmacKeyVersion, digest.version);
  const { rows } = await world.admin.query<{ row: string }>(
    "SELECT row_to_json(block_rule)::text AS row FROM block_rule",
  );
  assert.ok(!rows.some(({ row }) => row.includes(person)));

  for (const network of ["203.0.113.0", "203.0.113.0/33", "::/129", "example.cn/24", "0.0.0.0/0"]) {
    await assert.rejects(create({ case: "network", value: network }), because("FIELD_INVALID"), network);
  }
  await assert.rejects(create({ case: "applicationId", value: "a" }, { expireTime: at(-1) }), because("FIELD_INVALID"));
  await assert.rejects(
    blocks().createBlockRule({ requestId: randomUUID() }, world.as(registrar)),
    because("SCOPE_MISSING"),
  );
  assert.equal((await blocks().listBlockRules({}, world.as(approver))).rules.length, 2);
  await blocks().liftBlockRule({ ruleId }, world.as(approver));
  await blocks().liftBlockRule({ ruleId }, world.as(approver));
  await pushed(({ blockRules }) => blockRules.length === 1);
  world.time.advance(60_000);
  assert.deepEqual((await blocks().listBlockRules({}, world.as(approver))).rules, []);
  await pushed(({ blockRules }) => blockRules.length === 0);
});

test("SZ-24 evidence policies are proposed by one and approved by another, and never change what is in force", async () => {
  const policies = () => world.peer(ClaimPolicyService);
  const base = { source: { case: "kind", value: "population-base" }, rank: 2 } as const;
  const partner = { source: { case: "kind", value: "partner" }, rank: 1 } as const;
  const propose = (policyId: string, change: MessageInitShape<typeof ClaimPolicySchema>, claims = registrar) => {
    const policy = { policyId, claimType: ClaimType.PERSON_TWO_ELEMENT, voices: [base], ...change };
    return policies().proposeClaimPolicy({ requestId: randomUUID(), policy }, world.as(claims));
  };
  const decide = (policyId: string, approved = true, claims = approver) =>
    policies().decideClaimPolicy({ policyId, approved }, world.as(claims));

  const wrong = [
    { startTime: at(-1_000) },
    { startTime: at(60_000), endTime: at(60_000) },
    { startTime: at(60_000), needed: 2 },
    { startTime: at(60_000), voices: [base, base] },
    { startTime: at(60_000), voices: [partner, base] },
    { startTime: at(60_000), voices: [{ source: { case: "kind", value: "oracle" }, rank: 1 } as const] },
    { startTime: at(60_000), claimType: ClaimType.CERTIFICATE_POSSESSION, reuseSeconds: 60 },
  ];
  for (const change of wrong) await assert.rejects(propose("wrong", change), because("CLAIM_POLICY_INVALID"));

  await propose("first", { startTime: at(60_000) });
  await assert.rejects(propose("first", { startTime: at(60_000) }), because("CLAIM_POLICY_INVALID"));
  await assert.rejects(decide("nothing"), because("PROPOSAL_NOT_FOUND"));
  await assert.rejects(decide("first", true, registrar), because("SCOPE_MISSING"));
  await decide("first");
  await assert.rejects(decide("first", false), because("PROPOSAL_STATE_INVALID"));
  await pushed(({ claimPolicies }) => claimPolicies.length === 1);

  await propose("overlapping", { startTime: at(30_000) });
  await assert.rejects(decide("overlapping"), because("CLAIM_POLICY_INVALID"));
  await propose("late", { startTime: at(90_000) });
  await propose("second", { startTime: at(120_000), voices: [base, partner], needed: 1, reuseSeconds: 60 });
  world.time.advance(100_000);
  await assert.rejects(decide("late"), because("PROPOSAL_STATE_INVALID"));
  await decide("second");
  const policy = await pushed(({ claimPolicies }) => claimPolicies.length === 2);
  const [first, second] = policy.claimPolicies;
  assert.deepEqual([first?.policyId, second?.policyId], ["first", "second"]);
  assert.deepEqual(first?.endTime, second?.startTime, "the one ends where the other begins");
  await assert.rejects(
    world.admin.query("UPDATE claim_policy SET content = '' WHERE policy_id = 'first'"),
    /immutable/,
  );
  await assert.rejects(world.admin.query("DELETE FROM claim_policy WHERE policy_id = 'first'"), /immutable/);
  const { policies: listed } = await policies().listClaimPolicies({}, world.as(registrar));
  assert.deepEqual(
    listed.map(({ policy: each, approved }) => [each?.policyId, approved]),
    [
      ["first", true],
      ["late", false],
      ["overlapping", false],
      ["second", true],
    ],
  );
  await policies().setCaps(
    { caps: { perIdentifierPerDay: 5, perNetworkPerMinute: 4_000_000_000 } },
    world.as(approver),
  );
  const { caps } = await pushed((each) => each.caps !== undefined);
  assert.deepEqual([caps?.perIdentifierPerDay, caps?.perNetworkPerMinute], [5, 4_000_000_000]);
});
