import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { AccountService, AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { CounterService, Decision } from "@fujie/api/fujie/registry/v1/counter";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import {
  appointStaff,
  archivePhoto,
  because,
  becomeRealName,
  staff as certificates,
  decide,
  person,
  portal,
  registerPerson,
  type Staff,
  somebody,
} from "./acts.ts";
import { citizenId, proofOf, startWorld, type World } from "./world.ts";

let world: World;
let staff: Staff;
let number = 200;
before(async () => {
  world = await startWorld();
  staff = await appointStaff(world);
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  number += 1;
  world.gateway.answer = () => "VERIFIED";
});

const counterService = () => world.peer(CounterService);
const subjectOf = (accountId: string) => world.peer(DirectoryService).getSubject({ accountId, organisationId: "" });

async function verified(who = somebody(number)) {
  const registered = await registerPerson(world, who);
  return { ...registered, documentId: await archivePhoto(world, staff.counter, registered.registrationId) };
}

test("SZ-14.4 SZ-8.3 the counter's decision makes the account real-name, and wipes what was bound before", async () => {
  const { registrationId, accountId, documentId, enrolmentCode: before } = await verified();
  const decided = await decide(world, staff.counter, registrationId, [documentId]);
  assert.equal(decided.state, RegistrationState.CONFIRMED);
  assert.ok(decided.enrolmentCode.length >= 27);
  const subject = await subjectOf(accountId);
  assert.deepEqual([subject.state, subject.level], [AccountState.ACTIVE, 2]);
  const redeem = (enrolmentCode: string) =>
    world.peer(DirectoryService).redeemEnrolment({ enrolmentCode, requestId: crypto.randomUUID() });
  await assert.rejects(redeem(before), because("ENROLMENT_INVALID"));
  assert.equal((await redeem(decided.enrolmentCode)).holder.value, accountId);
  await world.recorded("registration.confirmed");
});

test("an enrolment code answers the request that took it again, and no other; a newer code voids both", async () => {
  const { registrationId, documentId } = await verified();
  const { enrolmentCode } = await decide(world, staff.counter, registrationId, [documentId]);
  const redeem = (requestId: string) => world.peer(DirectoryService).redeemEnrolment({ enrolmentCode, requestId });
  const first = await redeem("the-first-use");
  assert.equal((await redeem("the-first-use")).holder.value, first.holder.value);
  await assert.rejects(redeem("another-use"), because("ENROLMENT_INVALID"));
  await counterService().issueEnrolment({ requestId: crypto.randomUUID(), registrationId }, world.as(staff.counter));
  await assert.rejects(redeem("the-first-use"), because("ENROLMENT_INVALID"));
});

test("SZ-8.3 the operator who confirmed may hand out a fresh code; for anything else the counter decides anew", async () => {
  const { registrationId, accountId, documentId } = await verified();
  const issue = () =>
    counterService().issueEnrolment({ requestId: crypto.randomUUID(), registrationId }, world.as(staff.counter));
  await assert.rejects(issue(), because("REGISTRATION_STATE_INVALID"));
  await decide(world, staff.counter, registrationId, [documentId]);
  const { enrolmentCode } = await issue();
  const taken = await world.peer(DirectoryService).redeemEnrolment({ enrolmentCode, requestId: crypto.randomUUID() });
  assert.equal(taken.holder.value, accountId);
  await world.recorded("enrolment.issued");
});

test("SZ-3.3 SU-7.1.1b evidence id, source and time are on the account", async () => {
  const { claims } = await becomeRealName(world, staff, somebody(number));
  const account = await world.peer(AccountService).getOwnAccount({}, world.as(claims));
  assert.deepEqual(account.evidence.map(({ sourceId }) => sourceId).sort(), ["counter", "population-base"]);
  assert.ok(account.evidence.every(({ evidenceId, checkTime }) => evidenceId !== "" && checkTime !== undefined));
  assert.equal(account.level, 2);
  assert.match(account.maskedCitizenId, /^1\*{16}.$/);
  assert.equal(account.maskedName, `**${somebody(number).name.slice(-1)}`);
});

test("SZ-3.3 no client-sent field sets the level: a token that claims level 3 changes nothing on file", async () => {
  const { accountId } = await registerPerson(world, somebody(number));
  const account = await world.peer(AccountService).getOwnAccount({}, world.as(person(accountId, { level: 3 })));
  assert.equal(account.level, 1);
});

test("SZ-14.4 no confirmation without an archived document of this very registration", async () => {
  const { registrationId } = await registerPerson(world, somebody(number));
  const foreign = await verified(somebody(number + 100));
  for (const documents of [[], [randomUUID()], [foreign.documentId]]) {
    await assert.rejects(decide(world, staff.counter, registrationId, documents), because("DOCUMENT_MISSING"));
  }
});

test("SZ-13.4 SZ-14.4 the counter cannot confirm what the base has not verified", async () => {
  world.gateway.answer = () => "PENDING";
  const { registrationId, documentId } = await verified();
  const call = decide(world, staff.counter, registrationId, [documentId]);
  await assert.rejects(call, because("IDENTITY_NOT_VERIFIED"));
});

test("SZ-3.3 evidence that a database administrator made up does not make anybody real-name", async () => {
  world.gateway.answer = () => "PENDING";
  const { registrationId, accountId, documentId } = await verified();
  await world.admin.query({
    text: `INSERT INTO evidence VALUES ($1, 'invented', 'population-base', 2, now(), decode(repeat('00', 32), 'hex'))`,
    values: [accountId],
  });
  await world.admin.query({
    text: `UPDATE registration SET state = 'VERIFIED' WHERE registration_id = $1`,
    values: [registrationId],
  });
  const call = decide(world, staff.counter, registrationId, [documentId]);
  await assert.rejects(call, because("IDENTITY_NOT_VERIFIED"));
});

test("SZ-8.3 an operator cannot approve himself", async () => {
  const himself = { ...somebody(number), citizenId: certificates.counter.citizenId };
  const { registrationId, documentId } = await verified(himself);
  const call = decide(world, staff.counter, registrationId, [documentId]);
  await assert.rejects(call, because("SELF_APPROVAL_FORBIDDEN"));
  await world.recorded("registration.decided", "REFUSED");
});

test("SZ-8.3 an operator cannot approve his own entry", async () => {
  const { RegistrationService } = await import("@fujie/api/fujie/registry/v1/registrations");
  const { acceptance } = await import("./acts.ts");
  const entering = { ...staff.counter, app: "portal", scope: "registry.registrations.write" };
  const request = { requestId: randomUUID(), ...somebody(number), acceptance: acceptance(world) };
  const { registrationId } = await world.peer(RegistrationService).registerPerson(request, world.as(entering));
  const documentId = await archivePhoto(world, staff.counter, registrationId);
  const call = decide(world, staff.counter, registrationId, [documentId]);
  await assert.rejects(call, because("SELF_APPROVAL_FORBIDDEN"));
});

test("a decision counts only under the operator's own bound certificate, over exactly this decision", async () => {
  const { registrationId, documentId } = await verified();
  const attempts = [
    { certificate: { ...certificates.counter, citizenId: citizenId(950) } },
    { certificate: { ...certificates.counter, caId: "ca-sm2" } },
    { certificate: { caId: "ca-ecdsa", uscc: "91320500PDY00001XE" } },
    { signedAs: "REFUSE" as const },
  ];
  for (const attempt of attempts) {
    const call = decide(world, staff.counter, registrationId, [documentId], attempt);
    await assert.rejects(call, because("DECISION_SIGNATURE_INVALID"));
  }
  const revoked = { certificate: { ...certificates.counter, refused: "CERTIFICATE_REVOKED" as const } };
  const call = decide(world, staff.counter, registrationId, [documentId], revoked);
  await assert.rejects(call, because("CERTIFICATE_REVOKED"));
});

test("a decision of the past or the future is refused", async () => {
  const { timestampFromMs } = await import("@bufbuild/protobuf/wkt");
  const { decisionMessage } = await import("../src/counter/rules.ts");
  const { registrationId, documentId } = await verified();
  for (const offsetMs of [-601_000, 120_000]) {
    const decidedAt = new Date(world.time.clock.nowMs() + offsetMs);
    const documentIds = [documentId];
    const message = decisionMessage({ registrationId, decision: "CONFIRM", documentIds, decidedAt });
    const request = {
      requestId: randomUUID(),
      registrationId,
      decision: Decision.CONFIRM,
      documentIds,
      decideTime: timestampFromMs(decidedAt.getTime()),
      proof: proofOf(certificates.counter, message),
    };
    const call = counterService().decideRegistration(request, world.as(staff.counter));
    await assert.rejects(call, because("FIELD_INVALID"));
  }
});

test("SZ-13.3 of two registrations for one person one is confirmed, the other ends, even when both come at once", async () => {
  const who = somebody(number);
  const squatter = await verified({ ...who, loginName: `squat.${number}` });
  const truth = await verified(who);
  const outcomes = await Promise.allSettled(
    [squatter, truth].map(({ registrationId, documentId }) =>
      decide(world, staff.counter, registrationId, [documentId]),
    ),
  );
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  const states = await Promise.all([squatter, truth].map(async ({ accountId }) => (await subjectOf(accountId)).state));
  assert.deepEqual(states.sort(), [AccountState.ACTIVE, AccountState.CANCELLED].sort());
});

test("SZ-3.2 one account for every spelling of a number", async () => {
  const who = somebody(number);
  await becomeRealName(world, staff, who);
  const fullWidth = [...who.citizenId].map((c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0)).join("");
  const spaced = who.citizenId.replace(/(.{6})/, "$1 ").toLowerCase();
  for (const [i, spelling] of [fullWidth, spaced].entries()) {
    const again = await verified({ ...who, citizenId: spelling, loginName: `spelling.${number}.${i}` });
    const call = decide(world, staff.counter, again.registrationId, [again.documentId]);
    await assert.rejects(call, because("IDENTIFIER_ALREADY_REGISTERED"));
  }
});

test("a refusal at the counter ends the registration, and its repetition gives the same answer", async () => {
  const { registrationId, accountId, documentId } = await verified();
  const requestId = randomUUID();
  const options = { decision: Decision.REFUSE, requestId };
  const refused = await decide(world, staff.counter, registrationId, [documentId], options);
  const again = await decide(world, staff.counter, registrationId, [documentId], options);
  assert.deepEqual([refused.state, again.state], [RegistrationState.REJECTED, RegistrationState.REJECTED]);
  assert.equal((await subjectOf(accountId)).state, AccountState.CANCELLED);
  const call = decide(world, staff.counter, registrationId, [documentId]);
  await assert.rejects(call, because("REGISTRATION_STATE_INVALID"));
});

test("the operator finds what is open under the number in his hand, oldest first, and the search is recorded", async () => {
  const who = somebody(number);
  const first = await verified(who);
  world.time.advance(1);
  const second = await verified({ ...who, loginName: `second.${number}` });
  const spelling = who.citizenId.replace(/(.{6})/, "$1 ");
  const found = await counterService().findRegistrations({ citizenId: spelling }, world.as(staff.counter));
  const ids = found.registrations.map(({ registrationId }) => registrationId);
  assert.deepEqual(ids, [first.registrationId, second.registrationId]);
  assert.equal(found.registrations[0]?.name, who.name);
  const event = await world.recorded("counter.searched");
  assert.ok(!JSON.stringify(event.details).includes(who.citizenId));
});

test("who floods an identifier with registrations does not hide the person who comes last", async () => {
  const who = somebody(number);
  for (let i = 0; i < 21; i += 1) {
    world.time.advance(1);
    await registerPerson(world, { ...who, loginName: `flood.${number}.${i}` });
  }
  world.time.advance(1);
  const last = await registerPerson(world, who);
  const found = await counterService().findRegistrations({ citizenId: who.citizenId }, world.as(staff.counter));
  assert.equal(found.registrations.length, 20);
  assert.equal(found.registrations.at(-1)?.registrationId, last.registrationId);
});

test("an archived document must be what it says, and is not readable in the database", async () => {
  const { registrationId } = await registerPerson(world, somebody(number));
  const archive = (overrides: object) => archivePhoto(world, staff.counter, registrationId, overrides);
  await assert.rejects(archive({ sha256: new Uint8Array(32) }), because("DOCUMENT_DIGEST_MISMATCH"));
  const script = Buffer.from("<script>alert(1)</script>");
  const sha256 = createHash("sha256").update(script).digest();
  await assert.rejects(archive({ content: script, sha256 }), because("DOCUMENT_TYPE_INVALID"));
  await assert.rejects(archivePhoto(world, staff.counter, randomUUID()), because("REGISTRATION_NOT_FOUND"));
  const documentId = await archive({});
  const { rows } = await world.admin.query<{ content_sealed: Buffer }>({
    text: `SELECT content_sealed FROM document WHERE document_id = $1`,
    values: [documentId],
  });
  assert.ok(rows[0] !== undefined && !rows[0].content_sealed.includes(Buffer.alloc(32, 7)));
});

test("SZ-8.3 a scope in a token is not enough: who is no operator, or another one, or lapsed, does nothing at the counter", async () => {
  const search = (claims: typeof staff.counter) =>
    counterService().findRegistrations({ citizenId: citizenId(1) }, world.as(claims));
  const scope = "registry.counter";
  await assert.rejects(search({ ...portal, scope }), because("SCOPE_MISSING"));
  await assert.rejects(search({ ...staff.counter, sub: randomUUID() }), because("SCOPE_MISSING"));
  await assert.rejects(search({ ...staff.system, scope }), because("SCOPE_MISSING"));
  await world.admin.query({
    text: `UPDATE operator SET reviewed_until = $2 WHERE operator_id = $1`,
    values: [staff.counter.sub, new Date(world.time.clock.nowMs())],
  });
  await assert.rejects(search(staff.counter), because("OPERATOR_RIGHTS_LAPSED"));
  const lapsed = await world.peer(DirectoryService).getOperator({ operatorId: staff.counter.sub });
  assert.deepEqual(lapsed.scopes, []);
});
