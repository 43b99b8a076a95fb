import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { OperatorRole, OperatorService } from "@fujie/api/fujie/registry/v1/operators";
import {
  appoint,
  appointStaff,
  because,
  becomeRealName,
  ceremonyCode,
  staff as certificates,
  holdCeremony,
  propose,
  type Staff,
  somebody,
} from "./acts.ts";
import { citizenId, proofOf, startWorld, type TestCertificate, type World } from "./world.ts";

const operators = (world: World) => world.peer(OperatorService);

async function bind(world: World, system: TestCertificate, security: TestCertificate, code = ceremonyCode(world)) {
  const { challengeId, message } = await operators(world).openCeremony({ ceremonyCode: ceremonyCode(world) });
  return operators(world).bindFirstAdministrators({
    ceremonyCode: code,
    challengeId,
    systemAdministrator: proofOf(system, message),
    securityAdministrator: proofOf(security, message),
  });
}

test("the ceremony binds two persons once, is audit event 1, and cannot be run again", async () => {
  await using world = await startWorld();
  assert.equal(statSync(world.ceremonyFile).mode & 0o777, 0o600);
  const code = ceremonyCode(world);
  const wrong = "x".repeat(27);
  await assert.rejects(operators(world).openCeremony({ ceremonyCode: wrong }), because("CEREMONY_CODE_INVALID"));
  await assert.rejects(
    bind(world, certificates.system, certificates.security, wrong),
    because("CEREMONY_CODE_INVALID"),
  );
  const twin = { ...certificates.system, caId: "ca-sm2" };
  await assert.rejects(bind(world, certificates.system, twin), because("FOUR_EYES_REQUIRED"));
  const revoked = { ...certificates.security, refused: "CERTIFICATE_REVOKED" } as const;
  await assert.rejects(bind(world, certificates.system, revoked), because("CERTIFICATE_REVOKED"));
  const firm = { caId: "ca-sm2", uscc: "91320500PDY00001XE" };
  await assert.rejects(bind(world, certificates.system, firm), because("CERTIFICATE_IDENTITY_CONFLICT"));

  const [systemId, securityId] = await holdCeremony(world);
  await world.recorded("ceremony.completed");
  assert.equal(world.events[0]?.type, "ceremony.completed");
  assert.ok(!existsSync(world.ceremonyFile));
  await assert.rejects(operators(world).openCeremony({ ceremonyCode: code }), because("CEREMONY_CLOSED"));
  await world.recorded("ceremony.opened", "REFUSED");

  await world.restart();
  assert.ok(!existsSync(world.ceremonyFile), "no new code once it has run");
  await assert.rejects(world.admin.query("UPDATE ceremony SET completed_at = NULL"), /immutable/);
  await assert.rejects(world.admin.query("DELETE FROM ceremony"), /immutable/);
  const directory = world.peer(DirectoryService);
  const system = await directory.getOperator({ operatorId: systemId });
  assert.equal(system.role, OperatorRole.SYSTEM_ADMINISTRATOR);
  assert.ok(!system.scopes.includes("registry.operators.approve"), "who proposes does not approve");
  const security = await directory.getOperator({ operatorId: securityId });
  assert.ok(!security.scopes.includes("registry.operators.propose"));
});

test("an unused ceremony code is renewed by a restart and ends after a day; two ceremonies at once bind one pair", async () => {
  await using world = await startWorld();
  const old = ceremonyCode(world);
  await world.restart();
  const renewed = ceremonyCode(world);
  assert.notEqual(renewed, old);
  await assert.rejects(operators(world).openCeremony({ ceremonyCode: old }), because("CEREMONY_CODE_INVALID"));
  world.time.advance(24 * 60 * 60_000);
  await assert.rejects(operators(world).openCeremony({ ceremonyCode: renewed }), because("CEREMONY_CLOSED"));
  await world.restart();
  const outcomes = await Promise.allSettled([holdCeremony(world), holdCeremony(world)]);
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
});

