import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { CaseScope, CaseService, CaseState } from "@fujie/api/fujie/audit/v1/cases";
import { type Incident, IncidentKind, IncidentService } from "@fujie/api/fujie/audit/v1/incidents";
import { IngestService, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { BadRequestSchema, ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { accessCases, runAccessCase } from "@fujie/kit/access-suite";
import { manualClock } from "@fujie/kit/clock";
import { loadKeyBundle } from "@fujie/kit/keys";
import { credentials } from "@grpc/grpc-js";
import { entryVerifier } from "../../../packages/cli/src/verify/entry.ts";
import { signedBytes } from "../src/documents/signed.ts";
import { makeEvent, startTestServer, type TestServer, temporaryFolder, until, usePostgres } from "./fixture.ts";

usePostgres();

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
// Later than the keys, which are made by the system's clock.
const clock = manualClock(Date.now() + 10 * MINUTE_MS);
const cleanups: (() => Promise<void> | void)[] = [];
const cleanup = { after: (fn: () => Promise<void> | void) => void cleanups.push(fn) };

interface Delivered {
  readonly drill: boolean;
  readonly document: Record<string, unknown>;
  readonly bytes: Buffer;
  readonly keyId: string;
  readonly signature: Buffer;
}

/** The managing authority: takes reports over HTTP and acknowledges them as a test says. */
const delivered: Delivered[] = [];
let authorityAnswers: "signed" | "unsigned" | "another" | "error" = "signed";
const authorityKey = generateKeyPairSync("ed25519");
const authority: Server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const envelope: Record<string, string> = JSON.parse(Buffer.concat(chunks).toString());
    const bytes = Buffer.from(envelope["document"] ?? "", "base64");
    if (authorityAnswers === "error") return response.writeHead(503).end();
    delivered.push({
      drill: request.headers["x-fujie-drill"] === "true",
      document: JSON.parse(bytes.toString()),
      bytes,
      keyId: envelope["keyId"] ?? "",
      signature: Buffer.from(envelope["signature"] ?? "", "base64"),
    });
    const documentSha256 = createHash("sha256")
      .update(authorityAnswers === "another" ? "another report" : bytes)
      .digest("hex");
    const acknowledgement = Buffer.from(JSON.stringify({ documentSha256, reference: "A-1" }));
    const signature =
      authorityAnswers === "unsigned" ? Buffer.alloc(64) : sign(null, acknowledgement, authorityKey.privateKey);
    return response.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify({
        acknowledgement: acknowledgement.toString("base64"),
        signature: signature.toString("base64"),
      }),
    );
  });
});

let audit: TestServer;
before(async () => {
  await new Promise<void>((resolve) => authority.listen(0, "127.0.0.1", () => resolve()));
  cleanup.after(() => void authority.close());
  const { port } = authority.address() as AddressInfo;
  const keyFile = join(temporaryFolder(cleanup), "authority.pem");
  writeFileSync(keyFile, authorityKey.publicKey.export({ type: "spki", format: "pem" }));
  audit = await startTestServer(cleanup, clock, {
    FUJIE_AUTHORITY_URL: `http://127.0.0.1:${port}/reports`,
    FUJIE_AUTHORITY_KEY_FILE: keyFile,
    FUJIE_EGRESS_ALLOW_HOSTS: `127.0.0.1:${port}`,
  });
});
after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

const officer = { sub: "audit-1", scopes: ["audit.incidents", "audit.cases.propose", "audit.read"] };
const approver = { sub: "security-1", scopes: ["audit.cases.approve"] };
const incidents = () => audit.client(IncidentService, officer);
const cases = (operator = officer) => audit.client(CaseService, operator);
const PURPOSE = "incident.review";

async function failureOf(call: Promise<unknown>): Promise<{ reason: string; fields: string[] }> {
  const error = ConnectError.from(
    await call.then(
      () => assert.fail("the call succeeded"),
      (thrown: unknown) => thrown,
    ),
  );
  return {
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason ?? error.rawMessage,
    fields: error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations.map(({ field }) => field)),
  };
}
const reasonOf = async (call: Promise<unknown>) => (await failureOf(call)).reason;
const requestId = () => randomUUID();

async function append(...events: ReturnType<typeof makeEvent>[]): Promise<number[]> {
  const { indexes } = await (await audit.peer("auth"))(IngestService).appendEvents({ events });
  return indexes.map(Number);
}

