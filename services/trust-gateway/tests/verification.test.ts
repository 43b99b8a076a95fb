import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { toBinary } from "@bufbuild/protobuf";
import {
  ClaimType,
  Outcome,
  PendingReason,
  type Receipt,
  VerificationSchema,
} from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import { canonicalElements } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE, type SyntheticPerson } from "@fujie/sandbox/people";
import { decodeReceiptStatement, receiptBatchMessage, rootOfBatchPath, verifyElements } from "@fujie/transparency";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await world.putPolicy({ withdrawnGrantIds: [] });
  await world.heal("population-base", "legal-person-base");
});

const { match, mismatch, outage } = NAMED_PEOPLE;
const noRecord = NAMED_PEOPLE["no-record"];

function elements({ citizenId, name }: SyntheticPerson): ClaimElements {
  return { type: "PERSON_TWO_ELEMENT", citizenId, personName: name };
}

function claimOf({ citizenId, name }: SyntheticPerson) {
  return { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
}

function request(person: SyntheticPerson, consentGrant?: string) {
  const ground =
    consentGrant === undefined
      ? ({ case: "legalBasis", value: LEGAL_BASIS } as const)
      : ({ case: "consentGrant", value: consentGrant } as const);
  return { requestId: randomUUID(), claim: claimOf(person), purpose: PURPOSE, ground };
}

async function verify(person: SyntheticPerson, consentGrant?: string, options = world.as()) {
  const { verification } = await world.verifications.verify(request(person, consentGrant), options);
  assert.ok(verification !== undefined);
  return verification;
}

test("NI-10 an application gets the result only: outcome, time, level, receipt, and nothing of what a source said", async () => {
  const verification = await verify(match.person);
  assert.equal(verification.outcome, Outcome.VERIFIED);
  assert.equal(verification.level, 2);
  assert.ok(verification.decideTime !== undefined && verification.receipt !== undefined);
  assert.deepEqual(
    Object.keys(verification)
      .filter((key) => !key.startsWith("$"))
      .sort(),
    ["decideTime", "level", "outcome", "pendingReason", "receipt", "verificationId"],
  );
});

test("NI-10 a mismatch and a missing record leave as the same refusal: byte for byte, after the same statements", async () => {
  const token = world.mintToken({ app: APPLICATION, scope: "trust.verify" });
  const overConnect = async (person: SyntheticPerson) => {
    const url = `http://127.0.0.1:${world.gateway.httpPort}/fujie.trust.v1.VerificationService/Verify`;
    const { claim, ground, ...rest } = request(person);
    const body = { ...rest, claim: { ...claim, type: "CLAIM_TYPE_PERSON_TWO_ELEMENT" }, legalBasis: ground.value };
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    return { told: [...response.headers.keys()].sort(), text: await response.text(), status: response.status };
  };
  // Whatever is done once for a process is done before.
  for (const { person } of [mismatch, noRecord]) await overConnect(person);
  const seen = async (person: SyntheticPerson) => {
    const before = await countStatements();
    const { told, text, status } = await overConnect(person);
    const answer: { verification: object } = JSON.parse(text);
    const grpc = await verify(person);
    assert.equal(grpc.outcome, Outcome.REJECTED);
    const own = { verificationId: "", decideTime: undefined, receipt: undefined };
    const receipt = grpc.receipt && { ...grpc.receipt, statement: 0, salt: 0, signature: 0 };
    return {
      status,
      told,
      json: JSON.stringify(maskTexts(answer)),
      grpc: Buffer.from(toBinary(VerificationSchema, { ...grpc, ...own })).toString("hex"),
      bytes: toBinary(VerificationSchema, grpc).length,
      receipt: [grpc.receipt?.statement.length, grpc.receipt?.salt.length, grpc.receipt?.signature.length, receipt],
      statements: statementsSince(before, await countStatements()),
    };
  };
  const [first, second] = [await seen(mismatch.person), await seen(noRecord.person)];
  assert.deepEqual(second, first);
  assert.ok(first.statements.length > 0);
  // PENDING tells neither: while the source is away both wait, in the same words.
  await world.control.control("population-base", { fault: "maintenance" });
  const pending = async (person: SyntheticPerson) => {
    const answer = await world.passing(verify(person));
    assert.equal(answer.outcome, Outcome.PENDING);
    return Buffer.from(toBinary(VerificationSchema, { ...answer, verificationId: "" })).toString("hex");
  };
  assert.equal(await pending(noRecord.person), await pending(mismatch.person));
});

/** How often each statement was run, but for those of workers in the background. */
async function countStatements(): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${world.gateway.adminPort}/metrics`)).text();
  const form = /^db_client_operation_duration_seconds_count\{[^}]*db_operation_name="([^"]+)"[^}]*\} (\d+)$/gm;
  const counts = [...text.matchAll(form)].map(([, name = "", count]) => [name, Number(count)] as const);
  return new Map(counts.filter(([name]) => !/^kit\.outbox\.|^policy\.stamp$|purge|claim-expired|erase/.test(name)));
}

function statementsSince(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string[] {
  const more = Array.from(after, ([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  return more.flatMap(([name, count]) => (count === 0 ? [] : [`${name} ${count}`])).sort();
}

/** The same JSON with every text but words of the contract replaced by as many dots: ids, times, bytes. */
function maskTexts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskTexts);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, maskTexts(each)]));
  }
  return typeof value === "string" && !value.startsWith("OUTCOME_") ? ".".repeat(value.length) : value;
}

test("SZ-13.4 organisations and their representatives are checked against the legal-person base", async () => {
  const { uscc, name, legalRepresentativeCitizenId } = NAMED_ORGANISATIONS.match.organisation;
  const ask = async (citizenId: string | undefined) => {
    const type = citizenId === undefined ? ClaimType.LEGAL_PERSON : ClaimType.LEGAL_REPRESENTATIVE;
    const claim = { type, uscc, organisationName: name, ...(citizenId && { citizenId }) };
    const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
    const asked = { requestId: randomUUID(), claim, purpose: PURPOSE, ground };
    return (await world.verifications.verify(asked, world.as())).verification;
  };
  assert.equal((await ask(undefined))?.outcome, Outcome.VERIFIED);
  assert.equal((await ask(legalRepresentativeCitizenId))?.outcome, Outcome.VERIFIED);
  assert.equal((await ask(legalRepresentativeCitizenId))?.level, 3);
  assert.equal((await ask(mismatch.person.citizenId))?.outcome, Outcome.REJECTED);
});

test("NI-32 a receipt is checked offline with the bundle and binds exactly this; an altered one fails", async () => {
  const verifications = await Promise.all(Array.from({ length: 5 }, () => verify(match.person)));
  for (const { receipt, verificationId } of verifications) {
    assert.ok(receipt !== undefined);
    assert.ok(isSound(receipt));
    const { commitment, decidedAtMs, ...stated } = decodeReceiptStatement(receipt.statement);
    assert.deepEqual(stated, {
      verificationId,
      applicationId: APPLICATION,
      purpose: PURPOSE,
      outcome: "VERIFIED",
      level: 2,
      sm2: false,
    });
    const opens = (person: SyntheticPerson) =>
      verifyElements(commitment, receipt.salt, canonicalElements(elements(person))).ok;
    assert.deepEqual([opens(match.person), opens(mismatch.person)], [true, false]);
    const statement = Uint8Array.from(receipt.statement);
    statement[40] = (statement[40] ?? 0) ^ 1;
    assert.equal(isSound({ ...receipt, statement }), false);
    assert.equal(isSound({ ...receipt, batchSize: receipt.batchSize + 1 }), false);
  }
});

/** Computes the batch root from statement and path and verifies its signature. */
function isSound({ statement, index, batchSize, path, signature, keyId }: Receipt): boolean {
  const led = rootOfBatchPath(statement, { index, size: batchSize, hashes: path });
  if (!led.ok) return false;
  const bytes = receiptBatchMessage(led.root, batchSize);
  return world.bundle.verify({ keyId, use: "receipt", service: "trust-gateway", bytes, signature });
}

test("NI-32 a grant of the person is honoured once, and the verification names the account in the audit log", async () => {
  const grant = await world.grantFor(elements(match.person));
  const verification = await verify(match.person, grant);
  assert.equal(verification.outcome, Outcome.VERIFIED);
  assert.equal(await reasonOf(verify(match.person, grant)), "CONSENT_USED");
  const isDecided = (event: (typeof world.events)[number]) =>
    event.type === "verification.decided" && event.details["verification_id"] === verification.verificationId;
  await world.until(() => world.events.some(isDecided), "the decision in the audit log");
  assert.equal(world.events.find(isDecided)?.subject, "account-1");
});

test("of many concurrent uses of one grant exactly one wins", async () => {
  const grant = await world.grantFor(elements(match.person));
  const reasons = await Promise.all(Array.from({ length: 8 }, () => reasonOf(verify(match.person, grant))));
  assert.deepEqual(reasons.toSorted(), [...Array.from({ length: 7 }, () => "CONSENT_USED"), "accepted"]);
});

test("a wrong grant of any kind is refused, and its refusal consumes nothing", async () => {
  const claim = elements(match.person);
  const grantId = randomUUID();
  const past = { seconds: BigInt(Math.floor(world.time.clock.nowMs() / 1000) - 10), nanos: 0 };
  const later = { seconds: past.seconds + 3_600n, nanos: 0 };
  const wrong = {
    "another application": await world.grantFor(claim, { applicationId: "application-2" }),
    "another purpose": await world.grantFor(claim, { purpose: "greeting" }),
    "another claim type": await world.grantFor(claim, { claimType: ClaimType.LEGAL_PERSON }),
    "another person": await world.grantFor(elements(mismatch.person)),
    "another key version": await world.grantFor(claim, { hmacKeyVersion: 99 }),
    expired: await world.grantFor(claim, { expireTime: past }),
    "not yet given": await world.grantFor(claim, { grantTime: later }),
    "without times": await world.grantFor(claim, { grantTime: undefined, expireTime: undefined }),
    "without account": await world.grantFor(claim, { accountId: "" }),
    "bad signature": await world.grantFor(claim, {}, { signature: new Uint8Array(64) }),
    "unknown key": await world.grantFor(claim, {}, { keyId: "nobody" }),
    "a key for another use": await world.grantFor(claim, {}, { use: "feed" }),
    "no grant at all": "AAAA",
    "not base64url": "****",
  };
  for (const [what, grant] of Object.entries(wrong)) {
    assert.equal(await reasonOf(verify(match.person, grant)), "CONSENT_INVALID", what);
  }
  const good = await world.grantFor(claim, { grantId });
  assert.equal(await reasonOf(verify(mismatch.person, good)), "CONSENT_INVALID");
  assert.equal(await reasonOf(verify(match.person, good, world.as("application-2"))), "CONSENT_INVALID");
  await world.putPolicy({ withdrawnGrantIds: [grantId] });
  assert.equal(await reasonOf(verify(match.person, good)), "CONSENT_INVALID");
  await world.putPolicy({ withdrawnGrantIds: [] });
  assert.equal((await verify(match.person, good)).outcome, Outcome.VERIFIED);
});

test("the policy decides: unknown or suspended applications, foreign purposes and unregistered bases are refused", async () => {
  const ask = (change: object, options = world.as()) =>
    reasonOf(world.verifications.verify({ ...request(match.person), ...change }, options));
  assert.equal(await ask({}, world.as("suspended")), "APPLICATION_SUSPENDED");
  assert.equal(await ask({}, world.as("nobody")), "APPLICATION_SUSPENDED");
  assert.equal(await ask({ purpose: "another" }), "PURPOSE_NOT_REGISTERED");
  assert.equal(await ask({ purpose: "greeting" }), "PURPOSE_NOT_REGISTERED");
  assert.equal(await ask({ ground: { case: "legalBasis", value: "no-such-law" } }), "CONSENT_REQUIRED");
  assert.equal(
    await ask({ ground: { case: undefined } }),
    "Error: another service answered InvalidArgument FIELD_INVALID",
  );
  assert.equal(await ask({ level: 3 }), "CLAIM_UNSUPPORTED");
  assert.equal((await world.control.counters("population-base")).received, 0);
});

test("SZ-3.4 a source that the registry does not list is not asked", async () => {
  const sources = [
    { sourceId: "partner", enabled: true },
    { sourceId: "population-base", enabled: false },
  ];
  const before = world.policy.sources;
  await world.putPolicy({ sources });
  assert.equal(await reasonOf(verify(match.person)), "CLAIM_UNSUPPORTED");
  assert.equal((await world.control.counters("population-base")).received, 0);
  await world.putPolicy({ sources: before });
});

test("NI-9 refused elements reach no source and no table", async () => {
  const claim = { ...claimOf(match.person), uscc: NAMED_ORGANISATIONS.match.organisation.uscc };
  const before = await countRows();
  const call = world.verifications.verify({ ...request(match.person), claim }, world.as());
  await assert.rejects(call, /FIELD_INVALID/);
  assert.equal(await countRows(), before);
  assert.equal((await world.control.counters("population-base")).received, 0);
});

async function countRows(): Promise<number> {
  const { rows } = await world.db.query<{ n: number }>("SELECT count(*)::int AS n FROM trust.verification");
  return rows[0]?.n ?? -1;
}

test("the same request_id gives the first answer and no second paid call; other contents under it are refused", async () => {
  const asked = request(match.person);
  const [first, second] = await Promise.all([1, 2].map(() => world.verifications.verify(asked, world.as())));
  assert.deepEqual(second, first);
  assert.deepEqual(await world.verifications.verify(asked, world.as()), first);
  assert.equal((await world.control.counters("population-base")).billed, 1);
  const other = { ...asked, claim: claimOf(mismatch.person) };
  assert.equal(await reasonOf(world.verifications.verify(other, world.as())), "REQUEST_ID_REUSED");
});

test("identical questions at the same time share one paid check within an application, and only there", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  world.latency.hold = promise;
  const foreign = verify(match.person, undefined, world.as("application-2"));
  const own = [verify(match.person), verify(match.person), verify(match.person)];
  const requested = async () => {
    const { rows } = await world.db.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM trust.verification WHERE state = 'PENDING'",
    );
    return rows[0]?.n === 4;
  };
  await world.until(requested, "all four are accepted");
  resolve();
  const answers = await Promise.all([foreign, ...own]);
  assert.equal(new Set(answers.map(({ verificationId }) => verificationId)).size, 4);
  assert.equal((await world.control.counters("population-base")).billed, 2);
});

test("another application sees neither the verification nor whether there is one", async () => {
  const { verificationId } = await verify(match.person);
  const read = (id: string, app: string) =>
    reasonOf(world.verifications.getVerification({ verificationId: id, waitMs: 0 }, world.as(app)));
  assert.equal(await read(verificationId, APPLICATION), "accepted");
  assert.equal(await read(verificationId, "application-2"), "OBJECT_FORBIDDEN");
  assert.equal(await read(randomUUID(), APPLICATION), "OBJECT_FORBIDDEN");
});

test("a source that is away gives PENDING, which completes by itself once it is back, receipt included", async () => {
  await world.control.control("population-base", { fault: "maintenance" });
  const pending = await world.passing(verify(match.person));
  assert.equal(pending.outcome, Outcome.PENDING);
  assert.equal(pending.pendingReason, PendingReason.SOURCE_AWAY);
  assert.equal(pending.receipt, undefined);
  await world.control.control("population-base", { fault: "none" });
  const { verificationId } = pending;
  const read = () => world.passing(world.verifications.getVerification({ verificationId, waitMs: 1_000 }, world.as()));
  await world.until(async () => (await read()).verification?.outcome === Outcome.VERIFIED, "it completes by itself");
  const { verification } = await read();
  assert.ok(verification?.receipt !== undefined && isSound(verification.receipt));
  assert.equal((await world.control.counters("population-base")).billed, 1);
});

test("an outage for one person is his source's fault: PENDING, no verdict, no attempt lost", async () => {
  const pending = await world.passing(verify(outage.person));
  assert.equal(pending.outcome, Outcome.PENDING);
  assert.equal((await world.control.counters("population-base")).billed, 0);
});

test("elements are sealed while a verification is pending and gone with the decision", async () => {
  await world.control.control("population-base", { fault: "error" });
  const { verificationId } = await world.passing(verify(match.person));
  const stored = async () => {
    const text = `SELECT row_to_json(v)::text AS row, sealed_elements IS NOT NULL AS sealed
      FROM trust.verification v WHERE verification_id = $1`;
    const { rows } = await world.db.query<{ row: string; sealed: boolean }>({ text, values: [verificationId] });
    return rows[0];
  };
  const pending = await stored();
  assert.equal(pending?.sealed, true);
  assert.ok(!pending?.row.includes(match.person.citizenId));
  assert.ok(!pending?.row.includes(Buffer.from(match.person.citizenId).toString("hex")));
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await stored())?.sealed === false, "the elements are erased");
});

test("POLICY_STALE: thirty seconds without renewal and nothing is answered any more", async () => {
  world.time.advance(30_000);
  assert.equal(await reasonOf(verify(match.person)), "accepted");
  world.time.advance(1_001);
  assert.equal(await reasonOf(verify(match.person)), "POLICY_STALE");
  await world.putPolicy();
  assert.equal(await reasonOf(verify(match.person)), "accepted");
});

test("caps: an application's pace and a person's day end in QUOTA_EXCEEDED with the time to wait", async () => {
  const refusal = async (call: Promise<unknown>) => {
    const error = await call.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof DomainError, "nothing was refused");
    return error;
  };
  const { applications } = world.policy;
  await world.putPolicy({ applications: applications.map((each) => ({ ...each, rateLimitPerSecond: 2 })) });
  const calls = Array.from({ length: 6 }, () => verify(match.person));
  const paced = await refusal(Promise.all(calls));
  await Promise.allSettled(calls);
  assert.equal(paced.reason, "QUOTA_EXCEEDED");
  assert.ok((paced.retryDelayMs ?? 0) > 0);
  await world.putPolicy({ applications });
  await world.restart({ FUJIE_IDENTIFIER_PER_DAY_MAX: "2" });
  await verify(match.person);
  await verify(match.person, undefined, world.as("application-2"));
  const capped = await refusal(verify(match.person));
  assert.equal(capped.reason, "QUOTA_EXCEEDED");
  assert.ok((capped.retryDelayMs ?? 0) > 0 && (capped.retryDelayMs ?? 0) <= 86_400_000);
  assert.equal(await reasonOf(verify(mismatch.person)), "accepted");
  await world.restart();
});

test("sources are listed with their live state and never with verdicts", async () => {
  await verify(match.person);
  const { sources } = await world.verifications.listSources({}, world.as(undefined, "trust.sources.read"));
  assert.deepEqual(
    sources.filter(({ enabled, available }) => enabled && available).map(({ sourceId }) => sourceId),
    ["bank", "biometric", "ca-ecdsa", "ca-sm2", "carrier", "legal-person-base", "partner", "population-base"],
  );
  const base = sources.find(({ sourceId }) => sourceId === "population-base");
  assert.deepEqual([base?.priceFen, base?.maintenance], [30, []]);
});

test("the HTTP listener answers curl in JSON with the same rules", async () => {
  const post = async (body: object, token: string) => {
    const url = `http://127.0.0.1:${world.gateway.httpPort}/fujie.trust.v1.VerificationService/Verify`;
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    const answer: { verification?: { outcome: string }; code?: string } = JSON.parse(await response.text());
    return answer;
  };
  const token = world.mintToken({ app: APPLICATION, scope: "trust.verify" });
  const body = {
    requestId: randomUUID(),
    claim: { ...claimOf(match.person), type: "CLAIM_TYPE_PERSON_TWO_ELEMENT" },
    purpose: PURPOSE,
    legalBasis: LEGAL_BASIS,
  };
  assert.equal((await post(body, token)).verification?.outcome, "OUTCOME_VERIFIED");
  assert.equal((await post(body, world.mintToken({ app: APPLICATION, scope: "another" }))).code, "permission_denied");
});

test("no identifier and no name is ever logged", () => {
  const text = world.logged.join("");
  for (const { person } of [match, mismatch, noRecord, outage]) {
    assert.ok(!text.includes(person.citizenId) && !text.includes(person.name));
  }
});
