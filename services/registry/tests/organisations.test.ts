import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DelegationService, Role } from "@fujie/api/fujie/registry/v1/delegation";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { MembershipChangedSchema } from "@fujie/api/fujie/registry/v1/events";
import { OrganisationService, OrganisationState } from "@fujie/api/fujie/registry/v1/organisations";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import { appointStaff, because, becomeRealName, registerOrganisation, type Staff, somebody } from "./acts.ts";
import { type Claims, startWorld, uscc, type World } from "./world.ts";

let world: World;
let staff: Staff;
let number = 400;
before(async () => {
  world = await startWorld();
  staff = await appointStaff(world);
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  number += 10;
  world.gateway.answer = () => "VERIFIED";
});

const organisation = (n = number) => ({ uscc: uscc(n), name: `测试${n}有限公司` });
const subjectOf = (accountId: string, organisationId = "") =>
  world.peer(DirectoryService).getSubject({ accountId, organisationId });
const someone = (n = number) => becomeRealName(world, staff, somebody(n));

/** The legal representative of a fresh organisation, with a token that acts for it. */
async function owner() {
  const { accountId, claims } = await someone();
  const { organisationId } = await registerOrganisation(world, claims, organisation());
  return { accountId, organisationId, claims: acting(claims, organisationId, "LEGAL_REPRESENTATIVE") };
}

function acting(claims: Claims, org: string, role: string): Claims {
  return { ...claims, org, role };
}

test("SZ-14.2 SU-7.1.1a an organisation is real-name at once, and its representative of level 3", async () => {
  const { accountId, claims } = await someone();
  const registered = await registerOrganisation(world, claims, organisation());
  assert.equal(registered.state, OrganisationState.ACTIVE);
  assert.equal(registered.legalRepresentativeLinked, true);
  const subject = await subjectOf(accountId, registered.organisationId);
  assert.deepEqual([subject.level, subject.role], [3, Role.LEGAL_REPRESENTATIVE]);
  assert.equal(subject.memberships[0]?.organisationName, organisation().name);
  const read = await world
    .peer(OrganisationService)
    .getOrganisation(
      { organisationId: registered.organisationId },
      world.as(acting(claims, registered.organisationId, "LEGAL_REPRESENTATIVE")),
    );
  assert.deepEqual([read.uscc, read.name], [organisation().uscc, organisation().name]);
});

test("SU-7.1.1a linking somebody else's enterprise is refused: the base compares the citizen id on file", async () => {
  const { accountId, claims } = await someone();
  world.gateway.answer = ({ claim }) => (claim?.type === ClaimType.LEGAL_REPRESENTATIVE ? "REJECTED" : "VERIFIED");
  const registered = await registerOrganisation(world, claims, organisation());
  assert.equal(registered.state, OrganisationState.ACTIVE);
  assert.equal(registered.legalRepresentativeLinked, false);
  assert.equal((await subjectOf(accountId)).level, 2);
  const asked = world.gateway.questions.findLast(({ claim }) => claim?.type === ClaimType.LEGAL_REPRESENTATIVE);
  assert.equal(asked?.claim?.citizenId, somebody(number).citizenId);
});

test("SZ-13.4 an organisation that the base does not know is rejected, and its code stays free", async () => {
  const { claims } = await someone();
  world.gateway.answer = () => "REJECTED";
  await assert.rejects(registerOrganisation(world, claims, organisation()), because("REGISTRATION_REJECTED"));
  world.gateway.answer = () => "VERIFIED";
  await registerOrganisation(world, claims, organisation());
});

test("SZ-14.2 SZ-13.4 while the base is away the organisation is PENDING, and completes by itself", async () => {
  const { accountId, claims } = await someone();
  world.gateway.answer = () => "PENDING";
  const { organisationId, state, legalRepresentativeLinked } = await registerOrganisation(
    world,
    claims,
    organisation(),
  );
  assert.deepEqual([state, legalRepresentativeLinked], [OrganisationState.PENDING, false]);
  assert.equal((await subjectOf(accountId)).level, 2);
  await world.gateway.decide(`organisation:${organisationId}:REPRESENTATIVE`, "VERIFIED");
  await world.recorded("organisation.registered", "SUCCESS", organisationId);
  assert.equal((await subjectOf(accountId)).level, 3);
});

