import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack, durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Assertion,
  AssertionSchema,
  ClaimType,
  type ElementsSchema,
  type SignedAssertion,
  TrustSourceService,
  Verdict,
} from "@fujie/api/fujie/source/v1/source";
import { BadRequestSchema, RetryInfoSchema } from "@fujie/api/google/rpc/error_details";
import { StatusSchema } from "@fujie/api/google/rpc/status";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import type { TlsFiles } from "../src/partner/source.ts";
import { faceImageOf, NAMED_ORGANISATIONS, NAMED_PEOPLE } from "../src/people/index.ts";
import { NOON_IN_CHINA, newBizSeq, type RunningSandbox, runSandbox } from "./running-sandbox.ts";
import { makeTlsAuthority } from "./tls-files.ts";

const person = NAMED_PEOPLE.match.person;
const organisation = NAMED_ORGANISATIONS.match.organisation;

let running: RunningSandbox;
let platform: Client;
before(async () => {
  running = await runSandbox();
  platform = await connect(running.platform);
});
after(async () => {
  platform.close();
  await running[Symbol.asyncDispose]();
});
beforeEach(async () => {
  running.time.nowMs = NOON_IN_CHINA;
  await running.client.reset("partner");
});

async function connect(files: TlsFiles): Promise<Client> {
  const [ca, key, cert] = await Promise.all([
    readFile(running.authority.caFile),
    readFile(files.keyFile),
    readFile(files.certFile),
  ]);
  const options = {
    "grpc.enable_retries": 0,
    "grpc.initial_reconnect_backoff_ms": 10,
    "grpc.ssl_target_name_override": "localhost",
  };
  return new Client(`127.0.0.1:${running.sandbox.grpcPort}`, credentials.createSsl(ca, key, cert), options);
}

type Method<Input extends DescMessage, Output extends DescMessage> = { name: string; input: Input; output: Output };

