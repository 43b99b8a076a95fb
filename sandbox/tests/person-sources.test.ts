import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { SourceId } from "../src/client.ts";
import { faceImageOf, NAMED_PEOPLE, type SyntheticPerson } from "../src/people/index.ts";
import {
  type Answer,
  callBase,
  NOON_IN_CHINA,
  newBizSeq,
  type RunningSandbox,
  readAccount,
  runSandbox,
} from "./running-sandbox.ts";

const { person } = NAMED_PEOPLE.match;
const minor = NAMED_PEOPLE["minor-under-14"].person;
const sources = ["population-base", "population-base-2", "carrier", "bank", "biometric"] as const;

let running: RunningSandbox;
before(async () => {
  running = await runSandbox();
});
after(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  running.time.nowMs = NOON_IN_CHINA;
  running.time.hold = undefined;
  for (const source of sources) await running.client.reset(source);
});

type Fields = Readonly<Record<string, unknown>>;
const about = ({ citizenId, name }: SyntheticPerson, more: Fields = {}): Fields => ({
  bizSeq: newBizSeq(),
  citizenId,
  name,
  purpose: "registration",
  ...more,
});
async function ask(source: SourceId, path: string, body: Fields, prefix = ""): Promise<Answer> {
  const account = await readAccount(running.sandbox.sourcesFile, source);
  const there = { ...account, url: account.url + prefix };
  return callBase(there, { method: "POST", path, body, nowMs: running.time.nowMs });
}
const resultOf = ({ status, body }: Answer) => (status === 200 ? (body as { result: string }).result : status);
const carrier = async (body: Fields) => resultOf(await ask("carrier", "/carrier/v1/checks", body));
const bank = async (body: Fields) => resultOf(await ask("bank", "/bank/v1/checks", body));
const face = (body: Fields) => ask("biometric", "/biometric/v1/checks", body);
const document = async (who: SyntheticPerson, expireDate: string) =>
  resultOf(await ask("population-base", "/population/v1/documents", about(who, { expireDate })));
const guardian = async (who: SyntheticPerson, ward: SyntheticPerson, wardName = ward.name) => {
  const more = { wardCitizenId: ward.citizenId, wardName };
  return resultOf(await ask("population-base", "/population/v1/guardians", about(who, more)));
};

test("NI-28b a carrier knows who holds a number", async () => {
  const { phone } = person;
  assert.equal(await carrier(about(person, { phone })), "MATCH");
  assert.equal(await carrier(about(person, { phone: minor.phone })), "MISMATCH");
  assert.equal(await carrier(about({ ...person, name: "林知" }, { phone })), "MISMATCH");
  assert.equal(await carrier(about(NAMED_PEOPLE["no-record"].person, { phone })), "NO_RECORD");
  assert.equal(await carrier(about(NAMED_PEOPLE.outage.person, { phone })), 503);
  assert.equal(await carrier(about(person)), 400);
  assert.equal(await carrier(about(person, { phone, bankCard: person.bankCard })), 400);
  assert.equal((await running.client.counters("carrier")).billed, 4);
});

test("NI-28c, NI-28d a bank knows the card and its mobile number, and one card four times in any 24 hours", async () => {
  const { bankCard, phone } = person;
  assert.equal(await bank(about(person, { bankCard })), "MATCH");
  assert.equal(await bank(about(person, { bankCard, phone })), "MATCH");
  assert.equal(await bank(about(person, { bankCard, phone: minor.phone })), "MISMATCH");
  assert.equal(await bank(about(person, { bankCard: minor.bankCard })), "MISMATCH");
  assert.equal(await bank(about(person, { bankCard: "9999000000000000" })), 400);
  running.time.nowMs += 3_600_000;
  assert.equal(await bank(about(minor, { bankCard })), "MISMATCH");
  assert.equal(await bank(about(person, { bankCard })), 429);
  running.time.nowMs += 23 * 3_600_000;
  assert.equal(await bank(about(person, { bankCard })), "MATCH");
  assert.equal((await running.client.counters("bank")).billed, 6);
  await running.client.control("bank", { cardPerDay: 0 });
  assert.equal(await bank(about(minor, { bankCard: minor.bankCard })), 429);
});