test("SZ-14.2 a late no to the first question is followed by the second, asked by the sweeper", async () => {
  const { accountId, claims } = await someone();
  world.gateway.answer = () => "PENDING";
  const { organisationId } = await registerOrganisation(world, claims, organisation());
  world.gateway.answer = () => "VERIFIED";
  await world.gateway.decide(`organisation:${organisationId}:REPRESENTATIVE`, "REJECTED");
  const asked = async () => {
    const text = `SELECT question FROM organisation WHERE organisation_id = $1 AND question = 'EXISTENCE'`;
    return (await world.admin.query({ text, values: [organisationId] })).rowCount === 1;
  };
  while (!(await asked())) await world.pass(20);
  await world.registry.sweep();
  await world.recorded("organisation.registered", "SUCCESS", organisationId);
  assert.equal((await subjectOf(accountId)).level, 2);
});

test("SZ-14.2 a gateway that is away leaves PENDING; the sweeper asks again", async () => {
  const { claims } = await someone();
  world.gateway.answer = () => {
    throw new DomainError("DEPENDENCY_UNAVAILABLE");
  };
  const { organisationId, state } = await registerOrganisation(world, claims, organisation());
  assert.equal(state, OrganisationState.PENDING);
  world.gateway.answer = () => "VERIFIED";
  world.time.advance(25_000);
  await world.registry.sweep();
  await world.recorded("organisation.registered", "SUCCESS", organisationId);
});

test("SZ-3.1 a bad check character is refused, and a second account for one code is told, in every spelling", async () => {
  const { claims } = await someone();
  const good = organisation();
  const bad = good.uscc.slice(0, 17) + (good.uscc.endsWith("1") ? "2" : "1");
  await assert.rejects(registerOrganisation(world, claims, { ...good, uscc: bad }), because("USCC_INVALID"));
  await registerOrganisation(world, claims, good);
  const again = registerOrganisation(
    world,
    claims,
    { ...good, uscc: good.uscc.toLowerCase() },
    {
      certificate: { caId: "ca-sm2", uscc: good.uscc },
    },
  );
  await assert.rejects(again, because("IDENTIFIER_ALREADY_REGISTERED"));
});

test("SZ-14.2 a certificate that is refused, names nobody, a person or another organisation registers nothing", async () => {
  const { claims } = await someone();
  const attempts = [
    [{ caId: "ca-sm2", uscc: uscc(number), refused: "CERTIFICATE_IDENTITY_ABSENT" }, "CERTIFICATE_IDENTITY_ABSENT"],
    [{ caId: "ca-sm2", uscc: uscc(number), refused: "CERTIFICATE_REVOKED" }, "CERTIFICATE_REVOKED"],
    [{ caId: "ca-sm2", uscc: uscc(number), refused: "CERTIFICATE_STATUS_UNKNOWN" }, "CERTIFICATE_STATUS_UNKNOWN"],
    [{ caId: "ca-sm2", uscc: uscc(number + 1) }, "CERTIFICATE_IDENTITY_CONFLICT"],
    [{ caId: "ca-sm2", citizenId: somebody(number).citizenId }, "CERTIFICATE_IDENTITY_CONFLICT"],
  ] as const;
  for (const [certificate, reason] of attempts) {
    await assert.rejects(registerOrganisation(world, claims, organisation(), { certificate }), because(reason));
  }
});

test("a challenge is long, random, bound to its asker and session, short-lived and good once", async () => {
  const alice = await someone();
  const bob = await someone(number + 1);
  const organisations = world.peer(OrganisationService);
  const one = await organisations.createChallenge({}, world.as(alice.claims));
  const two = await organisations.createChallenge({}, world.as(alice.claims));
  assert.notDeepEqual(one.message, two.message);
  const random = Buffer.from(one.message).toString().trim().split("\n").at(-1) ?? "";
  assert.equal(Buffer.from(random, "base64url").length, 64);

  const useBy = (claims: Claims, { challengeId, message }: typeof one) =>
    registerOrganisation(world, claims, organisation(), { challengeId, message });
  await assert.rejects(useBy(bob.claims, one), because("CHALLENGE_INVALID"));
  await assert.rejects(useBy({ ...alice.claims, sid: "another" }, one), because("CHALLENGE_INVALID"));
  await assert.rejects(useBy(alice.claims, { ...one, message: two.message }), because("SIGNATURE_INVALID"));
  await useBy(alice.claims, one);
  await assert.rejects(useBy(alice.claims, one), because("CHALLENGE_INVALID"));
  world.time.advance(120_000);
  await assert.rejects(useBy(alice.claims, two), because("CHALLENGE_INVALID"));
});

test("one challenge used twice at once registers one organisation", async () => {
  const { claims } = await someone();
  const challenge = await world.peer(OrganisationService).createChallenge({}, world.as(claims));
  const use = () => registerOrganisation(world, claims, organisation(), challenge);
  const outcomes = await Promise.allSettled([use(), use()]);
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
});

