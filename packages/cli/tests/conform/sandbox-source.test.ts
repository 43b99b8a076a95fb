// The suite against the sandbox's partner, which answers every claim type and can be steered: nothing is left out. Then
// its reports go the whole way, from the registry's nonce through the tool to the gate before a source's traffic.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SourceService, SourceTestKind } from "@fujie/api/fujie/registry/v1/sources";
import { type Report, signReport } from "@fujie/conformance";
import { createLocalCa, type IdentityFiles } from "@fujie/kit/tls";
import { type Sandbox, sandboxClient, startSandbox } from "@fujie/sandbox";
import { faceImageOf, NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { appointStaff, because } from "../../../../services/registry/tests/acts.ts";
import { startWorld, uscc } from "../../../../services/registry/tests/world.ts";
import { UsageError } from "../../src/commands/usage.ts";
import { conformSource } from "../../src/conform/source.ts";
import { submitReport } from "../../src/conform/submit.ts";
import { makeTesterKey } from "../../src/conform/tester-keys.ts";

const dir = mkdtempSync(join(tmpdir(), "fujie-conform-sandbox-"));
const opened = new AsyncDisposableStack();
opened.defer(() => rmSync(dir, { recursive: true, force: true }));
let sandbox: Sandbox;
let platform: IdentityFiles;
let other: IdentityFiles;
let assertionKey: string;

before(async () => {
  makeTesterKey(join(dir, "tester"));
  const ca = await createLocalCa(join(dir, "tls"));
  const tls = await ca.issueService("sandbox");
  [platform, other] = await Promise.all([ca.issueService("trust-gateway"), ca.issueService("registry")]);
  const addresses = { httpAddress: "127.0.0.1:0", grpcAddress: "127.0.0.1:0" };
  sandbox = opened.use(await startSandbox({ ...addresses, dir: join(dir, "sandbox"), tls, sleep: async () => {} }));
  await sandboxClient(sandbox.httpUrl).control("partner", { quotaPerSecond: 1_000 });
  assertionKey = readAssertionKey();
  writeFileSync(join(dir, "subjects.json"), JSON.stringify({ claims: subjects() }));
});
after(() => opened.disposeAsync());

/** The partner's registered key, as "id=file". */
function readAssertionKey(): string {
  const { sources } = JSON.parse(readFileSync(sandbox.sourcesFile, "utf8")) as {
    sources: { id: string; assertionKeys?: { keyId: string; publicKeyPem: string }[] }[];
  };
  const [key] = sources.find(({ id }) => id === "partner")?.assertionKeys ?? [];
  assert.ok(key);
  writeFileSync(join(dir, "partner.pub"), key.publicKeyPem);
  return `${key.keyId}=${join(dir, "partner.pub")}`;
}

function subjects(): readonly object[] {
  const { match, "no-record": none, "minor-under-14": ward } = NAMED_PEOPLE;
  const { match: company, "no-record": noCompany } = NAMED_ORGANISATIONS;
  const person = ({ person: { citizenId, name } }: typeof match) => ({ citizenId, personName: name });
  const organisation = ({ organisation: { uscc, name } }: typeof company) => ({ uscc, organisationName: name });
  const face = (citizenId: string) => Buffer.from(faceImageOf(citizenId)).toString("base64");
  const { phone, bankCard, citizenId, document } = match.person;
  const [otherPhone, otherCard] = [none.person.phone, none.person.bankCard];
  const wardOf = ({ person: { citizenId: wardCitizenId, name: wardName } }: typeof match) => ({
    wardCitizenId,
    wardName,
  });
  // Cards are asked about four times a day at most.
  const claim = (type: string, good: object, bad: object) => ({
    type,
    match: { ...person(match), ...good },
    mismatch: { ...person(match), ...bad },
    noRecord: { ...person(none), ...good, ...("bankCard" in good ? { bankCard: otherCard } : {}) },
  });
  const representative = { citizenId: company.organisation.legalRepresentativeCitizenId };
  return [
    { ...claim("PERSON_TWO_ELEMENT", {}, { personName: none.person.name }) },
    {
      type: "LEGAL_PERSON",
      match: organisation(company),
      mismatch: { ...organisation(company), organisationName: noCompany.organisation.name },
      noRecord: organisation(noCompany),
    },
    {
      type: "LEGAL_REPRESENTATIVE",
      match: { ...organisation(company), ...representative },
      mismatch: { ...organisation(company), citizenId: none.person.citizenId },
      noRecord: { ...organisation(noCompany), ...representative },
    },
    claim("PERSON_CARRIER", { phone }, { phone: otherPhone }),
    claim("PERSON_BANK_CARD", { bankCard }, { bankCard: otherCard }),
    claim("PERSON_BANK_CARD_PHONE", { bankCard, phone }, { bankCard, phone: otherPhone }),
    claim("PERSON_FACE", { faceImage: face(citizenId) }, { faceImage: face(none.person.citizenId) }),
    claim("DOCUMENT_VALIDITY", { documentExpireDate: document.validUntil }, { documentExpireDate: "2031-01-01" }),
    claim("GUARDIAN", wardOf(ward), { ...wardOf(ward), wardName: none.person.name }),
  ];
}

/** Runs the suite over the nonce, the report in a folder of its own. */
async function runTests(nonce: string, reportDir: string): Promise<void> {
  const lines: string[] = [];
  const code = await conformSource(
    [
      `127.0.0.1:${sandbox.grpcPort}`,
      ...["--source-id", "partner", "--peer-name", "sandbox", "--nonce", nonce],
      ...["--tls-ca", platform.caFile, "--client-cert", platform.certFile, "--client-key", platform.keyFile],
      ...["--other-client-cert", other.certFile, "--other-client-key", other.keyFile],
      ...["--assertion-key", assertionKey, "--claims", join(dir, "subjects.json")],
      ...["--tester-key", join(dir, "tester/tester.key"), "--report-dir", reportDir],
      ...["--control", `${sandbox.httpUrl}/control/partner`],
    ],
    (line) => lines.push(line),
  );
  assert.equal(code, 0, lines.join("\n"));
}

test("SZ-9 SZ-12 SZ-21 from the nonce to the gate: the partner passes every case, its signed reports are handed in, and the source is enabled", async () => {
  await using world = await startWorld();
  const { system, security } = await appointStaff(world);
  const registrar = { ...system, scope: "registry.sources.write trust.sources.read" };
  const approver = { ...security, scope: "registry.sources.approve" };
  const sources = world.peer(SourceService);
  const contact = { ownerName: "Partner", ownerUscc: uscc(31), contact: "duty desk" };
  await sources.registerSource({ sourceId: "partner", kind: "partner", ...contact }, world.as(registrar));
  const now = world.time.clock.nowMs();
  const paper = { sourceId: "partner", sha256: Buffer.alloc(32, 7) };
  const term = { startTime: timestampFromMs(now), endTime: timestampFromMs(now + 86_400_000) };
  await sources.fileAgreement({ ...paper, ...term }, world.as(registrar));
  await sources.fileAttestation(paper, world.as(registrar));
  // The file that keygen made, as it is.
  const publicKey = new Uint8Array(readFileSync(join(dir, "tester/tester.pub")));
  const lab = { testerId: "lab", name: "Laboratory", uscc: uscc(32), publicKey };
  await sources.registerTester(lab, world.as(approver));

  const token = join(dir, "token");
  writeFileSync(token, `${world.mintToken(registrar)}\n`);
  const submit = async (folder: string, ...more: readonly string[]) => {
    const said: string[] = [];
    const registry = `http://127.0.0.1:${world.registry.httpPort}/`;
    const args = [
      "--registry",
      registry,
      "--token-file",
      token,
      "--source-id",
      "partner",
      "--tester-id",
      "lab",
      ...more,
    ];
    const code = await submitReport(
      [join(folder, "report.json"), ...args],
      (line) => said.push(line),
      world.time.clock,
    );
    return { code, said: said.join("\n") };
  };
  const lacking = async () => (await sources.getSource({ sourceId: "partner" }, world.as(registrar))).lacking;
  const enable = () => sources.enableSource({ sourceId: "partner" }, world.as(approver));

  const FUNCTION = join(dir, "report-function");
  const begun = await sources.beginSourceTest(
    { sourceId: "partner", kind: SourceTestKind.FUNCTION },
    world.as(registrar),
  );
  await runTests(begun.nonce, FUNCTION);
  const report = JSON.parse(readFileSync(join(FUNCTION, "report.json"), "utf8")) as Report;
  assert.deepEqual(
    report.cases.filter(({ result }) => result !== "PASSED").map(({ id, result, reason }) => [id, result, reason]),
    [["limits.quota", "NOT_APPLICABLE", "only with --stress"]],
  );
  const forged = await submit(FUNCTION, "--sig", signatureOfAnother());
  assert.deepEqual([forged.code, /^REFUSED: SIGNATURE_INVALID/.test(forged.said)], [1, true], forged.said);
  assert.deepEqual(await submit(FUNCTION), { code: 0, said: "PASSED: the registry keeps the report of partner" });
  assert.deepEqual(await lacking(), ["TEST_REPORT_MISSING: SECURITY"]);
  await assert.rejects(enable(), because("TEST_REPORT_MISSING"));
  const again = await submit(FUNCTION);
  assert.deepEqual([again.code, /^REFUSED: TEST_REPORT_INVALID/.test(again.said)], [1, true], "a nonce is used once");

  const SECURITY = join(dir, "report-security");
  const second = await sources.beginSourceTest(
    { sourceId: "partner", kind: SourceTestKind.SECURITY },
    world.as(registrar),
  );
  await runTests(second.nonce, SECURITY);
  assert.equal((await submit(SECURITY, "--valid-days", "30")).code, 0);
  assert.deepEqual(await lacking(), []);
  await enable();

  for (const wrong of [
    ["--valid-days", "0"],
    ["--valid-days", "733"],
    ["--registry", "registry"],
    ["--sig", token],
  ]) {
    await assert.rejects(submit(FUNCTION, ...wrong), UsageError, wrong.join(" "));
  }
});

/** A signature of the right form that is another's. */
function signatureOfAnother(): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  const file = join(dir, "another.sig");
  writeFileSync(file, JSON.stringify(signReport(Buffer.from("{}"), privateKey)));
  return file;
}
