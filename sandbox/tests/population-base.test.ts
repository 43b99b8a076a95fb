import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { NAMED_PEOPLE } from "../src/people/index.ts";
import {
  type Answer,
  type BaseAccount,
  callBase,
  NOON_IN_CHINA,
  newBizSeq,
  type RunningSandbox,
  readAccount,
  runSandbox,
} from "./running-sandbox.ts";

const PATH = "/population/v1/checks";
const matching = NAMED_PEOPLE.match.person;

let running: RunningSandbox;
let account: BaseAccount;
before(async () => {
  running = await runSandbox();
  account = await readAccount(running.sandbox.sourcesFile, "population-base");
});
after(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  running.time.nowMs = NOON_IN_CHINA;
  running.time.hold = undefined;
  await running.client.reset("population-base");
});

type Person = { citizenId: string; name: string };
const contents = (bizSeq: string, person: Person = matching) => ({
  bizSeq,
  citizenId: person.citizenId,
  name: person.name,
  purpose: "registration",
});
const check = (body: unknown, more: { forge?: Record<string, string>; signal?: AbortSignal } = {}): Promise<Answer> =>
  callBase(account, { method: "POST", path: PATH, body, nowMs: running.time.nowMs, ...more });
const outcome = (bizSeq: string): Promise<Answer> =>
  callBase(account, { method: "GET", path: `${PATH}/${bizSeq}`, nowMs: running.time.nowMs });
const counters = () => running.client.counters("population-base");
const steer = (settings: Parameters<RunningSandbox["client"]["control"]>[1]) =>
  running.client.control("population-base", settings);
const reasonOf = ({ body }: Answer) => (body as { error: { reason: string } }).error.reason;
const fieldOf = ({ body }: Answer) => (body as { error: { field: string } }).error.field;

test("NI-28a each fictional person gets the answer that the person stands for", async () => {
  const expected = {
    match: "MATCH",
    mismatch: "MISMATCH",
    "no-record": "NO_RECORD",
    "minor-under-14": "MATCH",
    "lost-document": "MATCH",
    "expired-document": "MATCH",
    "name-variant": "MISMATCH",
  } as const;
  for (const [outcomeName, result] of Object.entries(expected)) {
    const { person } = NAMED_PEOPLE[outcomeName as keyof typeof expected];
    const bizSeq = newBizSeq();
    const answer = await check(contents(bizSeq, person));
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, { bizSeq, result, checkTime: new Date(NOON_IN_CHINA).toISOString() }, outcomeName);
  }
});

test("a mismatch and a missing record are billed like a match, each check once", async () => {
  await check(contents(newBizSeq()));
  await check(contents(newBizSeq(), NAMED_PEOPLE.mismatch.person));
  await check(contents(newBizSeq(), NAMED_PEOPLE["no-record"].person));
  const { received, billed, byResult } = await counters();
  assert.deepEqual(
    { received, billed, byResult },
    {
      received: 3,
      billed: 3,
      byResult: { MATCH: 1, MISMATCH: 1, NO_RECORD: 1 },
    },
  );
});

test("the source fails for one person alone, unbilled, and serves the next", async () => {
  const bizSeq = newBizSeq();
  const answer = await check(contents(bizSeq, NAMED_PEOPLE.outage.person));
  assert.equal(answer.status, 503);
  assert.equal(answer.retryAfter, "60");
  assert.equal((await outcome(bizSeq)).status, 404);
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  assert.equal((await counters()).billed, 1);
});

test("a repeat gets the first answer again and is billed once", async () => {
  const body = contents(newBizSeq());
  const first = await check(body);
  running.time.nowMs += 60_000;
  assert.deepEqual(await check(body), first);
  const { billed, byRefusal } = await counters();
  assert.deepEqual({ billed, byRefusal }, { billed: 1, byRefusal: { repeated: 1 } });
});

test("two equal requests at once are one check", async () => {
  const release = Promise.withResolvers<void>();
  running.time.hold = release.promise;
  const body = contents(newBizSeq());
  const both = Promise.all([check(body), check(body)]);
  while ((await counters()).received < 2) await new Promise(setImmediate);
  release.resolve();
  const [one, other] = await both;
  assert.equal(one.status, 200);
  assert.deepEqual(one, other);
  assert.equal((await counters()).billed, 1);
});

test("a bizSeq with other contents is refused and costs nothing", async () => {
  const bizSeq = newBizSeq();
  await check(contents(bizSeq));
  for (const other of [
    contents(bizSeq, NAMED_PEOPLE.mismatch.person),
    { ...contents(bizSeq), purpose: "sign-in" },
    { ...contents(bizSeq), name: "林知" },
  ]) {
    const answer = await check(other);
    assert.equal(answer.status, 409);
    assert.equal(fieldOf(answer), "bizSeq");
  }
  assert.equal((await counters()).billed, 1);
});

