import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { type DescMessage, fromBinary, getOption } from "@bufbuild/protobuf";
import { DataClass, data } from "@fujie/api/fujie/options/v1/options";
import { AccountService, AccountState, SuspensionReason } from "@fujie/api/fujie/registry/v1/accounts";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import { DelegationService, Role } from "@fujie/api/fujie/registry/v1/delegation";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { AccountChangedSchema } from "@fujie/api/fujie/registry/v1/events";
import { OrganisationService } from "@fujie/api/fujie/registry/v1/organisations";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import {
  appointStaff,
  archivePhoto,
  because,
  becomeRealName,
  person,
  registerApplication,
  registerOrganisation,
  registerPerson,
  type Staff,
  somebody,
} from "./acts.ts";
import { type Claims, startWorld, uscc, type World } from "./world.ts";

let world: World;
let staff: Staff;
let number = 300;
before(async () => {
  world = await startWorld({ FUJIE_ARCHIVE_DAYS: "1" });
  staff = await appointStaff(world);
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  number += 1;
  world.gateway.answer = () => "VERIFIED";
});

const cancel = (claims: Claims, overrides = {}) =>
  world
    .peer(AccountService)
    .cancelAccount({ requestId: randomUUID(), confirmed: true, ...overrides }, world.as(claims));

const pairwise = async (accountId: string) =>
  (await world.peer(DirectoryService).getPairwiseSubject({ accountId, sector: "fund.example" })).subject;

const subjectOf = (accountId: string, organisationId = "") =>
  world.peer(DirectoryService).getSubject({ accountId, organisationId });

test("SZ-18.1 cancelling needs fresh authentication and a confirmation", async () => {
  const { claims, accountId } = await becomeRealName(world, staff, somebody(number));
  await assert.rejects(cancel({ ...claims, age: 301 }), because("STEP_UP_REQUIRED"));
  await assert.rejects(cancel(claims, { confirmed: false }), because("CONFIRMATION_REQUIRED"));
  assert.equal((await subjectOf(accountId)).state, AccountState.ACTIVE);
});

test("SZ-18.1 nobody cancels another's account: the request names none, and operators are no owners", async () => {
  const { accountId } = await becomeRealName(world, staff, somebody(number));
  const other = await becomeRealName(world, staff, somebody(number + 50));
  await cancel(other.claims);
  assert.equal((await subjectOf(accountId)).state, AccountState.ACTIVE);
  const operator = { ...staff.system, sub: accountId, scope: "account.write" };
  await assert.rejects(cancel(operator), because("ACCOUNT_NOT_FOUND"));
  assert.equal((await subjectOf(accountId)).state, AccountState.ACTIVE);
});

test("SZ-18.1 cancellation ends roles with their cascade, consents and codes in one step, and a repetition changes nothing", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const owner = await becomeRealName(world, staff, somebody(number));
  const clerk = await becomeRealName(world, staff, somebody(number + 50));
  const organisation = { uscc: uscc(number), name: "测试有限公司" };
  const { organisationId } = await registerOrganisation(world, owner.claims, organisation);
  const acting = { ...owner.claims, level: 3, org: organisationId, role: "LEGAL_REPRESENTATIVE" };
  const wish = { requestId: randomUUID(), organisationId, loginName: somebody(number + 50).loginName, role: 2 };
  await world.peer(DelegationService).grantRole(wish, world.as(acting));
  const consent = { applicationId, purpose: "housing-fund.withdrawal", claimType: ClaimType.PERSON_TWO_ELEMENT };
  const { grantId } = await world
    .peer(ConsentService)
    .grantConsent({ requestId: randomUUID(), ...consent }, world.as(owner.claims));

  const requestId = randomUUID();
  const first = await cancel(owner.claims, { requestId });
  const again = await cancel(owner.claims, { requestId });
  assert.deepEqual(again.cancelTime, first.cancelTime);
  await assert.rejects(cancel(owner.claims), because("ACCOUNT_STATE_INVALID"));
  assert.equal((await subjectOf(owner.accountId)).state, AccountState.CANCELLED);
  assert.deepEqual((await subjectOf(clerk.accountId)).memberships, []);
  const { rows } = await world.admin.query<{ withdrawn: boolean }>({
    text: `SELECT withdrawn_at IS NOT NULL AS withdrawn FROM consent WHERE grant_id = $1`,
    values: [grantId],
  });
  assert.deepEqual(rows, [{ withdrawn: true }]);
  await assert.rejects(
    world.peer(DirectoryService).redeemEnrolment({ enrolmentCode: owner.enrolmentCode, requestId: "one-use-only" }),
    because("ENROLMENT_INVALID"),
  );
  await assert.rejects(pairwise(owner.accountId), because("ACCOUNT_NOT_FOUND"));
});

