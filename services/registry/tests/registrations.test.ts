import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { RegistrationService, RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import { DomainError } from "@fujie/kit/errors";
import { acceptance, because, portal, registerPerson, somebody } from "./acts.ts";
import { citizenId, startWorld, type World } from "./world.ts";

let world: World;
let number = 100;
before(async () => {
  world = await startWorld();
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  number += 1;
  world.gateway.answer = () => "VERIFIED";
});

const stateOf = async (registrationId: string, waitMs = 0) =>
  (await world.peer(RegistrationService).getRegistration({ registrationId, waitMs }, world.as(portal))).state;

const subjectOf = (accountId: string) => world.peer(DirectoryService).getSubject({ accountId, organisationId: "" });

async function countRows(table: string): Promise<number> {
  const { rows } = await world.admin.query<{ n: number }>(`SELECT count(*)::integer AS n FROM ${table}`);
  return rows[0]?.n ?? 0;
}

test("SZ-13.3 who registers by citizen id, name and login name is PENDING and of level 1", async () => {
  const registered = await registerPerson(world, somebody(number));
  assert.equal(registered.state, RegistrationState.VERIFIED);
  assert.ok(registered.enrolmentCode.length >= 27, "at least 160 bits in base64url");
  const subject = await subjectOf(registered.accountId);
  assert.equal(subject.state, AccountState.PENDING);
  assert.equal(subject.level, 1);
  await world.recorded("registration.verified");
});

test("SZ-14.1 NI-13 nothing is looked at or stored before the texts in force are accepted", async () => {
  const rows = await countRows("registration");
  const good = acceptance(world);
  const unfit = { ...somebody(number), citizenId: "not even a number" };
  const cases = [
    [{ ...good, agreementVersion: "" }, "AGREEMENT_NOT_ACCEPTED"],
    [{ ...good, agreementSha256: new Uint8Array() }, "AGREEMENT_NOT_ACCEPTED"],
    [{ ...good, agreementSha256: new Uint8Array(32) }, "AGREEMENT_NOT_ACCEPTED"],
    [{ ...good, agreementVersion: "2019-01" }, "AGREEMENT_VERSION_UNKNOWN"],
    [{ ...good, noticeVersion: "" }, "NOTICE_NOT_ACKNOWLEDGED"],
  ] as const;
  for (const [given, reason] of cases) {
    await assert.rejects(registerPerson(world, unfit, { acceptance: given }), because(reason));
  }
  assert.equal(await countRows("registration"), rows);
});

test("SZ-14.1 NI-13 version, digest and time of what was accepted are kept", async () => {
  const { registrationId } = await registerPerson(world, somebody(number));
  const { rows } = await world.admin.query<{ agreement_version: string; n: number; accepted_at: Date }>({
    text: `SELECT agreement_version, length(agreement_sha256) AS n, accepted_at FROM registration WHERE registration_id = $1`,
    values: [registrationId],
  });
  assert.deepEqual(rows, [{ agreement_version: "2026-01", n: 32, accepted_at: new Date(world.time.clock.nowMs()) }]);
});

test("malformed input is refused by rule, and the value is in no error", async () => {
  const person = somebody(number);
  const wrong = `${person.citizenId.slice(0, 17)}${person.citizenId.endsWith("1") ? "2" : "1"}`;
  await assert.rejects(registerPerson(world, { ...person, citizenId: wrong }), (error: DomainError) => {
    assert.ok(!JSON.stringify(error).includes(wrong) && !error.message.includes(wrong));
    return because("CITIZEN_ID_INVALID")(error);
  });
  await assert.rejects(registerPerson(world, { ...person, name: "·李" }), because("NAME_INVALID"));
  await assert.rejects(registerPerson(world, { ...person, loginName: "ab" }), because("LOGIN_NAME_INVALID"));
});

test("NI-15 who is under fourteen cannot register alone", async () => {
  const { citizenIdCheckCharacter } = await import("@fujie/identity");
  const first = "11019920200101001";
  const child = { ...somebody(number), citizenId: first + citizenIdCheckCharacter(first) };
  await assert.rejects(registerPerson(world, child), because("GUARDIAN_REQUIRED"));
});

test("a login name is reserved while the registration lives, in every spelling", async () => {
  const person = somebody(number);
  await registerPerson(world, person);
  const other = { ...somebody(number + 50), loginName: person.loginName.toUpperCase() };
  await assert.rejects(registerPerson(world, other), because("LOGIN_NAME_TAKEN"));
});

test("SZ-13.3 a stranger cannot squat an identifier: a second registration of it looks the same to its caller", async () => {
  const person = somebody(number);
  const first = await registerPerson(world, person);
  const second = await registerPerson(world, { ...person, loginName: `${person.loginName}.true` });
  assert.equal(second.state, first.state);
  assert.notEqual(second.accountId, first.accountId);
});

test("a repetition gets the first answer without the code, other contents are refused", async () => {
  const requestId = randomUUID();
  const first = await registerPerson(world, somebody(number), { requestId });
  const again = await registerPerson(world, somebody(number), { requestId });
  assert.equal(again.registrationId, first.registrationId);
  assert.equal(again.enrolmentCode, "");
  await assert.rejects(registerPerson(world, somebody(number + 60), { requestId }), because("REQUEST_ID_REUSED"));
});

test("SZ-13.4 SZ-4.1 a mismatch blocks: no usable account is left, and which element differs is not told", async () => {
  world.gateway.answer = () => "REJECTED";
  const registered = await registerPerson(world, somebody(number));
  assert.equal(registered.state, RegistrationState.REJECTED);
  assert.equal((await subjectOf(registered.accountId)).state, AccountState.CANCELLED);
  const redeem = world
    .peer(DirectoryService)
    .redeemEnrolment({ enrolmentCode: registered.enrolmentCode, requestId: "one-use-only" });
  await assert.rejects(redeem, because("ENROLMENT_INVALID"));
  world.gateway.answer = () => "VERIFIED";
  await registerPerson(world, somebody(number));
});

test("SZ-13.4 an outage gives SUBMITTED, never a pass, and the gateway's feed completes it", async () => {
  world.gateway.answer = () => "PENDING";
  const { registrationId } = await registerPerson(world, somebody(number));
  assert.equal(await stateOf(registrationId), RegistrationState.SUBMITTED);
  const waiting = stateOf(registrationId, 30_000);
  await world.gateway.decide(`registration:${registrationId}`, "VERIFIED");
  assert.equal(await untilMoved(waiting), RegistrationState.VERIFIED);
});

test("SZ-13.4 a gateway that did not take the question is asked again, under the same request id", async () => {
  world.gateway.answer = () => {
    throw new DomainError("DEPENDENCY_UNAVAILABLE");
  };
  const { registrationId, accountId } = await registerPerson(world, somebody(number));
  assert.equal(await stateOf(registrationId), RegistrationState.SUBMITTED);
  world.gateway.answer = () => "VERIFIED";
  world.time.advance(20_000);
  await world.registry.sweep();
  await world.recorded("registration.verified", "SUCCESS", accountId);
  assert.equal(await stateOf(registrationId), RegistrationState.VERIFIED);
  const ids = world.gateway.questions.filter(({ reference }) => reference === `registration:${registrationId}`);
  assert.ok(ids.length >= 2);
  assert.equal(new Set(ids.map(({ requestId }) => requestId)).size, 1);
});

test("a decision that comes again or late changes nothing", async () => {
  const { registrationId } = await registerPerson(world, somebody(number));
  world.gateway.answer = () => "PENDING";
  const marker = await registerPerson(world, somebody(number + 70));
  await world.gateway.decide(`registration:${registrationId}`, "REJECTED");
  await world.gateway.decide(`registration:${marker.registrationId}`, "VERIFIED");
  assert.equal(await untilMoved(stateOf(marker.registrationId, 30_000)), RegistrationState.VERIFIED);
  assert.equal(await stateOf(registrationId), RegistrationState.VERIFIED);
});

test("a wait ends with its time, and answers as it stands", async () => {
  world.gateway.answer = () => "PENDING";
  const { registrationId } = await registerPerson(world, somebody(number));
  assert.equal(await untilMoved(stateOf(registrationId, 2_000)), RegistrationState.SUBMITTED);
});

test("SZ-4.1 nobody came: the registration expires, its key is destroyed, its login name is free", async () => {
  const person = somebody(number);
  const { registrationId, accountId, expireTime } = await registerPerson(world, person);
  const expireMs = expireTime === undefined ? 0 : timestampMs(expireTime);
  world.time.advance(expireMs - world.time.clock.nowMs() + 1);
  await world.registry.sweep();
  await world.recorded("registration.expired", "SUCCESS", accountId);
  await world.recorded("subject.erased", "SUCCESS", accountId);
  assert.equal(await stateOf(registrationId), RegistrationState.EXPIRED);
  assert.equal((await subjectOf(accountId)).state, AccountState.CANCELLED);
  const { rows } = await world.admin.query({
    text: `SELECT 1 FROM subject_key WHERE subject_id = $1`,
    values: [accountId],
  });
  assert.deepEqual(rows, []);
  await registerPerson(world, person);
});

test("no identifier, name or login name is in the database in the clear, nor as a plain hash", async () => {
  const { createHash } = await import("node:crypto");
  const person = somebody(number);
  await registerPerson(world, person);
  const tables = await world.admin.query<{ name: string }>(
    `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'kit')`,
  );
  const needles = [person.citizenId, person.name, person.loginName].flatMap((text) => [
    Buffer.from(text).toString("hex"),
    createHash("sha256").update(text).digest("hex"),
  ]);
  for (const { name } of tables.rows) {
    const { rows } = await world.admin.query<{ row: string }>(
      `SELECT encode(t::text::bytea, 'escape') AS row FROM ${name} t`,
    );
    const text = rows.map(({ row }) => row).join("\n");
    for (const plain of [person.citizenId, person.loginName]) assert.ok(!text.includes(plain), name);
    for (const needle of needles) assert.ok(!text.includes(needle), name);
  }
});

test("another application does not see a registration, nor learns whether it exists", async () => {
  const { registrationId } = await registerPerson(world, somebody(number));
  const stranger = world.as({ ...portal, sub: "other-client", app: "other" });
  for (const id of [registrationId, randomUUID(), citizenId(1)]) {
    const call = world.peer(RegistrationService).getRegistration({ registrationId: id, waitMs: 0 }, stranger);
    await assert.rejects(call, because("OBJECT_FORBIDDEN"));
  }
});

test("the agreement and the notice are there for everybody, with the digest that acceptance names", async () => {
  const { createHash } = await import("node:crypto");
  const agreement = await world.peer(RegistrationService).getAgreement({});
  assert.deepEqual(Buffer.from(agreement.sha256), createHash("sha256").update(agreement.textZh).digest());
  assert.ok(agreement.textEn !== "" && agreement.noticeZh !== "" && agreement.noticeEn !== "");
});

/** Moves time, in the registry's looking steps, until the call is answered. */
async function untilMoved<T>(call: Promise<T>): Promise<T> {
  let done = false;
  const ended = call.finally(() => {
    done = true;
  });
  while (!done) await world.pass(20);
  return ended;
}
