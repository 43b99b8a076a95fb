import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ClaimElements } from "@fujie/identity";
import { systemClock } from "@fujie/kit/clock";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { type Sandbox, type SandboxClient, sandboxClient, startSandbox } from "@fujie/sandbox";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { type Bench, conformanceCases, type Manner } from "../src/sources/conformance.ts";
import { SourcesFileError } from "../src/sources/entry.ts";
import { readSourcesFile } from "../src/sources/file.ts";
import type { Source, SourceKind } from "../src/sources/source.ts";

const stack = new AsyncDisposableStack();
const dir = mkdtempSync(join(tmpdir(), "fujie-sources-"));
let sandbox: Sandbox;
let control: SandboxClient;
const sources = new Map<SourceKind, Source>();

before(async () => {
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const ca = await createLocalCa(join(dir, "tls"));
  const tls = { ...(await ca.issueService("sandbox")), caFile: ca.caFile };
  const folder = join(dir, "sandbox");
  const addresses = { httpAddress: "127.0.0.1:0", grpcAddress: "127.0.0.1:0" };
  sandbox = stack.use(await startSandbox({ ...addresses, dir: folder, tls, sleep: async () => {} }));
  control = sandboxClient(sandbox.httpUrl);
  const identity = stack.use(loadIdentity(await ca.issueService("trust-gateway")));
  for (const entry of readSourcesFile(sandbox.sourcesFile, "sandbox")) {
    if (entry.kind !== "claims") continue;
    sources.set(entry.facts.kind, stack.use(entry.open({ clock: systemClock, identity })));
  }
});
after(() => stack.disposeAsync());

const person = (outcome: "match" | "mismatch" | "no-record"): ClaimElements => {
  const { citizenId, name } = NAMED_PEOPLE[outcome].person;
  return { type: "PERSON_TWO_ELEMENT", citizenId, personName: name };
};
const organisation = (outcome: "match" | "mismatch" | "no-record"): ClaimElements => {
  const { uscc, name } = NAMED_ORGANISATIONS[outcome].organisation;
  return { type: "LEGAL_PERSON", uscc, organisationName: name };
};

function benchOf(kind: SourceKind): Bench {
  const source = sources.get(kind);
  assert.ok(source !== undefined);
  const claimOf = kind === "legal-person-base" ? organisation : person;
  return {
    source,
    claims: { MATCH: claimOf("match"), MISMATCH: claimOf("mismatch"), NO_RECORD: claimOf("no-record") },
    newCheck: (claim) => ({
      bizSeq: randomBytes(16).toString("hex"),
      nonce: new Uint8Array(randomBytes(32)),
      claim,
      purpose: "conformance",
      askedAtMs: systemClock.nowMs(),
    }),
    behave: (manner: Manner) =>
      manner === "over-quota" ? control.control(kind, { quotaPerSecond: 1 }) : control.control(kind, { fault: manner }),
    billed: async () => (await control.counters(kind)).billed,
  };
}

for (const kind of ["population-base", "legal-person-base", "partner"] as const) {
  for (const { title, run } of conformanceCases) {
    test(`SZ-9 ${kind}: ${title}`, async () => {
      await control.reset(kind);
      await run(benchOf(kind));
    });
  }
}

test("a legal representative is vouched for only where the base says so itself", async () => {
  await control.reset("legal-person-base");
  const { source, newCheck } = benchOf("legal-person-base");
  const { uscc, name, legalRepresentativeCitizenId } = NAMED_ORGANISATIONS.match.organisation;
  const ask = async (citizenId: string) => {
    const claim = { type: "LEGAL_REPRESENTATIVE", uscc, organisationName: name, citizenId } as const;
    return (await source.check(newCheck(claim), AbortSignal.timeout(5_000))).verdict;
  };
  assert.equal(await ask(legalRepresentativeCitizenId), "MATCH");
  assert.equal(await ask(NAMED_PEOPLE.mismatch.person.citizenId), "MISMATCH");
});

test("the sandbox's sources are refused in production", () => {
  assert.throws(() => readSourcesFile(sandbox.sourcesFile, "production"), {
    message: "sources[0] (population-base): sandbox is true: refused in production",
  });
});

test("whatever is wrong with the sources file is told by entry and field", () => {
  const good = JSON.parse(readFileSync(sandbox.sourcesFile, "utf8")).sources as Record<string, unknown>[];
  const problemWith = (place: number, change: Record<string, unknown>): string => {
    const file = join(dir, "changed.json");
    const changed = good.map((entry, i) => (i === place ? { ...entry, ...change } : entry));
    writeFileSync(file, JSON.stringify({ sources: changed }));
    try {
      readSourcesFile(file, "sandbox");
      return "accepted";
    } catch (error) {
      assert.ok(error instanceof SourcesFileError);
      return error.message;
    }
  };
  const population = "sources[0] (population-base): ";
  assert.equal(problemWith(0, {}), "accepted");
  assert.equal(problemWith(0, { url: undefined }), `${population}url is missing`);
  assert.equal(problemWith(0, { url: "http://base.example.cn" }), `${population}url is not https`);
  assert.equal(problemWith(0, { level: 4 }), `${population}level is not a whole number from 1 to 3`);
  assert.equal(problemWith(0, { kind: "oracle" }), `${population}kind is not one that there is`);
  assert.equal(
    problemWith(0, { claimTypes: ["SHOE_SIZE"] }),
    `${population}claimTypes names an unknown type or one twice`,
  );
  assert.equal(problemWith(0, { secretFile: "/nowhere" }), `${population}secretFile names no file`);
  assert.equal(problemWith(0, { pricefen: 3 }), `${population}pricefen is not a known field`);
  assert.equal(problemWith(0, { id: "partner" }), "sources: the id partner is given twice");
  assert.match(problemWith(2, { assertionKeys: [] }), /^sources\[2\] \(partner\): assertionKeys does not hold/);
  assert.match(
    problemWith(3, { profileFile: sandbox.sourcesFile }),
    /^sources\[3\] \(ca-ecdsa\): profileFile holds no/,
  );
});