test("SZ-18.3 registering again is a new user: other ids, other pairwise ids, verified anew, no old roles", async () => {
  const who = somebody(number);
  const old = await becomeRealName(world, staff, who);
  await registerOrganisation(world, old.claims, { uscc: uscc(number), name: "再测试有限公司" });
  const oldPairwise = await pairwise(old.accountId);
  assert.equal(await pairwise(old.accountId), oldPairwise);
  await cancel(old.claims);
  const again = await registerPerson(world, who);
  assert.equal((await subjectOf(again.accountId)).level, 1);
  await archivePhoto(world, staff.counter, again.registrationId);
  const { becomeRealName: confirmAgain } = await import("./acts.ts");
  await cancel(person(again.accountId, { level: 1 }));
  const fresh = await confirmAgain(world, staff, who);
  assert.notEqual(fresh.accountId, old.accountId);
  assert.notEqual(await pairwise(fresh.accountId), oldPairwise);
  const subject = await subjectOf(fresh.accountId);
  assert.deepEqual([subject.level, subject.memberships], [2, []]);
});

test("SZ-18.1 what must be kept stays encrypted until its time is over, and is unreadable then", async () => {
  const { claims, accountId } = await becomeRealName(world, staff, somebody(number));
  await cancel(claims);
  const kept = async () => {
    const text = `SELECT (SELECT count(*) FROM subject_key WHERE subject_id = $1)::integer AS keys,
      (SELECT count(*) FROM document WHERE subject_id = $1)::integer AS documents`;
    return (await world.admin.query({ text, values: [accountId] })).rows[0];
  };
  assert.deepEqual(await kept(), { keys: 1, documents: 1 });
  world.time.advance(24 * 60 * 60_000);
  await world.registry.sweep();
  await world.recorded("subject.erased", "SUCCESS", accountId);
  assert.deepEqual(await kept(), { keys: 0, documents: 0 });
});

const accounts = () => world.peer(AccountService);
const suspend = (accountId: string, more = {}, claims: Claims = staff.security) => {
  const reason = SuspensionReason.CREDENTIALS_COMPROMISED;
  return accounts().suspendAccount({ requestId: randomUUID(), accountId, reason, ...more }, world.as(claims));
};
const resume = (accountId: string, claims: Claims = staff.security) =>
  accounts().resumeAccount({ requestId: randomUUID(), accountId }, world.as(claims));

