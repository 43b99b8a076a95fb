// The suite against a second implementation of the contract, written in python3 from the access specification alone,
// and against versions of it that are wrong in one thing each.
import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Report, suiteCaseIds } from "@fujie/conformance";
import { systemClock } from "@fujie/kit/clock";
import { createLocalCa, type IdentityFiles, loadIdentity } from "@fujie/kit/tls";
import { readSourcesFile } from "../../../../services/trust-gateway/src/sources/file.ts";
import { type Source, SourceError } from "../../../../services/trust-gateway/src/sources/source.ts";
import { checkReport } from "../../src/conform/check.ts";
import { conformSource } from "../../src/conform/source.ts";
import { makeTesterKey } from "../../src/conform/tester-keys.ts";
import { EXAMPLE, generateStubs, type PythonProgram, startPython } from "./python-source.ts";

const dir = mkdtempSync(join(tmpdir(), "fujie-conform-"));
const opened = new AsyncDisposableStack();
opened.defer(() => rmSync(dir, { recursive: true, force: true }));
const stubs = join(dir, "stubs");
const keyPem = join(dir, "assertion.pub");
const settingsFile = join(dir, "settings.json");
let platform: IdentityFiles;
let other: IdentityFiles;
let good: PythonProgram;
let goodPort: number;
let settings: Record<string, unknown>;