test("SU-7.1.1d the level falls when the link ends, and auth is told for live sessions", async () => {
  const { accountId, organisationId } = await owner();
  assert.equal((await subjectOf(accountId)).level, 3);
  await world.admin.query({
    text: `UPDATE delegation SET expire_at = $2 WHERE organisation_id = $1`,
    values: [organisationId, new Date(world.time.clock.nowMs())],
  });
  await world.registry.sweep();
  const subject = await subjectOf(accountId, organisationId);
  assert.deepEqual([subject.level, subject.role], [2, Role.UNSPECIFIED]);
  const { rows } = await world.admin.query<{ types: string[] }>(
    `SELECT array_agg(type_url ORDER BY tx DESC, seq DESC) AS types FROM
      (SELECT * FROM kit.feed_event WHERE topic = 'registry.changes' ORDER BY tx DESC, seq DESC LIMIT 2) e`,
  );
  assert.ok(rows[0]?.types.some((type) => type.endsWith("AccountChanged")));
});

const grant = (claims: Claims, organisationId: string, loginName: string, role: Role, more = {}) =>
  world
    .peer(DelegationService)
    .grantRole({ requestId: randomUUID(), organisationId, loginName, role, ...more }, world.as(claims));

const revoke = (claims: Claims, organisationId: string, delegationId: string) =>
  world.peer(DelegationService).revokeRole({ requestId: randomUUID(), organisationId, delegationId }, world.as(claims));

test("SU-7.1.2a SU-7.1.2b SU-7.1.2c the matrix of who names whom, from the registry's own record", async () => {
  const boss = await owner();
  const { organisationId } = boss;
  const [admin, clerk, second, third] = await Promise.all([1, 2, 3, 4].map((i) => someone(number + i)));
  const login = (i: number) => somebody(number + i).loginName;
  assert.ok(admin && clerk && second && third);
  await grant(boss.claims, organisationId, login(1), Role.ADMINISTRATOR);
  const adminClaims = acting(admin.claims, organisationId, "ADMINISTRATOR");
  await grant(adminClaims, organisationId, login(2), Role.CLERK);
  const clerkClaims = acting(clerk.claims, organisationId, "CLERK");

  const forbidden = [
    () => grant(adminClaims, organisationId, login(3), Role.ADMINISTRATOR),
    () => grant(adminClaims, organisationId, login(1), Role.ADMINISTRATOR),
    () => grant(clerkClaims, organisationId, login(3), Role.CLERK),
    () => grant(clerkClaims, organisationId, login(2), Role.ADMINISTRATOR),
    // The token lies about the role.
    () => grant(acting(clerk.claims, organisationId, "LEGAL_REPRESENTATIVE"), organisationId, login(3), Role.CLERK),
    () => grant(acting(third.claims, organisationId, "ADMINISTRATOR"), organisationId, login(3), Role.CLERK),
  ];
  for (const act of forbidden) await assert.rejects(act(), because("ROLE_FORBIDDEN"));
  await assert.rejects(grant(adminClaims, organisationId, login(1), Role.CLERK), because("DELEGATION_EXISTS"));
  await assert.rejects(
    grant(acting(admin.claims, randomUUID(), "ADMINISTRATOR"), organisationId, login(3), Role.CLERK),
    because("OBJECT_FORBIDDEN"),
  );
});