test("the outcome is told again for 24 hours by bizSeq, and an unknown bizSeq is not found", async () => {
  const bizSeq = newBizSeq();
  const first = await check(contents(bizSeq));
  running.time.nowMs += 24 * 3_600_000;
  assert.deepEqual(await outcome(bizSeq), first);
  running.time.nowMs += 1;
  assert.equal((await outcome(bizSeq)).status, 404);
  assert.equal((await outcome(newBizSeq())).status, 404);
  assert.equal((await counters()).billed, 1);
});

test("malformed contents are refused with the field and without the value, unbilled", async () => {
  const good = contents(newBizSeq());
  const cases: [string, unknown][] = [
    ["bizSeq", { ...good, bizSeq: "ABC" }],
    ["citizenId", { ...good, citizenId: `${good.citizenId.slice(0, 17)}${good.citizenId.endsWith("0") ? "1" : "0"}` }],
    ["citizenId", { ...good, citizenId: 1 }],
    ["name", { ...good, name: "" }],
    ["name", { ...good, name: "林\n知行" }],
    ["purpose", { ...good, purpose: undefined }],
    ["body", { ...good, phone: "15400000000" }],
    ["body", [good]],
    ["body", "{"],
    ["body", "\u0000"],
  ];
  for (const [field, body] of cases) {
    const answer = await check(body);
    assert.equal(answer.status, 400, field);
    assert.equal(fieldOf(answer), field);
    assert.equal(JSON.stringify(answer.body).includes(good.citizenId.slice(0, 14)), false);
  }
  const { received, billed, byRefusal } = await counters();
  assert.deepEqual(
    { received, billed, byRefusal },
    {
      received: cases.length,
      billed: 0,
      byRefusal: { malformed: cases.length },
    },
  );
});

test("a signature of another secret, body, path, method, client or time is refused", async () => {
  const body = contents(newBizSeq());
  const path = PATH;
  const { nowMs } = running.time;
  const sign = (secret: string, ...lines: string[]) =>
    createHmac("sha256", secret).update(lines.join("\n")).digest("hex");
  const cases: [string, () => Promise<Answer>][] = [
    ["no signature", () => check(body, { forge: { "x-signature": "" } })],
    ["short signature", () => check(body, { forge: { "x-signature": "00" } })],
    ["another client", () => check(body, { forge: { "x-client-id": "somebody" } })],
    ["no timestamp", () => check(body, { forge: { "x-timestamp": "" } })],
    ["changed timestamp", () => check(body, { forge: { "x-timestamp": String(nowMs + 1) } })],
    [
      "another body",
      () => check(body, { forge: { "x-signature": sign(account.secret, "POST", path, `${nowMs}`, "00") } }),
    ],
    ["another secret", () => callBase({ ...account, secret: "x" }, { method: "POST", path, body, nowMs })],
    ["too old", () => callBase(account, { method: "POST", path, body, nowMs: nowMs - 300_001 })],
    ["too early", () => callBase(account, { method: "POST", path, body, nowMs: nowMs + 300_001 })],
    [
      "unsigned outcome",
      () => callBase({ ...account, secret: "x" }, { method: "GET", path: `${path}/${body.bizSeq}`, nowMs }),
    ],
  ];
  for (const [name, send] of cases) {
    const answer = await send();
    assert.equal(answer.status, 401, name);
    assert.equal(reasonOf(answer), "UNAUTHENTICATED");
  }
  assert.equal((await callBase(account, { method: "POST", path, body, nowMs: nowMs - 300_000 })).status, 200);
  assert.equal((await counters()).byRefusal.unauthenticated, cases.length);
});

test("the signed text is the one of the contract", async () => {
  const body = JSON.stringify(contents(newBizSeq()));
  const digest = createHash("sha256").update(body).digest("hex");
  const timestamp = String(running.time.nowMs);
  const signature = createHmac("sha256", account.secret).update(`POST\n${PATH}\n${timestamp}\n${digest}`).digest("hex");
  const headers = { "x-client-id": account.clientId, "x-timestamp": timestamp, "x-signature": signature };
  assert.equal((await fetch(account.url + PATH, { method: "POST", body, headers })).status, 200);
});

test("more calls in a second than granted get 429 with Retry-After, and the next second is free", async () => {
  await steer({ quotaPerSecond: 2 });
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  const refused = await check(contents(newBizSeq()));
  assert.equal(refused.status, 429);
  assert.equal(refused.retryAfter, "1");
  running.time.nowMs += 1000;
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  assert.equal((await counters()).billed, 3);
});

test("an identifier has 1,000 checks a day; repeats do not count, other identifiers are free, midnight in China frees it", async () => {
  await steer({ quotaPerSecond: 10_000 });
  const body = contents(newBizSeq());
  await check(body);
  for (let checks = 1; checks < 1000; checks += 50) {
    const batch = Array.from({ length: Math.min(50, 1000 - checks) }, () => check(contents(newBizSeq())));
    for (const { status } of await Promise.all(batch)) assert.equal(status, 200);
  }
  const refused = await check(contents(newBizSeq()));
  assert.equal(refused.status, 429);
  assert.equal(refused.retryAfter, String(12 * 3600));
  assert.equal((await check(body)).status, 200);
  assert.equal((await check(contents(newBizSeq(), NAMED_PEOPLE.mismatch.person))).status, 200);
  running.time.nowMs += 12 * 3_600_000;
  assert.equal((await check(contents(newBizSeq()))).status, 200);
});