async function openIncident(fields: { drill?: boolean; detectedAtMs?: number } = {}): Promise<Incident> {
  const { incident } = await incidents().openIncident({
    requestId: requestId(),
    kind: IncidentKind.LEAK,
    summary: "an export reached a stranger",
    drill: fields.drill ?? false,
    ...(fields.detectedAtMs === undefined ? {} : { detectTime: timestampFromMs(fields.detectedAtMs) }),
  });
  assert.ok(incident);
  return incident;
}

const parts = () => ({
  occurTime: timestampFromMs(clock.nowMs() - 5 * MINUTE_MS),
  scope: "one application",
  harm: "twelve accounts",
  measures: "its client was suspended",
  rectification: "keys are replaced by Friday",
});

const submit = (incidentId: string) => incidents().submitReport({ requestId: requestId(), incidentId, parts: parts() });
const read = async ({ incidentId }: Incident): Promise<Incident> => {
  const { incident } = await incidents().getIncident({ incidentId });
  assert.ok(incident);
  return incident;
};
/** What the log holds of an incident, the oldest first. */
async function recordedTypes(type: string): Promise<number> {
  const { entries } = await audit
    .client(LogService, officer)
    .listEntries({ purpose: PURPOSE, filter: { case: "type", value: type } });
  return entries.length;
}