test("SU-7.1.2c revoking an administrator ends what he gave; nobody below may take from above", async () => {
  const boss = await owner();
  const { organisationId } = boss;
  const admin = await someone(number + 1);
  const clerk = await someone(number + 2);
  const login = (i: number) => somebody(number + i).loginName;
  const given = await grant(boss.claims, organisationId, login(1), Role.ADMINISTRATOR);
  const adminClaims = acting(admin.claims, organisationId, "ADMINISTRATOR");
  const clerkGiven = await grant(adminClaims, organisationId, login(2), Role.CLERK);
  const clerkClaims = acting(clerk.claims, organisationId, "CLERK");
  const all = await world.peer(DelegationService).listRoles({ organisationId, pageSize: 2 }, world.as(boss.claims));
  assert.equal(all.delegations.length, 2);
  const rest = { organisationId, pageSize: 2, pageToken: all.nextPageToken };
  const page = await world.peer(DelegationService).listRoles(rest, world.as(boss.claims));
  assert.deepEqual([page.delegations.length, page.nextPageToken], [1, ""]);
  const own = [...all.delegations, ...page.delegations].find(({ role }) => role === Role.LEGAL_REPRESENTATIVE);

  await assert.rejects(revoke(clerkClaims, organisationId, given.delegationId), because("ROLE_FORBIDDEN"));
  await assert.rejects(revoke(adminClaims, organisationId, given.delegationId), because("ROLE_FORBIDDEN"));
  await assert.rejects(revoke(boss.claims, organisationId, own?.delegationId ?? ""), because("ROLE_FORBIDDEN"));
  await assert.rejects(revoke(boss.claims, organisationId, randomUUID()), because("DELEGATION_NOT_FOUND"));
  await assert.rejects(
    world.peer(DelegationService).listRoles({ organisationId }, world.as(clerkClaims)),
    because("ROLE_FORBIDDEN"),
  );

  assert.equal((await revoke(boss.claims, organisationId, given.delegationId)).revokedCount, 2);
  assert.equal((await subjectOf(clerk.accountId, organisationId)).role, Role.UNSPECIFIED);
  // Tokens that are older than the end.
  await assert.rejects(grant(adminClaims, organisationId, login(2), Role.CLERK), because("ROLE_FORBIDDEN"));
  const read = world.peer(OrganisationService).getOrganisation({ organisationId }, world.as(clerkClaims));
  await assert.rejects(read, because("OBJECT_FORBIDDEN"));
  await assert.rejects(revoke(boss.claims, organisationId, clerkGiven.delegationId), because("DELEGATION_NOT_FOUND"));
  await world.recorded("role.revoked", "SUCCESS", clerk.accountId);
});

test("SU-7.1.2b a role has an end, after which it is none; a new one may follow", async () => {
  const boss = await owner();
  const { organisationId } = boss;
  const clerk = await someone(number + 1);
  const { loginName } = somebody(number + 1);
  const nowMs = world.time.clock.nowMs();
  for (const offMs of [-1, 6 * 365 * 86_400_000]) {
    const expireTime = timestampFromMs(nowMs + offMs);
    await assert.rejects(
      grant(boss.claims, organisationId, loginName, Role.CLERK, { expireTime }),
      because("FIELD_INVALID"),
    );
  }
  await grant(boss.claims, organisationId, loginName, Role.CLERK, { expireTime: timestampFromMs(nowMs + 60_000) });
  assert.equal((await subjectOf(clerk.accountId, organisationId)).role, Role.CLERK);
  world.time.advance(60_000);
  assert.equal((await subjectOf(clerk.accountId, organisationId)).role, Role.UNSPECIFIED);
  await grant(boss.claims, organisationId, loginName, Role.ADMINISTRATOR);
  assert.equal((await subjectOf(clerk.accountId, organisationId)).role, Role.ADMINISTRATOR);
});

test("SU-7.1.2b only a real-name person is given a role", async () => {
  const { registerPerson } = await import("./acts.ts");
  const boss = await owner();
  await registerPerson(world, somebody(number + 1));
  const give = (loginName: string) => grant(boss.claims, boss.organisationId, loginName, Role.CLERK);
  await assert.rejects(give(somebody(number + 1).loginName), because("DELEGATE_NOT_REAL_NAME"));
  await assert.rejects(give("nobody.at.all"), because("ACCOUNT_NOT_FOUND"));
});

test("a page token is bound to its list, and a page size is checked", async () => {
  const boss = await owner();
  const { organisationId } = boss;
  const list = (more: object) =>
    world.peer(DelegationService).listRoles({ organisationId, ...more }, world.as(boss.claims));
  await assert.rejects(list({ pageSize: -1 }), because("PAGE_SIZE_INVALID"));
  await assert.rejects(list({ pageToken: "bm90LW91cnM.bm90LW91cnM" }), because("PAGE_TOKEN_INVALID"));
});

const cancelOrganisation = (claims: Claims, organisationId: string, more = {}) =>
  world
    .peer(OrganisationService)
    .cancelOrganisation({ requestId: randomUUID(), organisationId, confirmed: true, ...more }, world.as(claims));

const liveRoles = async (organisationId: string) => {
  const text = `SELECT count(*)::integer AS count FROM delegation WHERE organisation_id = $1 AND ended_at IS NULL`;
  return (await world.admin.query<{ count: number }>({ text, values: [organisationId] })).rows[0]?.count;
};

const name = (claims: Claims, organisationId: string, loginName: string, role: Role.ADMINISTRATOR | Role.CLERK) =>
  world
    .peer(DelegationService)
    .grantRole({ requestId: randomUUID(), organisationId, loginName, role }, world.as(claims));