test("SZ-18.2 a suspended account can do nothing, auth is told, and its consents and codes are void; resumed, it is what it was", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const { accountId, claims, enrolmentCode } = await becomeRealName(world, staff, somebody(number));
  const { organisationId } = await registerOrganisation(world, claims, { uscc: uscc(number), name: "停用有限公司" });
  const consent = { applicationId, purpose: "housing-fund.withdrawal", claimType: ClaimType.PERSON_TWO_ELEMENT };
  const grant = () =>
    world.peer(ConsentService).grantConsent({ requestId: randomUUID(), ...consent }, world.as(claims));
  await grant();

  const requestId = randomUUID();
  const first = await suspend(accountId, { requestId });
  assert.deepEqual(await suspend(accountId, { requestId }), first, "a repetition changes nothing");
  const subject = await subjectOf(accountId);
  assert.deepEqual([subject.state, subject.level], [AccountState.SUSPENDED, 1]);
  const { rows } = await world.admin.query<{ value: Uint8Array }>(
    "SELECT value FROM kit.feed_event WHERE topic = 'registry.changes' ORDER BY tx DESC, seq DESC LIMIT 1",
  );
  const change = fromBinary(AccountChangedSchema, rows[0]?.value ?? new Uint8Array());
  assert.deepEqual([change.accountId, change.state, change.level], [accountId, AccountState.SUSPENDED, 1]);
  await assert.rejects(grant(), because("LEVEL_TOO_LOW"));
  await assert.rejects(cancel(claims), because("ACCOUNT_STATE_INVALID"));
  const listed = await world.peer(ConsentService).listConsents({}, world.as(claims));
  assert.ok(listed.consents.every(({ withdrawTime }) => withdrawTime !== undefined));
  const event = await world.recorded("account.suspended", "SUCCESS", accountId);
  assert.deepEqual(event.details, { reason: "CREDENTIALS_COMPROMISED" });

  await resume(accountId);
  const again = await subjectOf(accountId, organisationId);
  assert.deepEqual([again.state, again.level, again.role], [AccountState.ACTIVE, 3, Role.LEGAL_REPRESENTATIVE]);
  await world.recorded("account.resumed", "SUCCESS", accountId);
  const redeem = world.peer(DirectoryService).redeemEnrolment({ enrolmentCode, requestId: "one-use-only" });
  await assert.rejects(redeem, because("ENROLMENT_INVALID"));
});

test("SZ-18.2 only a security administrator suspends, with a reason, and only a live real-name account", async () => {
  const { accountId, claims } = await becomeRealName(world, staff, somebody(number));
  const scope = "registry.accounts.suspend";
  await assert.rejects(suspend(accountId, {}, staff.system), because("SCOPE_MISSING"));
  for (const other of [staff.system, staff.counter, claims]) {
    await assert.rejects(suspend(accountId, {}, { ...other, scope }), because("SCOPE_MISSING"));
    await assert.rejects(resume(accountId, { ...other, scope }), because("SCOPE_MISSING"));
  }
  for (const reason of [SuspensionReason.UNSPECIFIED, 99]) {
    await assert.rejects(suspend(accountId, { reason }), because("FIELD_INVALID"));
  }
  await assert.rejects(suspend(randomUUID()), because("ACCOUNT_NOT_FOUND"));
  await assert.rejects(resume(randomUUID()), because("ACCOUNT_NOT_FOUND"));
  await assert.rejects(resume(accountId), because("ACCOUNT_STATE_INVALID"));
  assert.equal((await subjectOf(accountId)).state, AccountState.ACTIVE);
  const pending = await registerPerson(world, somebody(number + 50));
  await assert.rejects(suspend(pending.accountId), because("ACCOUNT_STATE_INVALID"));
  const both = await Promise.allSettled([suspend(accountId), suspend(accountId)]);
  assert.equal(both.filter(({ status }) => status === "fulfilled").length, 1);
  await resume(accountId);
  await cancel(claims);
  await assert.rejects(suspend(accountId), because("ACCOUNT_STATE_INVALID"));
  await assert.rejects(resume(accountId), because("ACCOUNT_STATE_INVALID"), "what is cancelled does not come back");
});

test("SZ-15.1 a database trigger refuses every way of changing who somebody is, the administrator's too", async () => {
  const { accountId } = await becomeRealName(world, staff, somebody(number));
  const other = await becomeRealName(world, staff, somebody(number + 50));
  const attempts = [
    `UPDATE identifier_digest SET subject_id = '${other.accountId}' WHERE subject_id = '${accountId}'`,
    `UPDATE identifier_digest SET digest = decode(repeat('11', 32), 'hex') WHERE subject_id = '${accountId}' AND kind = 'citizen-id'`,
    `DELETE FROM identifier_digest WHERE subject_id = '${accountId}'`,
    `UPDATE subject SET identifier_sealed = decode('00', 'hex') WHERE subject_id = '${accountId}'`,
    `UPDATE subject SET subject_id = '${randomUUID()}' WHERE subject_id = '${accountId}'`,
    `UPDATE account SET account_id = '${randomUUID()}' WHERE account_id = '${accountId}'`,
    `INSERT INTO identifier_digest (kind, version, digest, subject_id)
     SELECT 'citizen-id', version, decode(repeat('22', 32), 'hex'), subject_id FROM identifier_digest
     WHERE subject_id = '${accountId}' AND kind = 'citizen-id'`,
    `UPDATE evidence SET source_id = 'counter' WHERE subject_id = '${accountId}'`,
  ];
  for (const attempt of attempts) {
    await assert.rejects(world.admin.query(attempt), /immutable|identifier_digest_subject/, attempt);
  }
  const cancelled = await becomeRealName(world, staff, somebody(number + 60));
  await cancel(cancelled.claims);
  const revive = `UPDATE account SET state = 'ACTIVE', cancelled_at = NULL WHERE account_id = '${cancelled.accountId}'`;
  await assert.rejects(world.admin.query(revive), /immutable/);
});