const publicMethods: string[] = [];
for (const each of accessCases([IncidentService, CaseService], { publicMethods })) {
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

describe("incidents", () => {
  test("SU-7.3.3 an incident escalates at 60, 90 and 110 minutes, and at 120:00, not at 119:59, its deadline is missed", async () => {
    const opened = await openIncident();
    assert.equal(timestampMs(opened.deadline ?? timestampFromMs(0)), clock.nowMs() + 120 * MINUTE_MS);
    const steps = [
      [60 * MINUTE_MS - 1_000, 0],
      [1_000, 1],
      [30 * MINUTE_MS - 1, 1],
      [1, 2],
      [20 * MINUTE_MS, 3],
      [10 * MINUTE_MS - 1_000, 3],
      [1_000, 4],
    ] as const;
    for (const [advanceMs, level] of steps) {
      clock.advance(advanceMs);
      await audit.server.perform();
      const { escalation, overdue } = await read(opened);
      assert.deepEqual([escalation, overdue], [level, level === 4]);
    }
    await until(async () => (await recordedTypes("incident.escalated")) === 3, "three levels are in the log");
    await until(async () => (await recordedTypes("incident.deadline-missed")) === 1, "the missed deadline is, too");
    const metrics = await (await fetch(`http://127.0.0.1:${audit.server.adminPort}/metrics`)).text();
    assert.match(metrics, /fujie_audit_incident_overdue(\{[^}]*\})? 1\b/);
    assert.match(metrics, /fujie_audit_incident_remaining_seconds(\{[^}]*\})? 0\b/);
    await submit(opened.incidentId);
    await audit.server.perform();
    await audit.server.perform();
    const late = await read(opened);
    assert.equal(late.overdue, true, "a late report stays late");
    assert.equal(delivered.at(-1)?.document["late"], true, "and says so itself");
    assert.equal(late.escalation, 4);
  });

  test("SU-7.3.3 a report delivered at 119:59 is in time, and its delivery is proven by the authority's signature", async () => {
    const opened = await openIncident();
    clock.advance(120 * MINUTE_MS - 1_000);
    const { report } = await submit(opened.incidentId);
    await until(async () => {
      await audit.server.perform();
      return (await read(opened)).reports[0]?.receipt !== undefined;
    }, "the report is delivered");
    const { reports, overdue } = await read(opened);
    assert.equal(overdue, false);
    assert.equal(reports[0]?.receipt?.signed, true);
    const sent = delivered.findLast(({ document }) => document["incidentId"] === opened.incidentId);
    assert.ok(sent && report);
    assert.deepEqual(createHash("sha256").update(sent.bytes).digest(), Buffer.from(report.digest));
    const bundle = loadKeyBundle(audit.log.keys.bundleFile, audit.log.keys.bundleRootFile);
    const bytes = signedBytes("incident-report", sent.bytes);
    assert.ok(bundle.verify({ ...sent, use: "report", service: "audit", bytes }));
    assert.ok(!bundle.verify({ ...sent, use: "report", service: "audit", bytes: signedBytes("release", sent.bytes) }));
    const { entries } = await audit
      .client(LogService, officer)
      .listEntries({ purpose: PURPOSE, filter: { case: "type", value: "incident.report-submitted" } });
    assert.ok(
      entries.some(({ digest }) => Buffer.from(digest).equals(report.digest)),
      "the digest is in the log",
    );
  });

  test("SU-7.3.3 without a signed acknowledgement of this very report nothing counts as delivered; it is tried again", async () => {
    const opened = await openIncident({ drill: true });
    await submit(opened.incidentId);
    for (const answer of ["error", "unsigned", "another"] as const) {
      authorityAnswers = answer;
      await audit.server.perform();
      clock.advance(5 * MINUTE_MS);
      assert.equal((await read(opened)).reports[0]?.receipt, undefined, answer);
    }
    authorityAnswers = "signed";
    await until(async () => {
      await audit.server.perform();
      clock.advance(MINUTE_MS);
      return (await read(opened)).reports[0]?.receipt !== undefined;
    }, "the report is delivered");
    const { attempts } = (await read(opened)).reports[0] ?? {};
    assert.ok((attempts ?? 0) >= 4);
    const sent = delivered.findLast(({ document }) => document["incidentId"] === opened.incidentId);
    assert.deepEqual([sent?.drill, sent?.document["drill"]], [true, true], "a drill is marked as one");
  });

  test("SU-7.3.3 a report that lacks a part is refused by the part's name, and nothing is kept", async () => {
    const { incidentId } = await openIncident();
    for (const part of ["occurTime", "scope", "harm", "measures", "rectification"] as const) {
      const { [part]: _missing, ...rest } = parts();
      const failure = await failureOf(incidents().submitReport({ requestId: requestId(), incidentId, parts: rest }));
      const field = part === "occurTime" ? "parts.occur_time" : `parts.${part}`;
      assert.deepEqual(failure, { reason: "REPORT_INCOMPLETE", fields: [field] });
    }
    const all = await failureOf(incidents().submitReport({ requestId: requestId(), incidentId }));
    assert.equal(all.fields.length, 5);
    const { incident } = await incidents().getIncident({ incidentId });
    assert.equal(incident?.reports.length, 0);
    const amend = incidents().amendReport({ requestId: requestId(), incidentId, reason: "news", parts: { harm: "x" } });
    assert.equal(await reasonOf(amend), "INCIDENT_REPORT_MISSING");
    await submit(incidentId);
    assert.equal(await reasonOf(submit(incidentId)), "INCIDENT_REPORT_EXISTS");
    const silent = incidents().amendReport({ requestId: requestId(), incidentId, parts: { harm: "x" } });
    assert.deepEqual(await failureOf(silent), { reason: "REPORT_INCOMPLETE", fields: ["reason"] });
    await incidents().amendReport({
      requestId: requestId(),
      incidentId,
      reason: "counted again",
      parts: { harm: "13" },
    });
    const { incident: amended } = await incidents().getIncident({ incidentId });
    assert.deepEqual(
      amended?.reports.map(({ revision }) => revision),
      [1, 2],
    );
    assert.match(Buffer.from(amended?.reports[0]?.document ?? []).toString(), /twelve accounts/, "what was said stays");
  });

  test("SU-7.3.3 nothing is back-dated: the future is refused, an earlier detection stands beside the time of opening", async () => {
    const request = { requestId: requestId(), kind: IncidentKind.OTHER, summary: "x" };
    const future = incidents().openIncident({ ...request, detectTime: timestampFromMs(clock.nowMs() + 1) });
    assert.deepEqual(await failureOf(future), { reason: "INCIDENT_TIME_INVALID", fields: ["detect_time"] });
    const late = await openIncident({ detectedAtMs: clock.nowMs() - 3 * 60 * MINUTE_MS });
    assert.equal(late.overdue, true, "opened after its deadline: told, not hidden");
    assert.equal(timestampMs(late.openTime ?? timestampFromMs(0)), clock.nowMs());
    const unborn = { ...parts(), occurTime: timestampFromMs(clock.nowMs() + 1) };
    const { incidentId } = late;
    const reason = await reasonOf(incidents().submitReport({ requestId: requestId(), incidentId, parts: unborn }));
    assert.equal(reason, "INCIDENT_TIME_INVALID");
    assert.equal(await reasonOf(incidents().getIncident({ incidentId: randomUUID() })), "INCIDENT_NOT_FOUND");
  });

  test("SU-7.3.3 no incident, report, receipt or piece of evidence can be changed or removed, not even by a superuser's statement", async () => {
    const tables = ["incident", "incident_escalation", "incident_report", "incident_receipt", "incident_evidence"];
    const superuser = audit.log.superuser();
    for (const table of [...tables, "assistance_case", "case_decision", "case_release", "analysis_report"]) {
      for (const db of [superuser, audit.log.db]) {
        await assert.rejects(db.query(`DELETE FROM audit.${table}`), /written once|permission denied/, table);
        await assert.rejects(db.query(`TRUNCATE audit.${table} CASCADE`), /written once|permission denied/, table);
      }
    }
    await assert.rejects(superuser.query("UPDATE audit.incident SET detected_at_ms = 0"), /written once/);
    await assert.rejects(superuser.query("UPDATE audit.incident_report SET submitted_at_ms = 0"), /written once/);
    const backDated = `INSERT INTO audit.incident_report
      SELECT incident_id, revision + 7, 0, submitted_by, digest, document_sealed, key_id, signature
      FROM audit.incident_report LIMIT 1`;
    await assert.rejects(audit.log.db.query(backDated), /an amendment follows/);
  });

  test("SU-7.3.3 frozen evidence verifies entry by entry with public keys alone, and its digest is in the log", async () => {
    const opened = await openIncident();
    const { incidentId } = opened;
    const [named = -1] = await append(makeEvent({ actor: "intruder", subject: "victim-1", details: { a: "1" } }));
    await append(makeEvent({ actor: "intruder", subject: "victim-2" }), makeEvent({ actor: "somebody" }));
    const query = { by: { case: "actor", value: "intruder" } } as const;
    const freeze = (what: object) => incidents().freezeEvidence({ requestId: requestId(), incidentId, ...what });
    const { evidence } = await freeze({ indexes: [BigInt(named)], query });
    assert.equal(evidence?.entries, 2);
    const { bundle } = await incidents().getEvidence({ evidenceId: evidence?.evidenceId ?? "", purpose: PURPOSE });
    assert.deepEqual(createHash("sha256").update(bundle).digest(), Buffer.from(evidence?.digest ?? []));
    const verify = entryVerifier({
      bundleFile: audit.log.keys.bundleFile,
      bundleRootFile: audit.log.keys.bundleRootFile,
    });
    const { entries } = JSON.parse(Buffer.from(bundle).toString());
    for (const entry of entries) assert.ok(verify(entry).ok);
    assert.ok(!verify({ ...entries[0], salt: entries[1].salt }).ok);
    assert.equal(await reasonOf(freeze({})), "EVIDENCE_EMPTY");
    assert.equal(await reasonOf(freeze({ indexes: [99_000_000n] })), "ENTRY_NOT_FOUND");
    const nobody = { query: { by: { case: "actor", value: "nobody at all" } } } as const;
    assert.equal(await reasonOf(freeze(nobody)), "EVIDENCE_EMPTY");
    const blind = incidents().getEvidence({ evidenceId: evidence?.evidenceId ?? "", purpose: " " });
    assert.equal(await reasonOf(blind), "PURPOSE_REQUIRED");
    await submit(incidentId);
    const { reports } = await read(opened);
    const document = JSON.parse(Buffer.from(reports[0]?.document ?? []).toString());
    assert.deepEqual(document.evidence, [Buffer.from(evidence?.digest ?? []).toString("hex")]);
  });

  test("SU-7.3.3 the blast radius names the subjects, applications and sources that an actor touched in a time range", async () => {
    const { incidentId } = await openIncident();
    const nowMs = clock.nowMs();
    const decided = { type: "verification.decided", actor: "trust-gateway", traceId: "ab".repeat(16) };
    const at = (ms: number, fields: object) => makeEvent({ actor: "spy", ...fields, time: timestampFromMs(ms) });
    await append(
      at(nowMs - 1_000, { subject: "a", applicationId: "app-1" }),
      at(nowMs - 2_000, { subject: "b", applicationId: "app-2" }),
      at(nowMs - DAY_MS, { subject: "c", applicationId: "app-3" }),
      at(nowMs, { ...decided, subject: "a", details: { evidence: "population-base:1 partner:2" } }),
    );
    const ask = (query: object, purpose = PURPOSE) => incidents().getBlastRadius({ incidentId, purpose, query });
    const range = { startTime: timestampFromMs(nowMs - 10_000) };
    const radius = await ask({ by: { case: "actor", value: "spy" }, ...range });
    assert.deepEqual(
      [radius.subjects, radius.applications],
      [
        ["a", "b"],
        ["app-1", "app-2"],
      ],
    );
    assert.deepEqual([radius.entries, radius.subjectCount, radius.truncated], [2n, 2n, false]);
    const traced = await ask({ by: { case: "traceId", value: "ab".repeat(16) } });
    assert.deepEqual(traced.sources, ["partner", "population-base"]);
    assert.equal(await reasonOf(ask({ by: { case: "actor", value: "spy" } }, "")), "PURPOSE_REQUIRED");
  });
});

