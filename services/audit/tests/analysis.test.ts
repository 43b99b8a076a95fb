import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { AnalysisService, AssessmentKind, CalendarService } from "@fujie/api/fujie/audit/v1/analysis";
import { type Event, IngestService, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { type ListEntriesRequest, LogService } from "@fujie/api/fujie/audit/v1/log";
import { StatisticsService } from "@fujie/api/fujie/audit/v1/statistics";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { accessCases, runAccessCase } from "@fujie/kit/access-suite";
import { manualClock } from "@fujie/kit/clock";
import { parseCheckpoint, parseNote } from "@fujie/transparency";
import { credentials } from "@grpc/grpc-js";
import { dayOf, dayStartMs, formatDay, quarterOf } from "../src/analysis/china-time.ts";
import { makeEvent, makeEvents, startTestServer, type TestServer, until, usePostgres } from "./fixture.ts";

usePostgres();

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const PURPOSE = "quarterly.review";
// The middle of a quarter, later than the keys.
const quarter = quarterOf(Date.now() + 100 * DAY_MS);
const clock = manualClock(quarter.startMs + 30 * DAY_MS);
const cleanups: (() => Promise<void> | void)[] = [];
let audit: TestServer;
before(async () => {
  audit = await startTestServer({ after: (fn) => void cleanups.push(fn) }, clock);
});
after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

const auditor = { sub: "auditor-1", scopes: ["audit.read", "audit.calendar"] };
const colleague = { sub: "auditor-2", scopes: ["audit.read"] };
const log = (operator = auditor) => audit.client(LogService, operator);
const reports = () => audit.client(AnalysisService, auditor);

async function reasonOf(call: Promise<unknown>): Promise<string> {
  const error = ConnectError.from(
    await call.then(
      () => assert.fail("the call succeeded"),
      (thrown: unknown) => thrown,
    ),
  );
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? error.rawMessage;
}

async function append(events: readonly Event[], service = "auth"): Promise<void> {
  await (await audit.peer(service))(IngestService).appendEvents({ events: [...events] });
}

const newestOf = async (type: string) =>
  (await log().listEntries({ purpose: PURPOSE, filter: { case: "type", value: type } })).entries[0];

for (const each of accessCases([AnalysisService, CalendarService, StatisticsService], {
  publicMethods: [`${StatisticsService.typeName}/GetStatistics`],
})) {
  test(each.title, () =>
    runAccessCase(
      {
        address: `127.0.0.1:${audit.server.grpcPort}`,
        channelCredentials: credentials.createSsl(readFileSync(audit.caFile)),
        mintToken: (scopes) => audit.mintToken(scopes),
      },
      each,
    ),
  );
}

test("entries are found by any combination of conditions, and refusals of reads are recorded (SZ-4.5)", async () => {
  const base = { actor: "mixed", subject: "archive-1", applicationId: "app-x", type: "document.archived" };
  await append([
    makeEvent({ ...base, outcome: Outcome.REFUSED, reason: "DOCUMENT_TYPE_INVALID" }, clock.nowMs() - 3),
    makeEvent({ ...base, type: "document.shown" }, clock.nowMs() - 2),
    makeEvent({ ...base, applicationId: "app-y" }, clock.nowMs() - 1),
  ]);
  const find = async (question: object) => {
    const filter = { case: "subject", value: "archive-1" } as const;
    return (await log().listEntries({ purpose: PURPOSE, filter, ...question })).entries.map(({ type }) => type);
  };
  assert.deepEqual(await find({}), ["document.archived", "document.shown", "document.archived"]);
  assert.deepEqual(await find({ conditions: { outcome: Outcome.REFUSED } }), ["document.archived"]);
  const documents = ["document.archived", "document.shown", "document.archived"];
  assert.deepEqual(await find({ conditions: { typePrefix: "document." } }), documents);
  assert.deepEqual(await find({ conditions: { typePrefix: "document.s", applicationId: "app-x" } }), [
    "document.shown",
  ]);
  assert.deepEqual(await find({ conditions: { type: "document.shown", actor: "nobody" } }), []);
  assert.deepEqual(await find({ conditions: { traceId: "f".repeat(32) } }), []);
  assert.deepEqual(await find({ endTime: timestampFromMs(clock.nowMs() - 2) }), ["document.archived"]);

  const read = (fields: object) => log().listEntries({ filter: { case: "subject", value: "archive-1" }, ...fields });
  assert.equal(await reasonOf(read({ purpose: "" })), "PURPOSE_REQUIRED");
  const outsider = audit.client(LogService, { sub: "counter-1", scopes: ["registry.counter"] });
  const foreign = outsider.listEntries({ purpose: PURPOSE, filter: { case: "subject", value: "archive-1" } });
  assert.equal(await reasonOf(foreign), "SCOPE_MISSING");
  await until(async () => {
    const refused = {
      purpose: PURPOSE,
      filter: { case: "type", value: "entries.listed" },
      conditions: { outcome: Outcome.REFUSED },
    } as const;
    const { entries } = await log().listEntries(refused);
    return entries.some(({ reason }) => reason === "PURPOSE_REQUIRED");
  }, "the read without a purpose is in the log");
  await until(async () => (await newestOf("call.forbidden"))?.actor === "counter-1", "so is the one without the role");
});

test("a page token is bound to its question, and a rare find in a long list takes several bounded pages", async () => {
  await append(makeEvents(1_000, { actor: "busy", subject: "" }, clock.nowMs() - 5_000));
  await append(makeEvents(400, { actor: "busy", subject: "" }, clock.nowMs() - 3_000));
  await append([makeEvent({ actor: "busy", subject: "rare" }, clock.nowMs() - 6_000)]);
  await append(makeEvents(900, { actor: "busy", subject: "" }, clock.nowMs() - 2_000));
  await append(makeEvents(200, { actor: "busy", subject: "" }, clock.nowMs() - 1_000));
  const ask = (pageToken: string, subject = "rare") =>
    log().listEntries({
      purpose: PURPOSE,
      filter: { case: "actor", value: "busy" },
      conditions: { subject },
      pageToken,
    });
  const first = await ask("");
  assert.deepEqual([first.entries.length, first.nextPageToken === ""], [0, false]);
  assert.equal(await reasonOf(ask(first.nextPageToken, "another")), "PAGE_TOKEN_INVALID");
  let found = 0;
  for (let token = first.nextPageToken; token !== ""; ) {
    const page = await ask(token);
    found += page.entries.length;
    token = page.nextPageToken;
  }
  assert.equal(found, 1);
});

test("reads are bounded: beyond 2,000 entries an hour a second audit administrator approves the very question", async () => {
  const reader = { sub: "bulk-reader", scopes: ["audit.read"] };
  const question = { purpose: PURPOSE, filter: { case: "actor", value: "busy" } } as const;
  const page = (fields: Partial<Pick<ListEntriesRequest, "bulkReadId" | "purpose">> = {}) =>
    log(reader).listEntries({ ...question, pageSize: 200, ...fields });
  for (let pages = 0; pages < 10; pages += 1) await page();
  assert.equal(await reasonOf(page()), "BULK_READ_APPROVAL_REQUIRED");
  const single = log(reader).getEntry({ purpose: PURPOSE, entry: { case: "index", value: 1n } });
  assert.equal(await reasonOf(single), "BULK_READ_APPROVAL_REQUIRED", "one by one is no way around it");
  await until(async () => (await newestOf("entries.listed"))?.reason !== undefined, "recorded");

  const request = { requestId: randomUUID(), reason: "breach of 14 September", question };
  const { bulkReadId } = await log(reader).requestBulkRead(request);
  assert.equal(await reasonOf(page({ bulkReadId })), "BULK_READ_MISMATCH", "not approved yet");
  assert.equal(await reasonOf(log(reader).approveBulkRead({ bulkReadId })), "FOUR_EYES_REQUIRED");
  const shown = await log(colleague).getBulkRead({ bulkReadId });
  assert.deepEqual([shown.requestedBy, shown.question?.filter.value], ["bulk-reader", "busy"]);
  await log(colleague).approveBulkRead({ bulkReadId });
  assert.equal(await reasonOf(log(colleague).approveBulkRead({ bulkReadId })), "BULK_READ_DECIDED");
  await page({ bulkReadId });
  assert.equal(await reasonOf(page({ bulkReadId, purpose: "another" })), "BULK_READ_MISMATCH");
  const stolen = log(colleague).listEntries({ ...question, bulkReadId });
  assert.equal(await reasonOf(stolen), "BULK_READ_MISMATCH");
  clock.advance(60 * MINUTE_MS);
  assert.equal(await reasonOf(page({ bulkReadId })), "BULK_READ_MISMATCH", "its hour is over");
  await page();
});

test("SU-7.3.1c the quarter's report finds what was planted, is sealed in the log, and is missing until it is made", async () => {
  const nightMs = dayStartMs(dayOf(clock.nowMs()) - 2) + 3 * 60 * MINUTE_MS;
  const night = makeEvents(5, { type: "counter.searched", actor: "night-owl", subject: "" }, nightMs);
  const hops = ["home", "office", "abroad"].map((network, hop) =>
    makeEvent(
      { type: "session.started", actor: "traveller", subject: "traveller", details: { method: "pwd", network } },
      clock.nowMs() - DAY_MS + hop * MINUTE_MS,
    ),
  );
  await append([...night, ...hops]);
  assert.equal(
    await reasonOf(reports().createReport({ quarter: quarter.name })),
    "QUARTER_INVALID",
    "it has not ended",
  );
  clock.set(quarter.endMs + 1);
  assert.deepEqual((await reports().listReports({})).missing, [quarter.name]);
  const metrics = async () => (await fetch(`http://127.0.0.1:${audit.server.adminPort}/metrics`)).text();
  clock.set(quarter.endMs + DAY_MS - 1);
  await audit.server.perform();
  assert.deepEqual((await reports().listReports({})).missing, [quarter.name], "late events have a day");
  clock.set(quarter.endMs + DAY_MS);
  await until(async () => {
    await audit.server.perform();
    return (await reports().listReports({})).missing.length === 0;
  }, "the report is made by itself");
  assert.match(await metrics(), /fujie_audit_report_overdue(\{[^}]*\})? 0\b/);

  assert.equal(await reasonOf(reports().getReport({ quarter: quarter.name })), "PURPOSE_REQUIRED");
  const { report } = await reports().getReport({ quarter: quarter.name, purpose: PURPOSE });
  assert.ok(report);
  const document = JSON.parse(Buffer.from(report.document).toString());
  const found = document.findings.map(({ detector, actor }: Record<string, string>) => `${detector} ${actor}`);
  assert.ok(found.includes("oddHours night-owl"), String(found));
  assert.ok(found.includes("travel traveller"), String(found));
  assert.ok(!found.includes("burst night-owl"));
  assert.deepEqual(createHash("sha256").update(report.document).digest(), Buffer.from(report.digest));
  await until(async () => {
    const entry = await newestOf("report.created");
    return entry !== undefined && Buffer.from(entry.digest).equals(report.digest);
  }, "its digest is in the log");
  const again = await reports().createReport({ quarter: quarter.name });
  assert.deepEqual(again.report?.digest, report.digest, "there is one report for a quarter");
  assert.equal(await reasonOf(reports().createReport({ quarter: "1999-Q1" })), "QUARTER_INVALID");
  const unknown = reports().getReport({ quarter: "1999-Q1", purpose: PURPOSE });
  assert.equal(await reasonOf(unknown), "REPORT_NOT_FOUND");
});