test("SZ-18.1 only its legal representative cancels an organisation, freshly signed in and on purpose", async () => {
  const { organisationId, claims } = await owner();
  const administrator = await someone(number + 1);
  await name(claims, organisationId, somebody(number + 1).loginName, Role.ADMINISTRATOR);
  const stranger = await someone(number + 2);
  await assert.rejects(cancelOrganisation({ ...claims, age: 301 }, organisationId), because("STEP_UP_REQUIRED"));
  await assert.rejects(
    cancelOrganisation(claims, organisationId, { confirmed: false }),
    because("CONFIRMATION_REQUIRED"),
  );
  const pretending = acting(administrator.claims, organisationId, "LEGAL_REPRESENTATIVE");
  await assert.rejects(cancelOrganisation(pretending, organisationId), because("ROLE_FORBIDDEN"));
  const nobody = acting(stranger.claims, organisationId, "LEGAL_REPRESENTATIVE");
  await assert.rejects(cancelOrganisation(nobody, organisationId), because("ROLE_FORBIDDEN"));
  const elsewhere = acting(claims, randomUUID(), "LEGAL_REPRESENTATIVE");
  await assert.rejects(cancelOrganisation(elsewhere, organisationId), because("OBJECT_FORBIDDEN"));
  await world.recorded("organisation.cancelled", "REFUSED");
  assert.equal(await liveRoles(organisationId), 2);
});

test("SZ-18.1 SZ-18.2 SZ-18.3 a cancelled organisation has no roles left, auth is told of each, and registering again is a new one", async () => {
  const { accountId, organisationId, claims } = await owner();
  const administrator = await someone(number + 1);
  const clerk = await someone(number + 2);
  await name(claims, organisationId, somebody(number + 1).loginName, Role.ADMINISTRATOR);
  const asAdministrator = acting(administrator.claims, organisationId, "ADMINISTRATOR");
  await name(asAdministrator, organisationId, somebody(number + 2).loginName, Role.CLERK);

  const requestId = randomUUID();
  const first = await cancelOrganisation(claims, organisationId, { requestId });
  assert.deepEqual(await cancelOrganisation(claims, organisationId, { requestId }), first);
  await assert.rejects(cancelOrganisation(claims, organisationId), because("ROLE_FORBIDDEN"));
  const { rows } = await world.admin.query<{ value: Uint8Array }>(
    `SELECT value FROM kit.feed_event WHERE topic = 'registry.changes' AND type_url LIKE '%MembershipChanged'
     ORDER BY tx DESC, seq DESC LIMIT 3`,
  );
  const told = rows.map(({ value }) => fromBinary(MembershipChangedSchema, value));
  assert.ok(told.every((change) => change.organisationId === organisationId && change.role === Role.UNSPECIFIED));
  const everybody = [accountId, administrator.accountId, clerk.accountId];
  assert.deepEqual(new Set(told.map((change) => change.accountId)), new Set(everybody));
  for (const each of everybody) {
    const subject = await subjectOf(each, organisationId);
    assert.deepEqual([subject.level, subject.role, subject.memberships], [2, Role.UNSPECIFIED, []]);
  }
  const read = world.peer(OrganisationService).getOrganisation({ organisationId }, world.as(claims));
  await assert.rejects(read, because("OBJECT_FORBIDDEN"));
  const late = name(asAdministrator, organisationId, somebody(number).loginName, Role.CLERK);
  await assert.rejects(late, because("ROLE_FORBIDDEN"));
  await world.recorded("organisation.cancelled", "SUCCESS", organisationId);

  const again = await registerOrganisation(world, { ...claims, level: 2 }, organisation());
  assert.notEqual(again.organisationId, organisationId);
  assert.equal(await liveRoles(again.organisationId), 1, "nobody comes back but who proves it anew");
  assert.equal((await subjectOf(accountId, again.organisationId)).level, 3);
});

test("SZ-18.1 a role that is given while the organisation is cancelled does not outlive it", async () => {
  const { organisationId, claims } = await owner();
  const administrator = await someone(number + 1);
  await name(claims, organisationId, somebody(number + 1).loginName, Role.ADMINISTRATOR);
  const asAdministrator = acting(administrator.claims, organisationId, "ADMINISTRATOR");
  for (const n of [2, 3, 4]) await someone(number + n);
  const giving = [2, 3, 4].map((n) =>
    name(asAdministrator, organisationId, somebody(number + n).loginName, Role.CLERK),
  );
  const [, cancelled] = await Promise.allSettled([
    Promise.allSettled(giving),
    cancelOrganisation(claims, organisationId),
  ]);
  assert.equal(cancelled?.status, "fulfilled");
  assert.equal(await liveRoles(organisationId), 0);
});
