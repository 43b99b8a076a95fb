import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import { ClaimSchema, ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { certificatesFromPem } from "@fujie/certificates";
import type { ClaimElements } from "@fujie/identity";
import { sourceKinds } from "@fujie/identity";
import { systemClock } from "@fujie/kit/clock";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import {
  type CaId,
  type Sandbox,
  type SandboxClient,
  type SourceId,
  sandboxClient,
  startSandbox,
} from "@fujie/sandbox";
import { type IssuedCertificate, signPossession } from "@fujie/sandbox/ca";
import { faceImageOf, NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { possessionChallenge } from "../src/claims/possession.ts";
import { narrowClaim } from "../src/claims/rules.ts";
import { open as openAuthority } from "../src/sources/certificate-authority/adapter.ts";
import { openPossessionSource } from "../src/sources/certificate-authority/source.ts";
import { type Bench, casesFor, type Manner } from "../src/sources/conformance.ts";
import { SourcesFileError } from "../src/sources/entry.ts";
import { readSourcesFile } from "../src/sources/file.ts";
import { type Check, type Source, SourceError, type SourceKind } from "../src/sources/source.ts";

const stack = new AsyncDisposableStack();
const dir = mkdtempSync(join(tmpdir(), "fujie-sources-"));
const APPLICATION = "application-1";
const PATIENCE_MS = 5_000;
let sandbox: Sandbox;
let control: SandboxClient;
/** By their ids in the sandbox. */
const sources = new Map<SourceId, Source>();
/** Somebody has seen newer lists than those at hand: what the CAs say now is needed. */
let listsAreOld = false;
const held = new Map<CaId, IssuedCertificate>();
const { person } = NAMED_PEOPLE.match;
const ward = NAMED_PEOPLE["minor-under-14"].person;

before(async () => {
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const ca = await createLocalCa(join(dir, "tls"));
  const tls = { ...(await ca.issueService("sandbox")), caFile: ca.caFile };
  const folder = join(dir, "sandbox");
  const addresses = { httpAddress: "127.0.0.1:0", grpcAddress: "127.0.0.1:0" };
  sandbox = stack.use(await startSandbox({ ...addresses, dir: folder, tls, sleep: async () => {} }));
  control = sandboxClient(sandbox.httpUrl);
  const identity = stack.use(loadIdentity(await ca.issueService("trust-gateway")));
  const context = { clock: systemClock, identity, allowFictional: true };
  const crlNumbers = {
    read: async (issuers: readonly string[]) => new Map(listsAreOld ? issuers.map((each) => [each, 10n ** 12n]) : []),
    raise: async () => {},
  };
  for (const entry of readSourcesFile(sandbox.sourcesFile, "sandbox")) {
    const { facts } = entry;
    if (entry.kind === "claims") sources.set(idOf(facts.id), stack.use(entry.open(context)));
    else {
      const authority = openAuthority(facts, entry.settings, {
        ...context,
        timeoutMs: 1_000,
        allowHosts: [],
        crlNumbers,
      });
      sources.set(idOf(facts.id), stack.use(openPossessionSource(facts, authority, { ...context, crlNumbers })));
    }
  }
  for (const caId of caIds) held.set(caId, await issue(caId));
});
after(() => stack.disposeAsync());

const caIds = ["ca-ecdsa", "ca-sm2"] as const;
const sourceIds = [
  "population-base",
  "legal-person-base",
  "carrier",
  "bank",
  "biometric",
  "partner",
  ...caIds,
] as const;

function idOf(text: string): SourceId {
  const id = sourceIds.find((each) => each === text);
  assert.ok(id !== undefined, text);
  return id;
}

const issue = (caId: CaId) =>
  control.issueCertificate(caId, { kind: "person", name: person.name, identifier: person.citizenId, days: 30 });

/** A claim of possession as an application would send it: `change` alters what is claimed, `sign` with what it is signed. */
function possession(
  caId: CaId,
  change: { citizenId?: string; keyPem?: string; format?: "raw" | "pkcs7"; application?: string } = {},
): ClaimElements {
  const { certPem, chainPem, keyPem } = held.get(caId) ?? assert.fail();
  const { citizenId = person.citizenId, format = "raw" } = change;
  const nowMs = systemClock.nowMs();
  const nonce = randomBytes(16);
  const bytes = Buffer.from(possessionChallenge(change.application ?? APPLICATION, nonce.toString("hex"), nowMs));
  const kind = caId === "ca-sm2" ? "sm2" : "ecdsa";
  const signature = signPossession({ keyPem: change.keyPem ?? keyPem, kind, bytes, format, certPem });
  const proof = {
    certificates: certificatesFromPem(chainPem).map((der) => Uint8Array.from(der)),
    signature: Uint8Array.from(signature),
    format: format === "raw" ? SignatureFormat.RAW : SignatureFormat.PKCS7,
  };
  const claim = create(ClaimSchema, {
    type: ClaimType.CERTIFICATE_POSSESSION,
    citizenId,
    possession: { nonce: Uint8Array.from(nonce), challengeTime: timestampFromMs(nowMs), proof },
  });
  return narrowClaim(claim, { nowMs, allowFictional: true, applicationId: APPLICATION });
}

type Outcome = "match" | "mismatch" | "no-record";

/** What each kind is asked in the suite, about whom it answers so. */
const claimOf: Readonly<Record<Exclude<SourceKind, "ca">, (outcome: Outcome) => ClaimElements>> = {
  "population-base": (outcome) => ({ type: "PERSON_TWO_ELEMENT", ...named(outcome) }),
  "legal-person-base": (outcome) => {
    const { uscc, name } = NAMED_ORGANISATIONS[outcome].organisation;
    return { type: "LEGAL_PERSON", uscc, organisationName: name };
  },
  carrier: (outcome) => {
    const { phone } = outcome === "mismatch" ? ward : NAMED_PEOPLE[outcome].person;
    return { type: "PERSON_CARRIER", ...named(outcome === "mismatch" ? "match" : outcome), phone };
  },
  bank: (outcome) => {
    const { bankCard, phone } = outcome === "mismatch" ? ward : NAMED_PEOPLE[outcome].person;
    return { type: "PERSON_BANK_CARD_PHONE", ...named(outcome === "mismatch" ? "match" : outcome), bankCard, phone };
  },
  biometric: (outcome) => {
    const whose = outcome === "mismatch" ? ward : NAMED_PEOPLE[outcome].person;
    const who = named(outcome === "mismatch" ? "match" : outcome);
    return { type: "PERSON_FACE", ...who, faceImage: face(whose.citizenId) };
  },
  partner: (outcome) => ({ type: "PERSON_TWO_ELEMENT", ...named(outcome) }),
};

function named(outcome: Outcome) {
  const { citizenId, name } = NAMED_PEOPLE[outcome].person;
  return { citizenId, personName: name };
}
const face = (citizenId: string, likeness?: number) => Buffer.from(faceImageOf(citizenId, likeness)).toString("base64");

const newCheck = (claim: ClaimElements): Check => ({
  bizSeq: randomBytes(16).toString("hex"),
  nonce: new Uint8Array(randomBytes(32)),
  claim,
  purpose: "conformance",
  askedAtMs: systemClock.nowMs(),
});

function sourceOf(id: SourceId): Source {
  return sources.get(id) ?? assert.fail(id);
}

function benchOf(id: SourceId): Bench {
  const source = sourceOf(id);
  const { kind } = source;
  const claims =
    kind === "ca"
      ? { MATCH: possession(caOf(id)), MISMATCH: possession(caOf(id), { citizenId: ward.citizenId }) }
      : { MATCH: claimOf[kind]("match"), MISMATCH: claimOf[kind]("mismatch"), NO_RECORD: claimOf[kind]("no-record") };
  return {
    source,
    claims,
    newCheck,
    behave: async (manner: Manner) => {
      listsAreOld = manner !== "none";
      await (manner === "over-quota"
        ? control.control(id, { quotaPerSecond: 1 })
        : control.control(id, { fault: manner }));
    },
    billed: async () => (await control.counters(id)).billed,
  };
}

function caOf(id: SourceId): CaId {
  return id === "ca-sm2" ? id : "ca-ecdsa";
}

for (const id of sourceIds) {
  const kind = caIds.some((each) => each === id) ? "ca" : id;
  for (const { title, run } of casesFor(kindOf(kind))) {
    test(`SZ-9 ${id}: ${title}`, async () => {
      await control.reset(id);
      listsAreOld = false;
      await run(benchOf(id));
    });
  }
}

function kindOf(text: string): SourceKind {
  const kinds: readonly SourceKind[] = [
    "population-base",
    "legal-person-base",
    "carrier",
    "bank",
    "biometric",
    "partner",
    "ca",
  ];
  return kinds.find((each) => each === text) ?? assert.fail(text);
}

test("every kind of source that there is passes the suite", () => {
  assert.deepEqual(new Set([...sources.values()].map(({ kind }) => kind)), new Set(sourceKinds));
});

const ask = (id: SourceId, claim: ClaimElements, more: Partial<Check> = {}) =>
  sourceOf(id).check({ ...newCheck(claim), ...more }, AbortSignal.timeout(PATIENCE_MS));
const verdict = async (id: SourceId, claim: ClaimElements) => (await ask(id, claim)).verdict;
async function faultOf(asked: Promise<unknown>): Promise<string> {
  return asked.then(
    () => "answered",
    (error: unknown) => (error instanceof SourceError ? error.fault : String(error)),
  );
}

test("NI-28c, NI-28d a card is asked about with and without its number, four times in 24 hours at the bank", async () => {
  await control.reset("bank");
  const { citizenId, name: personName, bankCard, phone } = person;
  const three = { type: "PERSON_BANK_CARD", citizenId, personName, bankCard } as const;
  assert.equal(await verdict("bank", three), "MATCH");
  const four = { ...three, type: "PERSON_BANK_CARD_PHONE", phone } as const;
  assert.equal(await verdict("bank", { ...four, phone: ward.phone }), "MISMATCH");
  assert.deepEqual([await verdict("bank", four), await verdict("bank", four)], ["MATCH", "MATCH"]);
  assert.equal(await faultOf(ask("bank", four)), "LIMITED");
  assert.equal((await control.counters("bank")).billed, 4);
});

test("NI-28e a face is a match where the source says so and the policy's threshold is reached, never upward", async () => {
  const { citizenId, name: personName } = person;
  const claim = (likeness?: number) =>
    ({ type: "PERSON_FACE", citizenId, personName, faceImage: face(citizenId, likeness) }) as const;
  for (const id of ["biometric", "partner"] as const) {
    await control.reset(id);
    const judged = async (likeness: number, faceThreshold?: number) => {
      const threshold = faceThreshold === undefined ? {} : { faceThreshold };
      const { verdict: found, similarity } = await ask(id, claim(likeness), threshold);
      return [found, similarity];
    };
    assert.deepEqual(await judged(800), ["MATCH", 800]);
    assert.deepEqual(await judged(800, 800), ["MATCH", 800]);
    assert.deepEqual(await judged(800, 801), ["MISMATCH", 800]);
    assert.deepEqual(await judged(640, 1), ["MISMATCH", 640], id);
  }
  const noPhoto = { type: "PERSON_FACE", citizenId: ward.citizenId, personName: ward.name } as const;
  assert.equal(await verdict("biometric", { ...noPhoto, faceImage: face(ward.citizenId) }), "NO_RECORD");
});

test("NI-3, NI-15 a base and a partner know documents and guardians", async () => {
  const document = (outcome: keyof typeof NAMED_PEOPLE, documentExpireDate = "2044-05-06") => {
    const { citizenId, name: personName } = NAMED_PEOPLE[outcome].person;
    return { type: "DOCUMENT_VALIDITY", citizenId, personName, documentExpireDate } as const;
  };
  const { citizenId, name: personName } = person;
  const guardian = {
    type: "GUARDIAN",
    citizenId,
    personName,
    wardCitizenId: ward.citizenId,
    wardName: ward.name,
  } as const;
  for (const id of ["population-base", "partner"] as const) {
    await control.reset(id);
    assert.equal(await verdict(id, document("match")), "MATCH");
    for (const outcome of ["lost-document", "cancelled-document", "mismatch"] as const) {
      assert.equal(await verdict(id, document(outcome)), "MISMATCH", outcome);
    }
    assert.equal(await verdict(id, document("expired-document", "2014-05-06")), "MISMATCH");
    assert.equal(await verdict(id, document("no-record")), "NO_RECORD");
    assert.equal(await verdict(id, guardian), "MATCH");
    const { citizenId: other, name } = NAMED_PEOPLE["lost-document"].person;
    assert.equal(await verdict(id, { ...guardian, citizenId: other, personName: name }), "MISMATCH");
  }
});

test("SZ-9 a partner answers every type of claim that the contract has", async () => {
  await control.reset("partner");
  const { phone, bankCard } = person;
  assert.equal(sourceOf("partner").claimTypes.length, 9);
  assert.equal(await verdict("partner", { type: "PERSON_CARRIER", ...named("match"), phone }), "MATCH");
  assert.equal(await verdict("partner", { type: "PERSON_BANK_CARD", ...named("match"), bankCard }), "MATCH");
  assert.equal(
    await verdict("partner", { type: "PERSON_BANK_CARD_PHONE", ...named("match"), bankCard, phone }),
    "MATCH",
  );
});

test("a name that an old base may hold under private-use characters is a possible variant, and what it cost is told", async () => {
  const { citizenId, name } = NAMED_PEOPLE["name-variant"].person;
  const variant = { type: "PERSON_TWO_ELEMENT", citizenId, personName: name } as const;
  await control.reset("population-base");
  const check = newCheck(variant);
  const source = sourceOf("population-base");
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const found = await source.check(check, signal);
  assert.deepEqual([found.verdict, found.variant, found.billed], ["MATCH", true, 2]);
  assert.deepEqual(await source.findOutcome(check, signal), found);
  assert.deepEqual(await source.check(check, signal), found);
  assert.equal((await control.counters("population-base")).billed, 2);

  // Another's name is another's, under every spelling.
  const wrong = await ask("population-base", { ...variant, citizenId: person.citizenId });
  assert.deepEqual([wrong.verdict, wrong.variant, wrong.billed], ["MISMATCH", undefined, 2]);
  assert.equal((await ask("population-base", { type: "PERSON_TWO_ELEMENT", ...named("mismatch") })).billed, undefined);

  // The answer about the other spelling is lost: the whole is unknown, sent again, and billed once.
  await control.reset("population-base");
  const asked = newCheck(variant);
  await control.control("population-base", { fault: "drop" });
  assert.equal(await faultOf(source.check(asked, signal)), "UNKNOWN");
  await control.control("population-base", { fault: "none" });
  assert.equal(await source.findOutcome(asked, signal), undefined);
  assert.deepEqual((await source.check(asked, signal)).billed, 2);
  assert.equal((await control.counters("population-base")).billed, 2);
});

test("NI-15 the names of guardian and ward are tried under their other spellings, the ward's as well as the guardian's", async () => {
  const { person: rare } = NAMED_PEOPLE["name-variant"];
  const guardian = { type: "GUARDIAN", citizenId: person.citizenId, personName: person.name } as const;
  const claim = { ...guardian, wardCitizenId: rare.citizenId, wardName: rare.name };
  await control.reset("population-base");
  const check = newCheck(claim);
  const found = await ask("population-base", claim, check);
  assert.deepEqual([found.verdict, found.variant, found.billed], ["MATCH", true, 2]);
  assert.deepEqual(await sourceOf("population-base").findOutcome(check, AbortSignal.timeout(PATIENCE_MS)), found);
  assert.equal((await control.counters("population-base")).billed, 2);
  // A stranger is nobody's guardian under any spelling: his name's, the ward's, both.
  const strangers = await ask("population-base", { ...claim, citizenId: rare.citizenId, personName: rare.name });
  assert.deepEqual([strangers.verdict, strangers.variant, strangers.billed], ["MISMATCH", undefined, 4]);
});

test("NI-35 a CA answers for its own certificates: another holder's, key's or application's signature is a mismatch", async () => {
  for (const caId of caIds) {
    listsAreOld = false;
    await control.reset(caId);
    const other = await issue(caId);
    assert.equal(await verdict(caId, possession(caId, { format: "pkcs7" })), "MATCH");
    assert.equal(await verdict(caId, possession(caId, { keyPem: other.keyPem })), "MISMATCH");
    assert.equal(await verdict(caId, possession(caId, { application: "application-2" })), "MISMATCH");
    const elsewhere = caId === "ca-sm2" ? "ca-ecdsa" : "ca-sm2";
    assert.equal(await faultOf(ask(elsewhere, possession(caId))), "REFUSED");
    // Its state cannot be learned: it is away, and nothing is said of the holder.
    for (const fault of ["error", "drop"] as const) {
      await control.control(caId, { fault });
      listsAreOld = true;
      assert.equal(await faultOf(ask(caId, possession(caId))), "AWAY", fault);
    }
    listsAreOld = false;
    await control.reset(caId);
    held.set(caId, other);
    assert.equal(await verdict(caId, possession(caId)), "MATCH");
    await control.revoke(caId, other.serial, "keyCompromise");
    assert.equal(await verdict(caId, possession(caId)), "MISMATCH");
    held.set(caId, await issue(caId));
  }
});

test("a legal representative is vouched for only where the base says so itself", async () => {
  await control.reset("legal-person-base");
  const { uscc, name, legalRepresentativeCitizenId } = NAMED_ORGANISATIONS.match.organisation;
  const claim = { type: "LEGAL_REPRESENTATIVE", uscc, organisationName: name } as const;
  const representedBy = (citizenId: string) => verdict("legal-person-base", { ...claim, citizenId });
  assert.equal(await representedBy(legalRepresentativeCitizenId), "MATCH");
  assert.equal(await representedBy(NAMED_PEOPLE.mismatch.person.citizenId), "MISMATCH");
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
  assert.equal(problemWith(0, { urls: undefined }), `${population}url is missing`);
  assert.equal(problemWith(0, { urls: [] }), `${population}urls does not hold 1 to 16 addresses`);
  assert.equal(problemWith(0, { urls: ["http://base.example.cn"] }), `${population}urls is not https`);
  assert.equal(problemWith(0, { url: sandbox.httpUrl }), `${population}url is not a known field`);
  assert.equal(problemWith(0, { urls: undefined, url: "http://base.example.cn" }), `${population}url is not https`);
  assert.equal(problemWith(0, { level: 4 }), `${population}level is not a whole number from 1 to 3`);
  assert.equal(problemWith(0, { kind: "oracle" }), `${population}kind is not one that there is`);
  assert.equal(
    problemWith(0, { claimTypes: ["SHOE_SIZE"] }),
    `${population}claimTypes names an unknown type or one twice`,
  );
  assert.equal(
    problemWith(0, { claimTypes: ["CERTIFICATE_POSSESSION"] }),
    `${population}claimTypes names a type that this kind does not answer`,
  );
  assert.equal(problemWith(3, { claimTypes: [] }), "accepted");
  assert.equal(problemWith(0, { secretFile: "/nowhere" }), `${population}secretFile names no file`);
  assert.equal(problemWith(0, { pricefen: 3 }), `${population}pricefen is not a known field`);
  assert.equal(problemWith(0, { id: "partner" }), "sources: the id partner is given twice");
  assert.match(problemWith(2, { assertionKeys: [] }), /^sources\[2\] \(partner\): assertionKeys does not hold/);
  assert.match(
    problemWith(3, { profileFile: sandbox.sourcesFile }),
    /^sources\[3\] \(ca-ecdsa\): profileFile holds no/,
  );
});