test("SU-7.3.2 scans, tests, reviews and assessments are due by the calendar, overdue after it, and so are open findings", async () => {
  const calendar = audit.client(CalendarService, auditor);
  const document = Buffer.alloc(32, 5);
  const record = (kind: AssessmentKind, fields: object = {}) =>
    calendar.recordAssessment({
      requestId: randomUUID(),
      kind,
      date: timestampFromMs(clock.nowMs()),
      passed: true,
      documentSha256: document,
      ...fields,
    });
  const overdue = async () => (await calendar.listDue({})).due.filter((each) => each.overdue).map(({ kind }) => kind);
  const quarterly = [AssessmentKind.VULNERABILITY_SCAN, AssessmentKind.PENETRATION_TEST, AssessmentKind.RIGHTS_REVIEW];
  clock.advance(92 * DAY_MS);
  assert.deepEqual(await overdue(), quarterly, "never done, and the log is older than a quarter");
  await audit.server.perform();
  const metrics = await (await fetch(`http://127.0.0.1:${audit.server.adminPort}/metrics`)).text();
  assert.match(metrics, /fujie_audit_assessment_overdue(\{[^}]*\})? 3\b/);
  for (const kind of quarterly) await record(kind);
  assert.deepEqual(await overdue(), []);
  clock.advance(92 * DAY_MS - 1);
  assert.deepEqual(await overdue(), []);
  clock.advance(1);
  assert.deepEqual(await overdue(), quarterly);

  const { assessmentId } = await record(AssessmentKind.RISK_ASSESSMENT, { passed: false, mediumFindings: 2 });
  clock.advance(30 * DAY_MS);
  const [open] = (await calendar.listDue({})).open;
  assert.deepEqual([open?.assessmentId, open?.mediumFindings, open?.overdue], [assessmentId, 2, true]);
  const remedy = (id: string) =>
    calendar.recordRemediation({ requestId: randomUUID(), assessmentId: id, documentSha256: document });
  await remedy(assessmentId);
  assert.deepEqual((await calendar.listDue({})).open, []);
  assert.equal(await reasonOf(remedy(assessmentId)), "ASSESSMENT_CLOSED");
  assert.equal(await reasonOf(remedy(randomUUID())), "ASSESSMENT_NOT_FOUND");
  const future = { date: timestampFromMs(clock.nowMs() + 1) };
  assert.equal(await reasonOf(record(AssessmentKind.RIGHTS_REVIEW, future)), "FIELD_INVALID");
});

