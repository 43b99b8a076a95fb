/** A partner that keeps the contract's wire and not its word: it replays, mislabels and claims more than it offers. */
import assert from "node:assert/strict";
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  AssertionSchema,
  type CheckRequest,
  type SignedAssertion,
  SignedAssertionSchema,
  ClaimType as SourceClaimType,
  TrustSourceService,
  Verdict,
} from "@fujie/api/fujie/source/v1/source";
import { type ClaimSchema, ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { systemClock } from "@fujie/kit/clock";
import { DomainError } from "@fujie/kit/errors";
import { createLogger } from "@fujie/kit/log";
import { handler, startServer } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList } from "@fujie/kit/tokens";
import { NAMED_ORGANISATIONS, personAt } from "@fujie/sandbox/people";
import { digestElements } from "../src/sources/partner/rules.ts";
import { LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };
const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stack = new AsyncDisposableStack();
let world: World;

/** How it answers the next checks. */
const partner = {
  received: [] as CheckRequest[],
  offers: [SourceClaimType.PERSON_TWO_ELEMENT],
  level: 2,
  answer: honestly,
};

type Change = MessageInitShape<typeof AssertionSchema>;

/** An assertion that is all in order, but for the change, under the key that is registered. */
function honestly(request: CheckRequest, change: Change = {}): SignedAssertion {
  const { citizenId = "", personName = "" } = request.elements ?? {};
  const claim = { type: "PERSON_TWO_ELEMENT", citizenId, personName } as const;
  const check = { bizSeq: request.bizSeq, nonce: request.nonce, claim, purpose: request.purpose, askedAtMs: 0 };
  const assertion = toBinary(
    AssertionSchema,
    create(AssertionSchema, {
      sourceId: "partner",
      bizSeq: request.bizSeq,
      audience: request.audience,
      nonce: request.nonce,
      claimType: request.claimType,
      elementsDigest: new Uint8Array(digestElements(check)),
      verdict: Verdict.MATCH,
      level: 2,
      checkTime: timestampFromMs(world.time.clock.nowMs()),
      ...change,
    }),
  );
  const signed = Buffer.concat([Buffer.from("fujie-source-assertion-v1\n"), assertion]);
  const signature = sign("sha256", signed, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return create(SignedAssertionSchema, { assertion, signature: new Uint8Array(signature), keyId: "own" });
}

before(async () => {
  world = stack.use(await startWorld());
  const ca = await createLocalCa(dirname(dirname(world.caFile)));
  const tls = stack.use(loadIdentity({ ...(await ca.issueService("sandbox")), caFile: ca.caFile }));
  const server = stack.use(
    await startServer({
      service: "sandbox",
      environment: "sandbox",
      grpc: { address: LOOPBACK, tls },
      http: { address: LOOPBACK },
      admin: { address: LOOPBACK },
      handlers: [
        handler(TrustSourceService, {
          describe: () => ({ sourceId: "partner", claimTypes: partner.offers, level: partner.level }),
          check: (request) => {
            partner.received.push(request);
            return { assertion: partner.answer(request) };
          },
          getOutcome: ({ bizSeq }) => {
            const request = partner.received.find((each) => each.bizSeq === bizSeq);
            if (request === undefined) throw new DomainError("ENTRY_NOT_FOUND");
            return { assertion: partner.answer(request) };
          },
        }),
      ],
      tokens: { verify: () => Promise.reject(new DomainError("TOKEN_INVALID")) },
      revocations: { ...createRevocationList({ clock: systemClock }), isStale: () => false },
      telemetry: stack.use(startTelemetry({ service: "sandbox", environment: "sandbox", traceRatio: 0 })),
      log: createLogger({ service: "sandbox", level: "error", destination: { write: () => {} } }),
      clock: systemClock,
    }),
  );
  const { sources } = JSON.parse(readFileSync(world.sandbox.sourcesFile, "utf8"));
  const own = {
    target: `127.0.0.1:${server.grpcPort}`,
    assertionKeys: [{ keyId: "own", publicKeyPem: key.publicKey.export({ type: "spki", format: "pem" }) }],
  };
  const file = join(dirname(world.sandbox.sourcesFile), "dishonest.json");
  const edited = sources.map((entry: { id: string }) => (entry.id === "partner" ? { ...entry, ...own } : entry));
  writeFileSync(file, JSON.stringify({ sources: edited }));
  const voices = [{ source: { case: "sourceId", value: "partner" } as const, rank: 1 }];
  const by = (claimType: ClaimType) => ({
    ...{ policyId: `partner-${claimType}`, claimType, startTime: timestampFromMs(1_000), voices, needed: 1 },
  });
  await world.restart({ FUJIE_SOURCES_FILE: file });
  await world.putPolicy({ claimPolicies: [by(ClaimType.PERSON_TWO_ELEMENT), by(ClaimType.LEGAL_PERSON)] });
});
after(() => stack.disposeAsync());
beforeEach(() => {
  partner.answer = honestly;
  world.logged.length = 0;
});

const people = Array.from({ length: 100 }, (_, i) => personAt(i)).values();

async function verify(claim: MessageInitShape<typeof ClaimSchema>) {
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const question = { requestId: randomUUID(), claim, purpose: PURPOSE, ground };
  return (await world.passing(world.verifications.verify(question, world.as()))).verification;
}

/** Each time about somebody else. */
async function verifyPerson() {
  const { citizenId, name } = people.next().value ?? assert.fail();
  return verify({ type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name });
}

async function countRows(of: string): Promise<number | undefined> {
  return (await world.db.query<{ n: number }>(`SELECT count(*)::integer AS n FROM trust.${of}`)).rows[0]?.n;
}

test("SZ-13.2 an assertion that is replayed, or is not of this check, audience and moment, vouches for nobody", async () => {
  assert.equal((await verifyPerson())?.outcome, Outcome.VERIFIED);
  const [first] = partner.received;
  assert.ok(first !== undefined);
  const old = partner.answer(first);
  const nowMs = world.time.clock.nowMs();
  const cases: [problem: string, answer: (request: CheckRequest) => SignedAssertion][] = [
    ["is to another check", () => old],
    ["is to another check", (request) => honestly(request, { bizSeq: first.bizSeq })],
    ["repeats another nonce", (request) => honestly(request, { nonce: first.nonce })],
    ["is for another audience", (request) => honestly(request, { audience: "another-platform" })],
    ["has an impossible time", (request) => honestly(request, { checkTime: timestampFromMs(nowMs - 3_600_000) })],
    ["has an impossible time", (request) => honestly(request, { checkTime: timestampFromMs(nowMs + 3_600_000) })],
    ["is another source's", (request) => honestly(request, { sourceId: "population-base" })],
    ["is about other elements", (request) => honestly(request, { elementsDigest: new Uint8Array(32) })],
    ["is not signed by the source", (request) => ({ ...honestly(request), signature: old.signature })],
    ["is by an unregistered key", (request) => ({ ...honestly(request), keyId: "another" })],
  ];
  for (const [problem, answer] of cases) {
    partner.answer = answer;
    const { outcome, verificationId = "" } = (await verifyPerson()) ?? {};
    assert.equal(outcome, Outcome.PENDING, problem);
    const line = world.logged.find((each) => each.includes(verificationId) && each.includes("a source gave no answer"));
    assert.ok(line?.includes(`REFUSED: the assertion ${problem}`), `${problem}: ${line}`);
  }
  assert.equal(await countRows("evidence WHERE verdict = 'MATCH'"), 1, "no word of it is kept");
  assert.equal(await countRows("verification WHERE state = 'PENDING'"), cases.length);

  // Asked what became of them, it replays still; once it is honest, each is decided by its own assertion.
  partner.answer = () => old;
  world.logged.length = 0;
  const refusals = () =>
    world.logged.filter((each) => each.includes("REFUSED: the assertion is to another check")).length;
  await world.until(() => refusals() >= cases.length, "the outcomes are asked for");
  assert.equal(await countRows("verification WHERE state = 'VERIFIED'"), 1);
  partner.answer = honestly;
  await world.until(async () => (await countRows("verification WHERE state = 'PENDING'")) === 0, "all are decided");
  assert.equal(await countRows("verification WHERE state = 'VERIFIED'"), cases.length + 1);

  const byBizSeq = Map.groupBy(partner.received, ({ bizSeq }) => bizSeq);
  assert.equal(byBizSeq.size, cases.length + 1, "each question has a bizSeq of its own");
  for (const repeats of byBizSeq.values()) {
    assert.equal(
      new Set(repeats.map(({ elements }) => elements?.citizenId)).size,
      1,
      "and repeats it for itself alone",
    );
  }
});

test("SZ-9 a partner is not asked for claim types that it does not offer, nor for a level above its own, and ListSources says so", async () => {
  const before = partner.received.length;
  const [entry] = (await listSources()).filter(({ sourceId }) => sourceId === "partner");
  assert.deepEqual(entry?.claimTypes, [ClaimType.PERSON_TWO_ELEMENT]);
  assert.equal(entry?.claimTypesNotOffered.length, 8);
  assert.ok(entry?.claimTypesNotOffered.includes(ClaimType.LEGAL_PERSON));
  assert.equal(entry?.level, 2);
  const { uscc, name } = NAMED_ORGANISATIONS.match.organisation;
  const legalPerson = { type: ClaimType.LEGAL_PERSON, uscc, organisationName: name };
  assert.equal(await reasonOf(verify(legalPerson)), "CLAIM_UNSUPPORTED");
  assert.equal(partner.received.length, before);

  partner.offers = [SourceClaimType.LEGAL_PERSON];
  partner.level = 1;
  world.time.advance(60_000);
  await world.putPolicy();
  await world.until(
    async () => (await listSources()).some(({ level }) => level === 1),
    "it is asked for what it offers",
  );
  const told = world.logged.find((line) => line.includes("is not what is configured"));
  assert.ok(told?.includes('"source":"partner"') && told.includes("PERSON_TWO_ELEMENT"), told);
  assert.equal(await reasonOf(verifyPerson()), "CLAIM_UNSUPPORTED");
});

async function listSources() {
  return (await world.verifications.listSources({}, world.as(undefined, "trust.sources.read"))).sources;
}