describe("with staff", () => {
  let world: World;
  let staff: Staff;
  before(async () => {
    world = await startWorld();
    staff = await appointStaff(world);
  });
  after(() => world[Symbol.asyncDispose]());

  test("four eyes: operators are proposed by one and approved by another, who is not the proposed one", async () => {
    const decide = (proposalId: string, claims = staff.security) =>
      operators(world).decideProposal({ proposalId, approved: true }, world.as(claims));

    const himself = { ...certificates.security, caId: "ca-sm2" };
    const own = await propose(world, staff.system, himself, OperatorRole.SYSTEM_ADMINISTRATOR);
    await assert.rejects(decide(own), because("FOUR_EYES_REQUIRED"));
    const audit = { caId: "ca-ecdsa", citizenId: citizenId(910) };
    const proposalId = await propose(world, staff.system, audit, OperatorRole.AUDIT_ADMINISTRATOR);
    const forged = { ...staff.system, scope: "registry.operators.approve" };
    await assert.rejects(decide(proposalId, forged), because("SCOPE_MISSING"));
    await assert.rejects(decide(randomUUID()), because("PROPOSAL_NOT_FOUND"));
    const { operatorId } = await decide(proposalId);
    await assert.rejects(decide(proposalId), because("PROPOSAL_STATE_INVALID"));
    const appointed = await world.peer(DirectoryService).getOperator({ operatorId });
    assert.deepEqual(appointed.scopes, [
      "registry.archive.read",
      "audit.read",
      "audit.hold",
      "audit.incidents",
      "audit.calendar",
      "audit.cases.propose",
    ]);

    const late = await propose(
      world,
      staff.system,
      { ...audit, citizenId: citizenId(911) },
      OperatorRole.COUNTER_OPERATOR,
    );
    world.time.advance(30 * 24 * 60 * 60_000);
    await assert.rejects(decide(late), because("PROPOSAL_STATE_INVALID"));

    const listed = await operators(world).listOperators({ pageSize: 3 }, world.as(staff.security));
    const rest = { pageSize: 3, pageToken: listed.nextPageToken };
    const page = await operators(world).listOperators(rest, world.as(staff.security));
    assert.deepEqual([listed.operators.length, page.operators.length, page.nextPageToken], [3, 1, ""]);
  });

  test("a proposal needs the proposed person's own signature over this very role", async () => {
    const { proposalMessage } = await import("../src/operators/rules.ts");
    const requestId = randomUUID();
    const proof = proofOf(
      { caId: "ca-ecdsa", citizenId: citizenId(912) },
      proposalMessage(requestId, "COUNTER_OPERATOR"),
    );
    const request = { requestId, role: OperatorRole.AUDIT_ADMINISTRATOR, proof };
    await assert.rejects(
      operators(world).proposeOperator(request, world.as(staff.system)),
      because("SIGNATURE_INVALID"),
    );
  });

  test("a certificate leads to the operator whom it binds, else to the account of its person, else to nobody", async () => {
    const { accountId } = await becomeRealName(world, staff, somebody(1));
    const message = Buffer.alloc(32, 1);
    const match = (certificate: TestCertificate, signed: Uint8Array = message) =>
      world.peer(DirectoryService).matchCertificate({ message, proof: proofOf(certificate, signed) });
    const { holder } = await match(certificates.counter);
    assert.deepEqual(holder, { case: "operatorId", value: staff.counter.sub });
    const citizen = await match({ caId: "ca-sm2", citizenId: citizenId(1) });
    assert.deepEqual(citizen.holder, { case: "accountId", value: accountId });
    const strangers = [
      { ...certificates.counter, caId: "ca-sm2" },
      { caId: "ca-ecdsa", citizenId: citizenId(2) },
      { caId: "ca-ecdsa", uscc: "91320500PDY00001XE" },
    ];
    for (const stranger of strangers) await assert.rejects(match(stranger), because("CREDENTIALS_INVALID"));
    await assert.rejects(match(certificates.counter, Buffer.alloc(32, 2)), because("SIGNATURE_INVALID"));
    const unknown = { operatorId: randomUUID(), accountId: randomUUID(), organisationId: "" };
    await assert.rejects(world.peer(DirectoryService).getOperator(unknown), because("OPERATOR_NOT_FOUND"));
    await assert.rejects(world.peer(DirectoryService).getSubject(unknown), because("ACCOUNT_NOT_FOUND"));
  });

  test("one person has one role: approving an operator anew renews him or changes his role", async () => {
    const newCertificate = { ...certificates.counter, caId: "ca-sm2" };
    const operatorId = await appoint(world, staff, newCertificate, OperatorRole.AUDIT_ADMINISTRATOR);
    assert.equal(operatorId, staff.counter.sub);
    const changed = await world.peer(DirectoryService).getOperator({ operatorId });
    assert.equal(changed.role, OperatorRole.AUDIT_ADMINISTRATOR);
  });

  test("rights lapse by themselves when nobody reviews them", async () => {
    world.time.advance(180 * 24 * 60 * 60_000);
    const lapsed = operators(world).listOperators({}, world.as(staff.security));
    await assert.rejects(lapsed, because("OPERATOR_RIGHTS_LAPSED"));
  });
});