test("statistics of a day are published once it is over: aggregated, small counts left out, sealed in the log", async () => {
  const day = dayOf(clock.nowMs());
  const signIns = (count: number, method: string) =>
    makeEvents(count, { type: "session.started", details: { method, network: "x" } }, dayStartMs(day) + 1_000);
  await append([...signIns(12, "pwd"), ...signIns(9, "pop")]);
  const name = formatDay(day);
  const statistics = audit.client(StatisticsService);
  clock.set(dayStartMs(day + 1));
  await audit.server.perform();
  assert.equal(await reasonOf(statistics.getStatistics({ day: name })), "STATISTICS_NOT_FOUND");
  const path = `${audit.httpUrl}/log/statistics/${name}.json`;
  assert.equal((await fetch(path)).status, 404);
  clock.advance(2 * 60 * MINUTE_MS);
  const isPublished = async () => (await fetch(path)).ok;
  await until(async () => {
    await audit.server.perform();
    return isPublished();
  }, "the day is published");
  const response = await fetch(path);
  assert.match(response.headers.get("cache-control") ?? "", /immutable/);
  const bytes = Buffer.from(await response.arrayBuffer());
  const published = await statistics.getStatistics({ day: name });
  assert.deepEqual(Buffer.from(published.document), bytes);
  const document = JSON.parse(bytes.toString());
  assert.deepEqual(document.counts, [{ type: "session.started", method: "pwd", outcome: "SUCCESS", count: 12 }]);
  assert.ok(parseCheckpoint(parseNote(document.checkpoint).text).size > 0);
  assert.ok(!/account-|operator-/.test(bytes.toString()), "nothing about anybody");
  await until(async () => {
    const entry = await newestOf("statistics.published");
    return entry !== undefined && Buffer.from(entry.digest).equals(published.digest);
  }, "its digest is in the log");
  await append(signIns(5, "pwd"));
  await audit.server.perform();
  assert.deepEqual(Buffer.from(await (await fetch(path)).arrayBuffer()), bytes, "static from then on");
  assert.equal((await fetch(`${audit.httpUrl}/log/statistics/2026-02-30.json`)).status, 404);
  assert.ok(timestampMs(published.publishTime ?? timestampFromMs(0)) >= dayStartMs(day + 1));
});
