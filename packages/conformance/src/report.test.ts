import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalJson } from "./canonical-json.ts";
import { contractVersion } from "./contract.ts";
import {
  type CaseReport,
  encodeReport,
  openReport,
  parseSignature,
  REPORT_DOMAIN,
  type Report,
  ReportError,
  signReport,
  testerKeyIdOf,
  verdictOf,
} from "./report.ts";
import { renderReportPage } from "./report-page.ts";
import { suiteCaseIds, suiteCases } from "./suite/index.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const publicKey = createPublicKey(privateKey);
const keyId = testerKeyIdOf(publicKey);
const testers = new Map<string, KeyObject>([[keyId, publicKey]]);

const passed = (id: string): CaseReport => ({
  id,
  title: "Does what it must",
  requirement: "SZ-9",
  result: "PASSED",
  reason: "",
  milliseconds: 3,
  detail: "",
});
const report: Report = {
  formatVersion: 1,
  sourceId: "bank",
  endpoint: "bank.example.cn:8443",
  nonce: "a1".repeat(32),
  contractVersion: contractVersion(),
  testerKeyId: keyId,
  startTime: "2026-03-02T08:00:00.000Z",
  endTime: "2026-03-02T08:00:05.000Z",
  cases: suiteCaseIds.map(passed),
  verdict: "PASSED",
};

/** Signs any bytes with the tester's key, as a tester who lies could. */
function open(bytes: Uint8Array): Report {
  return openReport(bytes, signReport(bytes, privateKey), testers);
}

function refuses(bytes: Uint8Array, problem: RegExp): void {
  assert.throws(
    () => open(bytes),
    (error) => error instanceof ReportError && problem.test(error.message),
  );
}

test("SZ-12 a report that was signed is read as it was written", () => {
  assert.deepEqual(open(encodeReport(report)), report);
  assert.match(report.contractVersion, /^[0-9a-f]{64}$/);
});

test("SZ-12 any changed byte, another signer, another domain and another key type are refused", () => {
  const bytes = encodeReport(report);
  const signature = signReport(bytes, privateKey);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (place, mask) => {
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ mask;
      assert.throws(() => openReport(changed, signature, testers), ReportError);
    }),
    { numRuns: 50 },
  );
  const stranger = generateKeyPairSync("ed25519").privateKey;
  assert.throws(() => openReport(bytes, signReport(bytes, stranger), testers), /unknown tester/);
  assert.throws(() => openReport(bytes, { ...signReport(bytes, stranger), keyId }, testers), /does not fit/);
  const bare = sign(null, bytes, privateKey).toString("base64url");
  assert.throws(() => openReport(bytes, { keyId, signature: bare }, testers), /does not fit/);
  assert.ok(REPORT_DOMAIN.endsWith("\n"));
  const curve = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  assert.throws(() => signReport(bytes, curve), /not Ed25519/);
});

test("SZ-12 a signed report that contradicts itself or is not of the form is refused", () => {
  const failing = report.cases.map((one, i) => (i === 3 ? { ...one, result: "FAILED" as const } : one));
  refuses(encodeReport({ ...report, cases: failing }), /verdict does not follow/);
  refuses(encodeReport({ ...report, cases: [] }), /verdict does not follow/);
  refuses(encodeReport({ ...report, cases: [...report.cases, passed("describe.level")] }), /verdict does not follow/);
  refuses(encodeReport({ ...report, testerKeyId: "0".repeat(16) }), /testerKeyId/);
  refuses(encodeReport({ ...report, formatVersion: 2 }), /formatVersion/);
  for (const nonce of ["short", "A1".repeat(32), "a1".repeat(33), "A".repeat(43)])
    refuses(encodeReport({ ...report, nonce }), /nonce/);
  refuses(encodeReport({ ...report, endpoint: "" }), /endpoint/);
  refuses(Buffer.from(JSON.stringify(report, undefined, 1)), /canonical/);
  refuses(Buffer.from(canonicalJson({ ...JSON.parse(encodeReport(report).toString()), more: 1 })), /more is no known/);
  refuses(Buffer.from("[]"), /not an object/);
  refuses(Buffer.from("{"), /not JSON/);
  refuses(Buffer.alloc(300 * 1024), /too large/);
  assert.throws(() => parseSignature('{"keyId":"0123456789abcdef"}'), /signature is missing/);
});

test("SZ-9 one failed case, one missing case or nothing that passed is not passed", () => {
  const all = suiteCaseIds.map(passed);
  assert.equal(verdictOf(all, suiteCaseIds), "PASSED");
  assert.equal(verdictOf(all.slice(1), suiteCaseIds), "FAILED");
  assert.equal(verdictOf([...all.slice(1), passed("another")], suiteCaseIds), "FAILED");
  const none = all.map((one) => ({ ...one, result: "NOT_APPLICABLE" as const }));
  assert.equal(verdictOf(none, suiteCaseIds), "FAILED");
  fc.assert(
    fc.property(fc.nat(all.length - 1), (place) => {
      const cases = all.map((one, i) => (i === place ? { ...one, result: "FAILED" as const } : one));
      assert.equal(verdictOf(cases, suiteCaseIds), "FAILED");
    }),
    { numRuns: 30 },
  );
});

test("canonical JSON is one text for one value, whatever the order of its keys", () => {
  const value = fc.letrec((tie) => ({
    json: fc.oneof(
      { maxDepth: 3 },
      fc.string({ unit: "grapheme" }),
      fc.integer(),
      fc.boolean(),
      fc.array(tie("json"), { maxLength: 4 }),
      fc.dictionary(fc.string({ maxLength: 4 }), tie("json"), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).json;
  fc.assert(
    fc.property(value, (given) => {
      const text = canonicalJson(given as Parameters<typeof canonicalJson>[0]);
      assert.deepEqual(JSON.parse(text), given);
      assert.equal(canonicalJson(JSON.parse(text)), text);
    }),
    { numRuns: 100 },
  );
  assert.equal(canonicalJson({ b: 1, a: [true, "é\n"] }), '{"a":[true,"é\\n"],"b":1}');
  assert.throws(() => canonicalJson(0.5), RangeError);
  assert.throws(() => canonicalJson("\ud800"), RangeError);
});

test("the report's page escapes every text and loads nothing", () => {
  const evil = '<script>alert("1")</script>&\'';
  const cases = report.cases.map((one) => ({ ...one, detail: evil, title: evil, requirement: evil }));
  const page = renderReportPage({ ...report, cases, sourceId: evil, endpoint: evil });
  assert.doesNotMatch(page, /<script|alert\("|src=|href=|url\(/);
  assert.ok(page.includes("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;"));
  assert.match(page, /default-src 'none'/);
});

test("every case has an id of its own, a title in both languages and a requirement", () => {
  assert.equal(new Set(suiteCaseIds).size, suiteCaseIds.length);
  for (const { id, title, requirement } of suiteCases) {
    assert.match(id, /^[a-z]+\.[a-z0-9-]+$/);
    assert.match(title.zh, /\p{Script=Han}/u, id);
    assert.doesNotMatch(title.en, /\p{Script=Han}/u, id);
    assert.match(requirement, /^(SZ|NI|ICP)-/, id);
  }
});