test("NI-28e a biometric source compares faces, tells how alike they are, and caps the questions about one person", async () => {
  const image = (citizenId: string, likeness?: number) =>
    Buffer.from(faceImageOf(citizenId, likeness)).toString("base64");
  const found = async (body: Fields) => {
    const { body: answer } = await face(body);
    const { result, similarity } = answer as { result: string; similarity: number };
    return [result, similarity];
  };
  assert.deepEqual(await found(about(person, { image: image(person.citizenId) })), ["MATCH", 960]);
  assert.deepEqual(await found(about(person, { image: image(person.citizenId, 640) })), ["MISMATCH", 640]);
  const [result, similarity] = await found(about(person, { image: image(minor.citizenId) }));
  assert.ok(result === "MISMATCH" && Number(similarity) < 300);
  assert.deepEqual(await found(about(minor, { image: image(minor.citizenId) })), ["NO_PHOTO", 0]);
  assert.deepEqual(await found(about({ ...person, name: "林知" }, { image: image(person.citizenId) })), [
    "MISMATCH",
    0,
  ]);
  const large = Buffer.concat([faceImageOf(person.citizenId), Buffer.alloc(500_000)]).toString("base64");
  assert.equal((await face(about(person, { image: large }))).status, 200);
  const text = Buffer.from("no picture").toString("base64");
  for (const bad of [undefined, "", "%%", text]) assert.equal((await face(about(person, { image: bad }))).status, 400);
  for (let i = 0; i < 9; i++) await face(about(person, { image: image(person.citizenId) }));
  assert.equal((await face(about(person, { image: image(person.citizenId) }))).status, 200);
  assert.equal((await face(about(person, { image: image(person.citizenId) }))).status, 429);
  running.time.nowMs += 60_000;
  assert.equal((await face(about(person, { image: image(person.citizenId) }))).status, 200);
});

test("NI-3 a base knows which documents are valid, expired, lost and cancelled", async () => {
  const of = (outcome: keyof typeof NAMED_PEOPLE) => NAMED_PEOPLE[outcome].person;
  assert.equal(await document(person, "2044-05-06"), "VALID");
  assert.equal(await document(person, "2044-05-07"), "MISMATCH");
  assert.equal(await document(person, "LONG-TERM"), "MISMATCH");
  assert.equal(await document(of("expired-document"), "2014-05-06"), "EXPIRED");
  assert.equal(await document(of("lost-document"), "2044-05-06"), "LOST");
  assert.equal(await document(of("cancelled-document"), "2044-05-06"), "CANCELLED");
  assert.equal(await document(of("mismatch"), "2044-05-06"), "MISMATCH");
  assert.equal(await document(of("no-record"), "2044-05-06"), "NO_RECORD");
  assert.equal(await document(person, "soon"), 400);
});

test("NI-15 a base knows who is whose guardian", async () => {
  assert.equal(await guardian(person, minor), "MATCH");
  assert.equal(await guardian(NAMED_PEOPLE["lost-document"].person, minor), "MISMATCH");
  assert.equal(await guardian(person, minor, "许星"), "MISMATCH");
  assert.equal(await guardian(minor, person), "MISMATCH");
  assert.equal(await guardian(NAMED_PEOPLE["no-record"].person, minor), "NO_RECORD");
  assert.equal(await guardian(NAMED_PEOPLE.outage.person, minor), 503);
});

test("a source that is told to has nobody on file", async () => {
  await running.client.control("carrier", { noRecord: true });
  assert.equal(await carrier(about(person, { phone: person.phone })), "NO_RECORD");
  await running.client.control("carrier", { noRecord: false, identifierPerDay: 1 });
  assert.equal(await carrier(about(person, { phone: person.phone })), 429);
});

test("a base at two addresses is steered at each, answers a check once and bills it once", async () => {
  const base = (body: Fields, prefix = "") => ask("population-base", "/population/v1/checks", body, prefix);
  const counters = async () => [
    await running.client.counters("population-base"),
    await running.client.counters("population-base-2"),
  ];
  const body = about(person);
  const first = await base(body, "/replica-2");
  assert.deepEqual(await base(body), first);
  assert.deepEqual(
    (await counters()).map(({ received, billed }) => [received, billed]),
    [
      [1, 1],
      [1, 0],
    ],
  );
  await running.client.control("population-base-2", { fault: "error" });
  assert.equal((await base(about(person), "/replica-2")).status, 500);
  assert.equal((await base(about(person))).status, 200);
  await running.client.reset("population-base-2");

  // The first address is slow: the second one does not wait for it.
  const slow = Promise.withResolvers<void>();
  running.time.hold = slow.promise;
  const hedged = about(person);
  const late = base(hedged);
  while ((await counters())[0]?.received !== 3) await new Promise(setImmediate);
  running.time.hold = undefined;
  const quick = await base(hedged, "/replica-2");
  assert.equal(resultOf(quick), "MATCH");
  slow.resolve();
  assert.deepEqual(await late, quick);
  assert.equal((await counters())[0]?.billed, 3);
});

test("the log tells nothing of phones, cards and faces", async () => {
  const log = running.logged.join("\n");
  assert.ok(log.includes("carrier") && log.includes("biometric"));
  for (const personal of [person.phone, person.bankCard, person.name, "iVBORw0KGgo"])
    assert.ok(!log.includes(personal));
});