test("NI-16 an evidence pack of an application verifies entry by entry, and states its purpose", async () => {
  const [first = -1, second = -1] = await append(
    makeEvent({ applicationId: "fund" }),
    makeEvent({ applicationId: "fund" }, Date.now() + 1),
    makeEvent({ applicationId: "another" }),
  );
  const pack = (purpose: string) => incidents().createEvidencePack({ applicationId: "fund", purpose });
  assert.equal(await reasonOf(pack("")), "PURPOSE_REQUIRED");
  const { bundle, keyId, signature, nextBeforeIndex } = await pack("data-safety.inquiry");
  const { entries, applicationId } = JSON.parse(Buffer.from(bundle).toString());
  assert.deepEqual([applicationId, entries.map(({ index }: { index: number }) => index)], ["fund", [second, first]]);
  assert.equal(nextBeforeIndex, 0n);
  const bundleFiles = { bundleFile: audit.log.keys.bundleFile, bundleRootFile: audit.log.keys.bundleRootFile };
  const verify = entryVerifier(bundleFiles);
  for (const entry of entries) assert.ok(verify(entry).ok);
  const keys = loadKeyBundle(bundleFiles.bundleFile, bundleFiles.bundleRootFile);
  const bytes = signedBytes("evidence-pack", bundle);
  assert.ok(keys.verify({ keyId, signature, use: "report", service: "audit", bytes }));
  await until(async () => (await recordedTypes("incident.evidence-packed")) >= 2, "both are recorded");
});