test("SZ-15.1 no request of the platform has a field that could change an identifier: there is no update of a subject", async () => {
  const { registryServices } = await import("../src/server.ts");
  const isSensitive = ({ fields }: DescMessage): boolean =>
    fields.some((field) => getOption(field, data) === DataClass.SENSITIVE);
  const changing = registryServices
    .flatMap((service) => service.methods)
    .filter(({ name }) => /^(?:Update|Change|Set|Rename|Merge|Put|Replace)/.test(name));
  assert.ok(changing.some(({ name }) => name === "UpdateApplication"));
  assert.deepEqual(
    changing.filter(({ input }) => isSensitive(input)),
    [],
  );
});

test("SU-7.1.1c who is not real-name is denied every function of levels 2 and 3, whatever the token says", async () => {
  const { accountId } = await registerPerson(world, somebody(number));
  const organisationId = randomUUID();
  const consent = { applicationId: randomUUID(), purpose: "p", claimType: ClaimType.PERSON_TWO_ELEMENT };
  const acts = (claims: Claims) => {
    const by = world.as({ ...claims, org: organisationId, role: "LEGAL_REPRESENTATIVE" });
    const requestId = randomUUID();
    return [
      () => world.peer(OrganisationService).createChallenge({}, by),
      () => world.peer(ConsentService).grantConsent({ requestId, ...consent }, by),
      () => world.peer(DelegationService).grantRole({ requestId, organisationId, loginName: "somebody", role: 3 }, by),
      () => world.peer(DelegationService).revokeRole({ requestId, organisationId, delegationId: randomUUID() }, by),
    ];
  };
  for (const level of [1, 2, 3]) {
    for (const act of acts(person(accountId, { level }))) await assert.rejects(act(), because("LEVEL_TOO_LOW"));
  }
});

test("an operator sees state and level of an account, and nothing else", async () => {
  const { accountId } = await becomeRealName(world, staff, somebody(number));
  const account = await world.peer(AccountService).getAccount({ accountId }, world.as(staff.system));
  assert.deepEqual([account.state, account.level], [AccountState.ACTIVE, 2]);
  assert.deepEqual(
    Object.keys(account)
      .filter((key) => !key.startsWith("$"))
      .sort(),
    ["accountId", "level", "state"],
  );
  const missing = world.peer(AccountService).getAccount({ accountId: randomUUID() }, world.as(staff.system));
  await assert.rejects(missing, because("ACCOUNT_NOT_FOUND"));
  await world.recorded("account.read", "SUCCESS", accountId);
});

test("an enrolment code is good once, for a quarter of an hour, however many come at once", async () => {
  const { enrolmentCode, accountId } = await registerPerson(world, somebody(number));
  const redeem = (code: string) =>
    world.peer(DirectoryService).redeemEnrolment({ enrolmentCode: code, requestId: crypto.randomUUID() });
  const taken = await Promise.allSettled(Array.from({ length: 5 }, () => redeem(enrolmentCode)));
  const winners = taken.filter((each) => each.status === "fulfilled");
  assert.deepEqual(
    winners.map(({ value }) => value.holder.value),
    [accountId],
  );
  assert.equal(winners[0]?.value.loginName, somebody(number).loginName);
  const late = await registerPerson(world, somebody(number + 50));
  world.time.advance(15 * 60_000);
  await assert.rejects(redeem(late.enrolmentCode), because("ENROLMENT_INVALID"));
});