before(async () => {
  makeTesterKey(join(dir, "tester"));
  const ca = await createLocalCa(join(dir, "tls"));
  const [tls] = await Promise.all([ca.issueService("bank"), generateStubs(stubs)]);
  [platform, other] = await Promise.all([ca.issueService("trust-gateway"), ca.issueService("registry")]);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyFile = join(dir, "assertion.key");
  writeFileSync(keyFile, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(keyPem, publicKey.export({ type: "spki", format: "pem" }));
  settings = {
    listen: "127.0.0.1:0",
    sourceId: "bank",
    level: 2,
    ratePerSecond: 100,
    usualLatencyMs: 20,
    maintenance: [{ startTime: "2099-01-01T00:00:00Z", endTime: "2099-01-01T02:00:00Z" }],
    tls,
    platformCertFile: platform.certFile,
    assertionKey: { keyId: "key-1", file: keyFile },
    database: join(dir, "answers.sqlite"),
    records: join(EXAMPLE, "records.json"),
  };
  writeFileSync(settingsFile, JSON.stringify(settings));
  good = opened.use(await startPython(stubs, [join(EXAMPLE, "server.py"), "--settings", settingsFile]));
  goodPort = portIn(good);
});
after(() => opened.disposeAsync());

function portIn({ line }: PythonProgram): number {
  return Number(/port (\d+)/.exec(line)?.[1]);
}

interface Run {
  readonly code: number;
  readonly report: Report;
  readonly lines: readonly string[];
  readonly folder: string;
}

async function conform(name: string, port: number, claims: string, more: readonly string[] = []): Promise<Run> {
  const folder = join(dir, "reports", name);
  const lines: string[] = [];
  const code = await conformSource(
    [
      `127.0.0.1:${port}`,
      ...["--source-id", "bank", "--nonce", randomBytes(32).toString("hex")],
      ...["--tls-ca", platform.caFile, "--client-cert", platform.certFile, "--client-key", platform.keyFile],
      ...["--other-client-cert", other.certFile, "--other-client-key", other.keyFile],
      ...["--assertion-key", `key-1=${keyPem}`, "--claims", claims],
      ...["--tester-key", join(dir, "tester/tester.key"), "--report-dir", folder],
      ...more,
    ],
    (line) => lines.push(line),
  );
  return { code, lines, folder, report: JSON.parse(readFileSync(join(folder, "report.json"), "utf8")) as Report };
}

const idsWith = (report: Report, result: string) =>
  report.cases.filter((one) => one.result === result).map(({ id }) => id);

const check = (folder: string): { code: number; said: string } => {
  const lines: string[] = [];
  const code = checkReport(
    [join(folder, "report.json"), "--tester-keys", join(dir, "tester/tester-keys.json")],
    (line) => lines.push(line),
  );
  return { code, said: lines.join("\n") };
};

test("SZ-9 SZ-12 the source in Python passes the suite, also under stress, and the signed report says so", async () => {
  const { code, report, lines, folder } = await conform("good", goodPort, join(EXAMPLE, "subjects.json"), ["--stress"]);
  assert.equal(code, 0, lines.join("\n"));
  assert.equal(report.verdict, "PASSED");
  assert.deepEqual(
    report.cases.map(({ id }) => id),
    suiteCaseIds,
  );
  // What it does not describe, and what nobody can bring about from outside.
  const absent = ["verdict.person-bank-card", "verdict.person-face", "malformed.face-image", "limits.face-image"];
  const hidden = ["fault.lost-answer", "fault.maintenance", "fault.billing"];
  assert.deepEqual(idsWith(report, "NOT_APPLICABLE").sort(), [...absent, ...hidden].sort());
  assert.ok(report.cases.every(({ result, reason }) => (result === "NOT_APPLICABLE") === (reason !== "")));
  assert.equal(lines.filter((line) => /^ {2}[✓✗–] /.test(line)).length, suiteCaseIds.length);

  const { code: checked, said } = check(folder);
  assert.equal(checked, 0, said);
  assert.match(said, /^GENUINE: signed by the tester [0-9a-f]{16}$/m);
  const html = readFileSync(join(folder, "report.html"), "utf8");
  assert.doesNotMatch(html, /<script|src=|href=/);
  assert.match(html, /lang="zh-CN"/);
  for (const id of suiteCaseIds) assert.ok(html.includes(`<code>${id}</code>`), id);
  for (const text of [readFileSync(join(folder, "report.json"), "utf8"), html, lines.join("\n")]) {
    assert.doesNotMatch(text, /440399199003070014|林知行|13800138000/, "a report holds no element");
  }
});

test("SZ-12 a report that was changed by one byte, or signed by somebody else, is not genuine", async () => {
  const folder = join(dir, "reports/good");
  const changed = mkdtempSync(join(dir, "changed-"));
  const text = readFileSync(join(folder, "report.json"), "utf8");
  copyFileSync(join(folder, "report.sig"), join(changed, "report.sig"));
  writeFileSync(join(changed, "report.json"), text.replace('"sourceId":"bank"', '"sourceId":"bang"'));
  assert.deepEqual(check(changed), { code: 1, said: "NOT GENUINE: the signature does not fit the report" });
  makeTesterKey(join(dir, "stranger"));
  const lines: string[] = [];
  const keys = join(dir, "stranger/tester-keys.json");
  assert.equal(
    checkReport([join(folder, "report.json"), "--tester-keys", keys], (line) => lines.push(line)),
    1,
  );
  assert.deepEqual(lines, ["NOT GENUINE: the report is signed by an unknown tester"]);
});

test("SZ-9 a source that is wrong in one thing fails in the case about it and in no other", async () => {
  const program = await startPython(stubs, [join(import.meta.dirname, "wrong_sources.py"), settingsFile, EXAMPLE]);
  await using _ = program;
  const ports = JSON.parse(program.line) as Record<string, number>;
  const claims = join(dir, "two-types.json");
  const all = JSON.parse(readFileSync(join(EXAMPLE, "subjects.json"), "utf8")) as { claims: { type: string }[] };
  const types = ["PERSON_TWO_ELEMENT", "PERSON_BANK_CARD_PHONE"];
  writeFileSync(claims, JSON.stringify({ claims: all.claims.filter(({ type }) => types.includes(type)) }));
  const expected: Readonly<Record<string, readonly string[]>> = {
    "wrong-nonce": ["assertion.nonce"],
    "high-level": ["assertion.level"],
    "old-clock": ["assertion.time"],
    "half-digest": ["assertion.elements-digest-extended"],
    "der-signature": ["assertion.signature"],
    "other-on-repeat": ["idempotency.repeat"],
    "any-form": ["malformed.citizen-id"],
    talkative: ["privacy.refusals"],
    "any-service": ["transport.other-client-name"],
    "open-door": [
      "transport.no-client-certificate",
      "transport.foreign-client-certificate",
      "transport.other-client-name",
    ],
    "signs-for-each-nonce": ["idempotency.other-nonce"],
    "any-elements": ["idempotency.other-elements"],
    racing: ["idempotency.concurrent"],
    broken: ["idempotency.other-elements"],
  };
  assert.deepEqual(Object.keys(ports), Object.keys(expected));
  const tests = Object.entries(expected).map(async ([name, ids]) => ({
    name,
    ids,
    ...(await conform(name, ports[name] ?? 0, claims)),
  }));
  for (const { name, ids, code, report, folder } of await Promise.all(tests)) {
    assert.equal(code, 1, name);
    assert.equal(report.verdict, "FAILED", name);
    // Whoever signs a repeat anew does so wherever the suite repeats.
    const failed = idsWith(report, "FAILED").filter(
      (one) => name !== "other-on-repeat" || ids.includes(one) || !/^(idempotency|deadline)\./.test(one),
    );
    assert.deepEqual(failed, ids, `${name}: ${JSON.stringify(report.cases.filter((one) => one.result === "FAILED"))}`);
    const { code: checked, said } = check(folder);
    assert.deepEqual([checked, said.endsWith("FAILED")], [1, true], "genuine, and no pass");
  }
});

test("SZ-9 a described claim type without test subjects is left out, and that is no pass", async () => {
  const claims = join(dir, "one-type.json");
  const all = JSON.parse(readFileSync(join(EXAMPLE, "subjects.json"), "utf8")) as { claims: unknown[] };
  writeFileSync(claims, JSON.stringify({ claims: all.claims.slice(0, 1) }));
  const { code, report } = await conform("left-out", goodPort, claims);
  assert.equal(code, 1);
  const left = all.claims.length - 1;
  const failed = report.cases.filter(({ result }) => result === "FAILED");
  assert.equal(failed.filter(({ detail }) => detail.startsWith("left out")).length, left);
});

const asked = newCheck("林知行");

function newCheck(personName: string) {
  return {
    bizSeq: randomBytes(16).toString("hex"),
    nonce: new Uint8Array(randomBytes(32)),
    claim: { type: "PERSON_TWO_ELEMENT", citizenId: "440399199003070014", personName } as const,
    purpose: "conformance",
    askedAtMs: systemClock.nowMs(),
  };
}

const patience = () => AbortSignal.timeout(5_000);

/** The source at that port as the gateway opens it. */
function openByGateway(port: number): { readonly source: Source } & Disposable {
  const sourcesFile = join(dir, "sources.json");
  const entry = {
    id: "bank",
    kind: "partner",
    target: `127.0.0.1:${port}`,
    peerName: "bank",
    clientId: "fujie-trust-gateway",
    assertionKeys: [{ keyId: "key-1", publicKeyPem: readFileSync(keyPem, "utf8") }],
    level: 3,
    claimTypes: ["PERSON_TWO_ELEMENT", "LEGAL_PERSON"],
    priceFen: 80,
    usualLatencyMs: 20,
  };
  writeFileSync(sourcesFile, JSON.stringify({ sources: [entry] }));
  const [ready] = readSourcesFile(sourcesFile, "production");
  assert.ok(ready?.kind === "claims");
  const stack = new DisposableStack();
  const identity = stack.use(loadIdentity(platform, { watchIntervalMs: 0 }));
  const source = stack.use(ready.open({ clock: systemClock, identity, allowFictional: true }));
  return { source, [Symbol.dispose]: () => stack.dispose() };
}

test("SZ-13.2 SZ-11.2 the gateway's partner adapter takes the word of the source in Python", async () => {
  using gateway = openByGateway(goodPort);
  const { source } = gateway;
  const answer = await source.check({ ...asked, askedAtMs: systemClock.nowMs() }, patience());
  assert.deepEqual([answer.verdict, answer.level], ["MATCH", 2], "its own level, below the registered one");
  // The same check with another nonce: the first assertion does not answer it.
  const replayed = { ...asked, nonce: newCheck("林知行").nonce };
  await assert.rejects(source.check(replayed, patience()), /repeats another nonce/);
  assert.equal((await source.check(newCheck("林知远"), patience())).verdict, "MISMATCH");
});

test("SZ-9 the source in Python keeps its answers over a restart, and is away in its maintenance window", async () => {
  await good[Symbol.asyncDispose]();
  const nowMs = systemClock.nowMs();
  const [startTime, endTime] = [nowMs - 60_000, nowMs + 60_000].map((ms) => new Date(ms).toISOString());
  writeFileSync(settingsFile, JSON.stringify({ ...settings, maintenance: [{ startTime, endTime }] }));
  await using again = await startPython(stubs, [join(EXAMPLE, "server.py"), "--settings", settingsFile]);
  using gateway = openByGateway(portIn(again));
  const { source } = gateway;
  assert.equal((await source.findOutcome(asked, patience()))?.verdict, "MATCH");
  assert.equal(await source.findOutcome(newCheck("林知行"), patience()), undefined);
  await assert.rejects(source.check(newCheck("林知行"), patience()), (error) => {
    assert.ok(error instanceof SourceError && error.retryAfterMs !== undefined);
    assert.equal(error.fault, "AWAY");
    return error.retryAfterMs > 30_000 && error.retryAfterMs <= 60_000;
  });
});