function call<Input extends DescMessage, Output extends DescMessage>(
  client: Client,
  { name, input, output }: Method<Input, Output>,
  request: MessageInitShape<Input>,
  deadlineMs = 5000,
): Promise<MessageShape<Output>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/fujie.source.v1.TrustSourceService/${name}`,
      (message: MessageShape<Input>) => Buffer.from(toBinary(input, message)),
      (bytes) => fromBinary(output, bytes),
      create(input, request),
      { deadline: Date.now() + deadlineMs },
      (error, reply) => (reply === undefined ? reject(error) : resolve(reply)),
    );
  });
}

const { check: CHECK, describe: DESCRIBE, getOutcome: GET_OUTCOME } = TrustSourceService.method;

type CheckInit = {
  bizSeq: string;
  claimType: ClaimType;
  elements?: MessageInitShape<typeof ElementsSchema>;
  purpose: string;
  audience: string;
  nonce: Uint8Array<ArrayBuffer>;
};

function personCheck(more: Partial<CheckInit> = {}): CheckInit {
  return {
    bizSeq: newBizSeq(),
    claimType: ClaimType.PERSON_TWO_ELEMENT,
    elements: { citizenId: person.citizenId, personName: person.name },
    purpose: "registration",
    audience: "fujie-trust-gateway",
    nonce: new Uint8Array(randomBytes(16)),
    ...more,
  };
}

const check = (request: CheckInit) => call(platform, CHECK, request);
const outcome = (bizSeq: string) => call(platform, GET_OUTCOME, { bizSeq });
const counters = () => running.client.counters("partner");

async function openAssertion(signed: SignedAssertion | undefined): Promise<Assertion> {
  assert.ok(signed);
  const { sources } = JSON.parse(await readFile(running.sandbox.sourcesFile, "utf8"));
  const [registered] = sources.find((source: { id: string }) => source.id === "partner").assertionKeys;
  assert.equal(signed.keyId, registered.keyId);
  assert.equal(signed.signature.length, 64);
  const key = { key: createPublicKey(registered.publicKeyPem), dsaEncoding: "ieee-p1363" } as const;
  const bytes = Buffer.concat([Buffer.from("fujie-source-assertion-v1\n"), signed.assertion]);
  assert.equal(verify("sha256", bytes, key, signed.signature), true);
  return fromBinary(AssertionSchema, signed.assertion);
}

const verdictOf = async (request: CheckInit) => (await openAssertion((await check(request)).assertion)).verdict;

function failsWith(code: status, inspect: (error: ServiceError) => void = () => {}): (error: ServiceError) => true {
  return (error) => {
    assert.equal(error.code, code, error.details);
    inspect(error);
    return true;
  };
}

function detail<Desc extends DescMessage>(error: ServiceError, schema: Desc): MessageShape<Desc> | undefined {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(bytes)) return undefined;
  return fromBinary(StatusSchema, bytes)
    .details.map((any) => anyUnpack(any, schema))
    .find((found) => found !== undefined);
}
const fieldOf = (error: ServiceError) => detail(error, BadRequestSchema)?.fieldViolations[0]?.field;
const retryMs = (error: ServiceError) => {
  const delay = detail(error, RetryInfoSchema)?.retryDelay;
  return delay && durationMs(delay);
};

test("SZ-11.2 an assertion is signed and binds source, check, audience, nonce, elements, level and time", async () => {
  const request = personCheck();
  const assertion = await openAssertion((await check(request)).assertion);
  const elements = [person.citizenId, person.name, "", ""].join("\0");
  assert.equal(assertion.sourceId, "partner");
  assert.equal(assertion.bizSeq, request.bizSeq);
  assert.equal(assertion.audience, "fujie-trust-gateway");
  assert.deepEqual(Uint8Array.from(assertion.nonce), request.nonce);
  assert.equal(assertion.claimType, ClaimType.PERSON_TWO_ELEMENT);
  const digest = createHash("sha256").update(request.nonce).update(elements).digest("hex");
  assert.equal(Buffer.from(assertion.elementsDigest).toString("hex"), digest);
  assert.equal(assertion.verdict, Verdict.MATCH);
  assert.equal(assertion.level, 2);
  assert.equal(assertion.checkTime && timestampMs(assertion.checkTime), NOON_IN_CHINA);
});

test("NI-28a people match, mismatch or have no record, and each is billed", async () => {
  const verdict = ({ citizenId, name }: { citizenId: string; name: string }) =>
    verdictOf(personCheck({ elements: { citizenId, personName: name } }));
  assert.equal(await verdict(person), Verdict.MATCH);
  assert.equal(await verdict(NAMED_PEOPLE.mismatch.person), Verdict.MISMATCH);
  assert.equal(await verdict(NAMED_PEOPLE["no-record"].person), Verdict.NO_RECORD);
  const { billed, byResult } = await counters();
  assert.deepEqual({ billed, byResult }, { billed: 3, byResult: { MATCH: 1, MISMATCH: 1, NO_RECORD: 1 } });
});

test("a legal representative matches only where code, name and person do", async () => {
  const elements = { uscc: organisation.uscc, organisationName: organisation.name };
  const claimType = ClaimType.LEGAL_REPRESENTATIVE;
  const representative = organisation.legalRepresentativeCitizenId;
  assert.equal(await verdictOf(personCheck({ claimType: ClaimType.LEGAL_PERSON, elements })), Verdict.MATCH);
  const verdict = (citizenId: string, organisationName = organisation.name) =>
    verdictOf(personCheck({ claimType, elements: { ...elements, citizenId, organisationName } }));
  assert.equal(await verdict(representative), Verdict.MATCH);
  assert.equal(await verdict(NAMED_PEOPLE.mismatch.person.citizenId), Verdict.MISMATCH);
  assert.equal(await verdict(representative, "别名有限公司"), Verdict.MISMATCH);
});

test("SZ-9 the source describes itself and announces its maintenance", async () => {
  const window = { startTime: "2026-03-03T18:00:00.000Z", endTime: "2026-03-03T20:00:00.000Z" };
  const past = { startTime: "2026-03-01T18:00:00.000Z", endTime: "2026-03-01T20:00:00.000Z" };
  await running.client.control("partner", { quotaPerSecond: 7, latencyMs: 250, maintenance: [window, past] });
  const described = await call(platform, DESCRIBE, {});
  assert.equal(described.sourceId, "partner");
  // All that there are: eight was never a source's.
  assert.deepEqual(described.claimTypes, [1, 2, 3, 4, 5, 6, 7, 9, 10]);
  assert.equal(described.level, 3);
  assert.equal(described.rateLimitPerSecond, 7);
  assert.equal(described.usualLatency && durationMs(described.usualLatency), 250);
  assert.deepEqual(
    described.maintenance.map(({ startTime, endTime }) => [
      startTime && timestampMs(startTime),
      endTime && timestampMs(endTime),
    ]),
    [[Date.parse(window.startTime), Date.parse(window.endTime)]],
  );
  running.time.nowMs = Date.parse(window.startTime);
  await assert.rejects(
    check(personCheck()),
    failsWith(status.UNAVAILABLE, (error) => assert.equal(retryMs(error), 7_200_000)),
  );
});

test("SZ-9 every type of claim is answered over exactly its elements, which the assertion binds", async () => {
  const { citizenId, name: personName, phone, bankCard } = person;
  const ward = NAMED_PEOPLE["minor-under-14"].person;
  const faceImage = new Uint8Array(faceImageOf(citizenId, 800));
  const who = { citizenId, personName };
  const cases: [keyof typeof ClaimType, MessageInitShape<typeof ElementsSchema>][] = [
    ["PERSON_CARRIER", { ...who, phone }],
    ["PERSON_BANK_CARD", { ...who, bankCard }],
    ["PERSON_BANK_CARD_PHONE", { ...who, bankCard, phone }],
    ["PERSON_FACE", { ...who, faceImage }],
    ["DOCUMENT_VALIDITY", { ...who, documentExpireDate: "2044-05-06" }],
    ["GUARDIAN", { ...who, wardCitizenId: ward.citizenId, wardName: ward.name }],
  ];
  for (const [type, elements] of cases) {
    const request = personCheck({ claimType: ClaimType[type], elements });
    const assertion = await openAssertion((await check(request)).assertion);
    const digest = createHash("sha256").update(request.nonce);
    digest.update(`${citizenId}\0${personName}\0\0\0${elements.phone ?? ""}\0${elements.bankCard ?? ""}\0`);
    if (type === "PERSON_FACE") digest.update(createHash("sha256").update(faceImage).digest());
    const { documentExpireDate = "", wardCitizenId = "", wardName = "" } = elements;
    digest.update(`\0${documentExpireDate}\0${wardCitizenId}\0${wardName}`);
    assert.equal(Buffer.from(assertion.elementsDigest).toString("hex"), digest.digest("hex"), type);
    assert.equal(assertion.verdict, Verdict.MATCH, type);
    assert.equal(assertion.similarity, type === "PERSON_FACE" ? 800 : 0);
    const needless = { ...elements, uscc: organisation.uscc };
    await assert.rejects(
      check(personCheck({ claimType: ClaimType[type], elements: needless })),
      failsWith(status.INVALID_ARGUMENT, (error) => assert.equal(fieldOf(error), "elements.uscc")),
    );
  }
});

test("elements that are malformed, missing or not needed for the type are refused by field, unbilled (NI-9)", async () => {
  const { citizenId, name: personName } = person;
  const { uscc, name: organisationName } = organisation;
  const [PERSON, LEGAL, REPRESENTATIVE] = [
    ClaimType.PERSON_TWO_ELEMENT,
    ClaimType.LEGAL_PERSON,
    ClaimType.LEGAL_REPRESENTATIVE,
  ];
  const cases: [string, Partial<CheckInit>][] = [
    ["biz_seq", { bizSeq: "A".repeat(32) }],
    ["purpose", { purpose: "" }],
    ["audience", { audience: "" }],
    ["nonce", { nonce: new Uint8Array(15) }],
    ["nonce", { nonce: new Uint8Array(65) }],
    ["claim_type", { claimType: ClaimType.UNSPECIFIED }],
    ["elements.citizen_id", { elements: { citizenId: citizenId.slice(1), personName } }],
    ["elements.person_name", { elements: { citizenId } }],
    ["elements.uscc", { elements: { citizenId, personName, uscc } }],
    ["elements.organisation_name", { elements: { citizenId, personName, organisationName } }],
    ["elements.citizen_id", { claimType: LEGAL, elements: { uscc, organisationName, citizenId } }],
    ["elements.citizen_id", { claimType: REPRESENTATIVE, elements: { uscc, organisationName } }],
    [
      "elements.person_name",
      { claimType: REPRESENTATIVE, elements: { uscc, organisationName, citizenId, personName } },
    ],
    ["elements.uscc", { claimType: LEGAL, elements: { organisationName } }],
    ["elements.person_name", { claimType: PERSON, elements: { citizenId, personName: "\u0000" } }],
  ];
  for (const [field, more] of cases) {
    await assert.rejects(
      check(personCheck(more)),
      failsWith(status.INVALID_ARGUMENT, (error) => {
        assert.equal(fieldOf(error), field);
        assert.equal(error.details.includes(citizenId), false);
      }),
    );
  }
  const { elements: _, ...without } = personCheck();
  await assert.rejects(check(without), failsWith(status.INVALID_ARGUMENT));
  const malformed = cases.length + 1;
  const { received, billed, byRefusal } = await counters();
  assert.deepEqual({ received, billed, byRefusal }, { received: malformed, billed: 0, byRefusal: { malformed } });
});

test("a repeat gets the first assertion again and is billed once; other elements are refused", async () => {
  const request = personCheck();
  const first = await check(request);
  running.time.nowMs += 1000;
  assert.deepEqual(await check(request), first);
  const other = NAMED_PEOPLE.mismatch.person;
  const elements = { citizenId: other.citizenId, personName: other.name };
  await assert.rejects(check(personCheck({ bizSeq: request.bizSeq, elements })), failsWith(status.ALREADY_EXISTS));
  assert.equal((await counters()).billed, 1);
});

test("the outcome is told for 24 hours, byte for byte, and an unknown check is not found", async () => {
  const request = personCheck();
  const { assertion } = await check(request);
  running.time.nowMs += 24 * 3_600_000;
  assert.deepEqual((await outcome(request.bizSeq)).assertion, assertion);
  await assert.rejects(outcome(newBizSeq()), failsWith(status.NOT_FOUND));
  await assert.rejects(
    outcome("x"),
    failsWith(status.INVALID_ARGUMENT, (error) => assert.equal(fieldOf(error), "biz_seq")),
  );
});

test("quota gives RESOURCE_EXHAUSTED with RetryInfo", async () => {
  await running.client.control("partner", { quotaPerSecond: 1 });
  await check(personCheck());
  running.time.nowMs += 250;
  await assert.rejects(
    check(personCheck()),
    failsWith(status.RESOURCE_EXHAUSTED, (error) => assert.equal(retryMs(error), 750)),
  );
});

test("fault, failNext and maintenance give UNAVAILABLE, unbilled", async () => {
  await running.client.control("partner", { fault: "error" });
  await assert.rejects(check(personCheck()), failsWith(status.UNAVAILABLE));
  await running.client.control("partner", { fault: "none", failNext: 1 });
  await assert.rejects(check(personCheck()), failsWith(status.UNAVAILABLE));
  await running.client.control("partner", { fault: "maintenance" });
  await assert.rejects(
    check(personCheck()),
    failsWith(status.UNAVAILABLE, (error) => assert.equal(retryMs(error), 60_000)),
  );
  assert.equal((await call(platform, DESCRIBE, {})).maintenance.length, 1);
  assert.equal((await counters()).billed, 0);
});

test("the source fails for one person alone", async () => {
  const { citizenId, name } = NAMED_PEOPLE.outage.person;
  const elements = { citizenId, personName: name };
  await assert.rejects(check(personCheck({ elements })), failsWith(status.UNAVAILABLE));
  assert.equal(await verdictOf(personCheck()), Verdict.MATCH);
});

test("hang takes the call and never answers; it was neither done nor billed", async () => {
  await running.client.control("partner", { fault: "hang" });
  const request = personCheck();
  await assert.rejects(call(platform, CHECK, request, 100), failsWith(status.DEADLINE_EXCEEDED));
  await assert.rejects(outcome(request.bizSeq), failsWith(status.NOT_FOUND));
  const { billed, byRefusal } = await counters();
  assert.deepEqual({ billed, byRefusal }, { billed: 0, byRefusal: { hung: 1 } });
});

test("drop cuts the connection after the check was done and billed, and GetOutcome clears it up", async () => {
  await running.client.control("partner", { fault: "drop" });
  const request = personCheck();
  await assert.rejects(check(request), (error: ServiceError) => {
    assert.equal(error.metadata.get("grpc-status-details-bin").length, 0);
    return error.code === status.UNAVAILABLE || error.code === status.INTERNAL;
  });
  const { billed, byRefusal } = await counters();
  assert.deepEqual({ billed, byRefusal }, { billed: 1, byRefusal: { dropped: 1 } });
  const { assertion } = await outcome(request.bizSeq);
  assert.equal((await openAssertion(assertion)).verdict, Verdict.MATCH);
});

test("only the platform's certificate is served: another service's, a nameless and an embedded name are refused", async () => {
  for (const names of [
    "URI:spiffe://fujie/registry",
    "DNS:spiffe.fujie",
    "URI:spiffe://fujie/trust-gateway, URI:spiffe://fujie/registry",
    "URI:spiffe://fujie/trust-gateway/more",
  ]) {
    const client = await connect(running.authority.issue("other", names));
    for (const ask of [
      () => call(client, DESCRIBE, {}),
      () => call(client, CHECK, personCheck()),
      () => call(client, GET_OUTCOME, { bizSeq: newBizSeq() }),
    ]) {
      await assert.rejects(ask(), failsWith(status.PERMISSION_DENIED), names);
    }
    client.close();
  }
  assert.equal((await counters()).billed, 0);
});

test("a certificate of another authority, and none, do not connect", async () => {
  const stranger = makeTlsAuthority(running.dir, "stranger").issue("forged", "URI:spiffe://fujie/trust-gateway");
  const forged = await connect(stranger);
  await assert.rejects(call(forged, DESCRIBE, {}), failsWith(status.UNAVAILABLE));
  forged.close();
  const ca = await readFile(running.authority.caFile);
  const named = { "grpc.ssl_target_name_override": "localhost" };
  const nameless = new Client(`127.0.0.1:${running.sandbox.grpcPort}`, credentials.createSsl(ca), named);
  await assert.rejects(call(nameless, DESCRIBE, {}), failsWith(status.UNAVAILABLE));
  nameless.close();
  const clear = new Client(`127.0.0.1:${running.sandbox.grpcPort}`, credentials.createInsecure());
  await assert.rejects(call(clear, DESCRIBE, {}), failsWith(status.UNAVAILABLE));
  clear.close();
});

test("a message over 1 MiB is refused", async () => {
  await assert.rejects(check(personCheck({ purpose: "x".repeat(1_100_000) })), failsWith(status.RESOURCE_EXHAUSTED));
  assert.equal((await counters()).billed, 0);
});

test("the log tells bizSeq and never an identifier, a name or a verdict", async () => {
  running.logged.length = 0;
  const request = personCheck();
  await check(request);
  const log = running.logged.join("\n");
  assert.ok(log.includes(request.bizSeq));
  for (const personal of [person.citizenId, person.name, "MATCH"]) assert.equal(log.includes(personal), false);
});
