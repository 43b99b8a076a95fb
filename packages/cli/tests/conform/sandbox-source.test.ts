// The suite against the sandbox's partner, which answers every claim type and can be steered: nothing is left out.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Report } from "@fujie/conformance";
import { createLocalCa, type IdentityFiles } from "@fujie/kit/tls";
import { type Sandbox, sandboxClient, startSandbox } from "@fujie/sandbox";
import { faceImageOf, NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { conformSource } from "../../src/conform/source.ts";
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

test("SZ-9 SZ-21 the sandbox's partner passes every case: a lost answer is found and billed once", async () => {
  const lines: string[] = [];
  const code = await conformSource(
    [
      `127.0.0.1:${sandbox.grpcPort}`,
      ...["--source-id", "partner", "--peer-name", "sandbox", "--nonce", randomBytes(32).toString("hex")],
      ...["--tls-ca", platform.caFile, "--client-cert", platform.certFile, "--client-key", platform.keyFile],
      ...["--other-client-cert", other.certFile, "--other-client-key", other.keyFile],
      ...["--assertion-key", assertionKey, "--claims", join(dir, "subjects.json")],
      ...["--tester-key", join(dir, "tester/tester.key"), "--report-dir", join(dir, "report")],
      ...["--control", `${sandbox.httpUrl}/control/partner`],
    ],
    (line) => lines.push(line),
  );
  const report = JSON.parse(readFileSync(join(dir, "report/report.json"), "utf8")) as Report;
  const withResult = (result: string) => report.cases.filter((one) => one.result === result);
  assert.deepEqual(withResult("FAILED"), []);
  assert.deepEqual(
    withResult("NOT_APPLICABLE").map(({ id, reason }) => [id, reason]),
    [["limits.quota", "only with --stress"]],
  );
  assert.equal(code, 0, lines.join("\n"));
});
