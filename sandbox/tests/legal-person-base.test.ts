import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "../src/people/index.ts";
import {
  type BaseAccount,
  callBase,
  newBizSeq,
  type RunningSandbox,
  readAccount,
  runSandbox,
} from "./running-sandbox.ts";

const PATH = "/legal-person/v1/checks";
const matching = NAMED_ORGANISATIONS.match.organisation;
const someoneElse = NAMED_PEOPLE.mismatch.person.citizenId;

let running: RunningSandbox;
let account: BaseAccount;
before(async () => {
  running = await runSandbox();
  account = await readAccount(running.sandbox.sourcesFile, "legal-person-base");
});
after(() => running[Symbol.asyncDispose]());
beforeEach(() => running.client.reset("legal-person-base"));

const contents = (organisation: { uscc: string; name: string } = matching, legalRepresentativeCitizenId?: string) => ({
  bizSeq: newBizSeq(),
  uscc: organisation.uscc,
  name: organisation.name,
  ...(legalRepresentativeCitizenId === undefined ? {} : { legalRepresentativeCitizenId }),
  purpose: "registration",
});
const check = (body: unknown) => callBase(account, { method: "POST", path: PATH, body, nowMs: running.time.nowMs });

test("SZ-13.4 code and name are found, found different, or not found; without a representative none is checked", async () => {
  const expected = {
    match: "MATCH",
    mismatch: "MISMATCH",
    "no-record": "NO_RECORD",
    deregistered: "MATCH",
    revoked: "MATCH",
  } as const;
  for (const [outcome, result] of Object.entries(expected)) {
    const body = contents(NAMED_ORGANISATIONS[outcome as keyof typeof expected].organisation);
    const checkTime = new Date(running.time.nowMs).toISOString();
    const answer = await check(body);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, { bizSeq: body.bizSeq, result, legalRepresentative: "NOT_CHECKED", checkTime });
  }
  const { billed, byResult } = await running.client.counters("legal-person-base");
  assert.deepEqual({ billed, byResult }, { billed: 5, byResult: { MATCH: 3, MISMATCH: 1, NO_RECORD: 1 } });
});

test("the legal representative is told apart from somebody else", async () => {
  const findings = async (citizenId: string) => {
    const { result, legalRepresentative } = (await check(contents(matching, citizenId))).body as Record<string, string>;
    return [result, legalRepresentative];
  };
  assert.deepEqual(await findings(matching.legalRepresentativeCitizenId), ["MATCH", "MATCH"]);
  assert.deepEqual(await findings(someoneElse), ["MATCH", "MISMATCH"]);
});

test("who cannot name the organisation does not learn who represents it", async () => {
  const body = contents({ uscc: matching.uscc, name: "深圳别名有限公司" }, matching.legalRepresentativeCitizenId);
  const { result, legalRepresentative } = (await check(body)).body as Record<string, string>;
  assert.deepEqual([result, legalRepresentative], ["MISMATCH", "NOT_CHECKED"]);
});

test("the source fails for one organisation alone", async () => {
  assert.equal((await check(contents(NAMED_ORGANISATIONS.outage.organisation))).status, 503);
  assert.equal((await check(contents())).status, 200);
});

test("a bizSeq that comes again with a representative is another check and refused", async () => {
  const body = contents();
  await check(body);
  const other = { ...body, legalRepresentativeCitizenId: matching.legalRepresentativeCitizenId };
  assert.equal((await check(other)).status, 409);
});

test("malformed contents are refused with the field, unbilled", async () => {
  const good = contents();
  const cases: [string, unknown][] = [
    ["uscc", { ...good, uscc: `${good.uscc.slice(0, 17)}${good.uscc.endsWith("0") ? "1" : "0"}` }],
    ["uscc", { ...good, uscc: good.uscc.toLowerCase() }],
    ["name", { ...good, name: "" }],
    ["legalRepresentativeCitizenId", { ...good, legalRepresentativeCitizenId: "1" }],
    ["legalRepresentativeCitizenId", { ...good, legalRepresentativeCitizenId: null }],
    ["body", { ...good, citizenId: someoneElse }],
  ];
  for (const [field, body] of cases) {
    const answer = await check(body);
    assert.equal(answer.status, 400, field);
    assert.equal((answer.body as { error: { field: string } }).error.field, field);
  }
  assert.equal((await running.client.counters("legal-person-base")).billed, 0);
});

test("the secret of another base does not open this one", async () => {
  const population = await readAccount(running.sandbox.sourcesFile, "population-base");
  const { nowMs } = running.time;
  assert.equal((await callBase(population, { method: "POST", path: PATH, body: contents(), nowMs })).status, 401);
});