test("an announced maintenance window gives 503 until it ends, for outcomes too", async () => {
  const bizSeq = newBizSeq();
  await check(contents(bizSeq));
  const at = (ms: number) => new Date(NOON_IN_CHINA + ms).toISOString();
  await steer({ maintenance: [{ startTime: at(1000), endTime: at(91_000) }] });
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  running.time.nowMs += 1000;
  const away = await check(contents(newBizSeq()));
  assert.equal(away.status, 503);
  assert.equal(away.retryAfter, "90");
  assert.equal((await outcome(bizSeq)).status, 503);
  running.time.nowMs += 90_000;
  assert.equal((await check(contents(newBizSeq()))).status, 200);
  assert.equal((await counters()).billed, 3);
});

test("maintenance by command gives 503 until it is lifted", async () => {
  await steer({ fault: "maintenance" });
  assert.equal((await check(contents(newBizSeq()))).status, 503);
  await steer({ fault: "none" });
  assert.equal((await check(contents(newBizSeq()))).status, 200);
});

test("a fault gives 500, unbilled, and the check can be sent again", async () => {
  const body = contents(newBizSeq());
  await steer({ fault: "error" });
  assert.equal((await check(body)).status, 500);
  assert.equal((await outcome(body.bizSeq)).status, 404);
  await steer({ fault: "none" });
  assert.equal((await check(body)).status, 200);
  assert.equal((await counters()).billed, 1);
});

test("failNext fails that many checks and no more", async () => {
  await steer({ failNext: 2 });
  const statuses = [];
  for (let checks = 0; checks < 3; checks++) statuses.push((await check(contents(newBizSeq()))).status);
  assert.deepEqual(statuses, [500, 500, 200]);
});

test("hang takes the request and never answers; it was neither done nor billed", async () => {
  await steer({ fault: "hang" });
  const bizSeq = newBizSeq();
  const leaving = new AbortController();
  const hanging = check(contents(bizSeq), { signal: leaving.signal });
  while ((await counters()).byRefusal.hung !== 1) await new Promise(setImmediate);
  leaving.abort();
  await assert.rejects(hanging, { name: "AbortError" });
  assert.equal((await outcome(bizSeq)).status, 404);
  assert.equal((await counters()).billed, 0);
});

test("drop cuts the connection after the check was done and billed, and the outcome clears it up", async () => {
  await steer({ fault: "drop" });
  const body = contents(newBizSeq());
  await assert.rejects(check(body), TypeError);
  const { billed, byRefusal } = await counters();
  assert.deepEqual({ billed, byRefusal }, { billed: 1, byRefusal: { dropped: 1 } });
  const told = await outcome(body.bizSeq);
  assert.equal(told.status, 200);
  await steer({ fault: "none" });
  assert.deepEqual(await check(body), told);
  assert.equal((await counters()).billed, 1);
});

test("a body over 16 KiB is refused", async () => {
  assert.equal((await check({ ...contents(newBizSeq()), name: "林".repeat(6000) })).status, 413);
  assert.equal((await counters()).received, 0);
});

test("paths with a query, other methods and unknown paths are not found", async () => {
  const { nowMs } = running.time;
  for (const path of [`${PATH}?x=1`, "/population/v1", `${PATH}/x`, "/", "/nothing"]) {
    assert.equal((await callBase(account, { method: "GET", path, nowMs })).status, 404, path);
  }
});

test("answers take a drawn time around the median", async () => {
  await steer({ latencyMs: 1000 });
  running.time.sleptMs.length = 0;
  for (let checks = 0; checks < 30; checks++) await check(contents(newBizSeq()));
  const sorted = running.time.sleptMs.toSorted((one, other) => one - other);
  assert.equal(sorted.length, 30);
  assert.ok(new Set(sorted).size > 25);
  assert.ok((sorted[15] ?? 0) > 500 && (sorted[15] ?? 0) < 2000);
});

test("the log tells bizSeq and never an identifier, a name or a verdict", async () => {
  const bizSeq = newBizSeq();
  running.logged.length = 0;
  await check(contents(bizSeq));
  await check(contents(newBizSeq(), NAMED_PEOPLE.mismatch.person));
  await check({ ...contents(newBizSeq()), name: 1 });
  const log = running.logged.join("\n");
  assert.ok(log.includes(bizSeq));
  for (const personal of [matching.citizenId, matching.name, NAMED_PEOPLE.mismatch.person.citizenId, "MATCH"]) {
    assert.equal(log.includes(personal), false);
  }
});