describe("assistance cases", () => {
  const document = Buffer.from("%PDF-1.7 letter of request");
  const opening = (fields: object = {}) => ({
    requestId: requestId(),
    authority: "苏州市公安局",
    documentNumber: "2026-117",
    document,
    documentSha256: createHash("sha256").update(document).digest(),
    accounts: ["suspect-1"],
    scopes: [CaseScope.AUTHENTICATION_LOG],
    periodStart: timestampFromMs(clock.nowMs() - 7 * DAY_MS),
    periodEnd: timestampFromMs(clock.nowMs()),
    ...fields,
  });
  async function approvedCase(fields: object = {}): Promise<string> {
    const { case: opened } = await cases().openCase(opening(fields));
    const caseId = opened?.caseId ?? "";
    await cases(approver).decideCase({ caseId, approved: true });
    return caseId;
  }

  test("NI-12 against an approved case the authentication log of its account and period is released, and nothing else", async () => {
    const at = (ageMs: number, fields: object) =>
      makeEvent({ actor: "suspect-1", subject: "suspect-1", ...fields, time: timestampFromMs(clock.nowMs() - ageMs) });
    const released = await append(
      at(DAY_MS, { type: "session.started", details: { method: "pwd" } }),
      at(DAY_MS - 1, { type: "session.ended" }),
    );
    await append(
      at(8 * DAY_MS, { type: "session.started" }),
      at(DAY_MS, { type: "consent.granted" }),
      at(DAY_MS, { type: "session.started", subject: "bystander" }),
    );
    const caseId = await approvedCase();
    const { bundle, keyId, signature, entries, nextAfterIndex } = await cases().releaseLog({
      caseId,
      accountId: "suspect-1",
    });
    assert.deepEqual([entries, nextAfterIndex], [2, 0n]);
    const told = JSON.parse(Buffer.from(bundle).toString());
    assert.deepEqual(told.entries.map(({ index }: { index: number }) => index).sort(), released.sort());
    const keys = loadKeyBundle(audit.log.keys.bundleFile, audit.log.keys.bundleRootFile);
    const bytes = signedBytes("release", bundle);
    assert.ok(keys.verify({ keyId, signature, use: "report", service: "audit", bytes }));
    const verify = entryVerifier({
      bundleFile: audit.log.keys.bundleFile,
      bundleRootFile: audit.log.keys.bundleRootFile,
    });
    for (const entry of told.entries) assert.ok(verify(entry).ok);
    await until(async () => (await recordedTypes("case.log-released")) === 1, "the release is recorded");
    const kept = await cases(approver).getCaseDocument({ caseId });
    assert.deepEqual(Buffer.from(kept.document), document);
  });

  test("NI-12 no document, a forged digest, bulk, and anything but identity and log are each refused, and recorded", async () => {
    const open = (fields: object) => reasonOf(cases().openCase(opening(fields)));
    assert.equal(await open({ document: new Uint8Array() }), "CASE_DOCUMENT_REQUIRED");
    assert.equal(await open({ documentSha256: Buffer.alloc(32) }), "DOCUMENT_DIGEST_MISMATCH");
    assert.equal(await open({ accounts: ["a", "b"] }), "CASE_BULK_REFUSED");
    assert.equal(await open({ accounts: [] }), "CASE_BULK_REFUSED");
    assert.equal(await open({ scopes: [] }), "CASE_SCOPE_REFUSED");
    assert.equal(await open({ scopes: [CaseScope.AUTHENTICATION_LOG, 7] }), "CASE_SCOPE_REFUSED", "other data");
    assert.equal(await open({ periodEnd: undefined }), "FIELD_INVALID");
    await until(async () => (await recordedTypes("case.opened")) >= 5, "the refusals are in the log");
    const { entries } = await audit.client(LogService, officer).listEntries({
      purpose: PURPOSE,
      filter: { case: "type", value: "case.opened" },
      conditions: { outcome: Outcome.REFUSED },
    });
    assert.ok(entries.some(({ reason }) => reason === "CASE_BULK_REFUSED"));
  });

  test("NI-12 nobody decides his own case; what is undecided, refused, expired, or about somebody else, is not told", async () => {
    const both = { sub: officer.sub, scopes: [...officer.scopes, ...approver.scopes] };
    const { case: opened } = await cases().openCase(opening());
    const caseId = opened?.caseId ?? "";
    const release = (id: string, accountId = "suspect-1") => reasonOf(cases().releaseLog({ caseId: id, accountId }));
    assert.equal(await release(caseId), "CASE_NOT_APPROVED");
    assert.equal(await reasonOf(cases(both).decideCase({ caseId, approved: true })), "FOUR_EYES_REQUIRED");
    const own = `INSERT INTO audit.case_decision VALUES ('${caseId}', 0, '${officer.sub}', true)`;
    await assert.rejects(audit.log.db.query(own), /second person/, "nor does the database let him");
    await cases(approver).decideCase({ caseId, approved: false });
    assert.equal(await release(caseId), "CASE_NOT_APPROVED");
    assert.equal(await reasonOf(cases(approver).decideCase({ caseId, approved: true })), "CASE_DECIDED");
    assert.equal(await release(randomUUID()), "CASE_NOT_FOUND");

    const approved = await approvedCase();
    assert.equal(await release(approved, "bystander"), "CASE_SUBJECT_REFUSED");
    const identity = await approvedCase({ scopes: [CaseScope.IDENTITY_BEHIND_NUMBER] });
    assert.equal(await release(identity), "CASE_SCOPE_REFUSED");
    const { case: waiting } = await cases().openCase(opening());
    clock.advance(14 * DAY_MS);
    const tooLate = cases(approver).decideCase({ caseId: waiting?.caseId ?? "", approved: true });
    assert.equal(await reasonOf(tooLate), "CASE_EXPIRED");
    clock.advance(16 * DAY_MS - 1);
    await cases().releaseLog({ caseId: approved, accountId: "suspect-1" });
    clock.advance(1);
    assert.equal(await release(approved), "CASE_EXPIRED");
    const registry = (await audit.peer("registry"))(CaseService);
    assert.equal((await registry.getCase({ caseId: approved })).case?.state, CaseState.EXPIRED);
    const { cases: listed } = await cases(approver).listCases({ pageSize: 2 });
    assert.equal(listed.length, 2);
  });
});
