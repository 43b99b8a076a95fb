import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { fromJsonString, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { type CallOptions, type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  type BatchVerifyRequestSchema,
  type BatchVerifyResponse,
  ClaimType,
  GetReceiptResponseSchema,
  Outcome,
  PendingReason,
  VerificationService,
  type VerifyRequestSchema,
  type WatchVerificationsResponse,
} from "@fujie/api/fujie/trust/v1/verification";
import { canonicalElements } from "@fujie/identity";
import { NAMED_PEOPLE, type SyntheticPerson } from "@fujie/sandbox/people";
import { verifyReceipt } from "../../../packages/cli/src/receipt/verify.ts";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

let world: World;
before(async () => {
  world = await startWorld({ FUJIE_HTTP_TLS: "true", FUJIE_IDENTIFIER_PER_DAY_MAX: "1000000" });
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => world.heal("population-base"));

const { match, mismatch } = NAMED_PEOPLE;
type Question = MessageInitShape<typeof VerifyRequestSchema>;

function question({ citizenId, name }: SyntheticPerson, change: Partial<Omit<Question, "$typeName">> = {}) {
  return {
    requestId: randomUUID(),
    claim: { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name },
    purpose: PURPOSE,
    ground: { case: "legalBasis", value: LEGAL_BASIS } as const,
    ...change,
  };
}

/** Sends questions and keeps the stream open until `end`; counts those that were taken off our hands. */
function sending(questions: readonly Question[]) {
  const closed = Promise.withResolvers<void>();
  const taken = { count: 0 };
  async function* send(): AsyncGenerator<MessageInitShape<typeof BatchVerifyRequestSchema>> {
    for (const each of questions) {
      taken.count += 1;
      yield { question: each };
    }
    await closed.promise;
  }
  return { send, taken, end: () => closed.resolve() };
}

type Verifications = Client<typeof VerificationService>;

/** All answers to the questions, by request_id. */
async function answersTo(client: Verifications, questions: readonly Question[], options: CallOptions) {
  const stream = sending(questions);
  const answers = new Map<string, BatchVerifyResponse["answer"]>();
  for await (const { requestId, answer } of client.batchVerify(stream.send(), options)) {
    answers.set(requestId, answer);
    if (answers.size === questions.length) stream.end();
  }
  return answers;
}

const connectClient = () =>
  createClient(
    VerificationService,
    createConnectTransport({
      baseUrl: `https://localhost:${world.gateway.httpPort}`,
      httpVersion: "2",
      nodeOptions: { ca: readFileSync(world.caFile), checkServerIdentity: () => undefined },
    }),
  );

test("a batch answers each question for itself, over gRPC and Connect: refusals stand among successes, as Verify would refuse", async () => {
  for (const client of [world.verifications, connectClient()]) {
    const questions = [
      ...Array.from({ length: 40 }, (_, i) => question(i % 2 === 0 ? match.person : mismatch.person)),
      question(match.person, { purpose: "another" }),
      question(match.person, { claim: { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: "110105194912310021" } }),
      question(match.person, { ground: { case: "consentGrant", value: "AAAA" } }),
    ];
    const answers = await answersTo(client, questions, world.as());
    assert.equal(answers.size, questions.length);
    for (const [i, { requestId = "" }] of questions.slice(0, 40).entries()) {
      const answer = answers.get(requestId);
      assert.ok(answer?.case === "verification");
      assert.equal(answer.value.outcome, i % 2 === 0 ? Outcome.VERIFIED : Outcome.REJECTED);
      assert.ok((answer.value.receipt?.salt.length ?? 0) === 32);
    }
    const reasons = questions.slice(40).map(({ requestId = "" }) => {
      const answer = answers.get(requestId);
      assert.ok(answer?.case === "refusal");
      const info = answer.value.details.find(({ typeUrl }) => typeUrl.endsWith("google.rpc.ErrorInfo"));
      return { code: answer.value.code, reason: info && new TextDecoder().decode(info.value) };
    });
    const expected = ["PURPOSE_NOT_REGISTERED", "CLAIM_INCOMPLETE", "CONSENT_INVALID"];
    for (const [i, reason] of expected.entries()) assert.ok(reasons[i]?.reason?.includes(reason), reason);
    assert.deepEqual(
      reasons.map(({ code }) => code),
      [7, 3, 7],
    );
  }
});

test("a batch that broke is resumed by sending it again: first answers come again, and nothing is paid twice", async () => {
  const questions = Array.from({ length: 30 }, () => question(match.person));
  const first = new Map<string, string>();
  const stream = sending(questions);
  const leave = new AbortController();
  const broken = async () => {
    for await (const { requestId, answer } of world.verifications.batchVerify(stream.send(), {
      ...world.as(),
      signal: leave.signal,
    })) {
      if (answer.case === "verification") first.set(requestId, answer.value.verificationId);
      if (first.size < 5) continue;
      leave.abort();
      stream.end();
    }
  };
  await assert.rejects(broken());
  // What was read goes on to its end for nobody; what was not is new.
  const answers = await answersTo(world.verifications, questions, world.as());
  for (const [requestId, verificationId] of first) {
    const answer = answers.get(requestId);
    assert.ok(answer?.case === "verification" && answer.value.verificationId === verificationId);
  }
  const { rows } = await world.db.query<{ n: number }>({
    text: "SELECT count(*)::int AS n FROM kit.request WHERE request_id = ANY ($1)",
    values: [questions.map(({ requestId }) => requestId)],
  });
  assert.equal(rows[0]?.n, 30);
  const { billed } = await world.control.counters("population-base");
  assert.ok(billed >= 1 && billed <= 30, String(billed));
  const again = await answersTo(world.verifications, questions, world.as());
  assert.deepEqual([...again.keys()].toSorted(), [...answers.keys()].toSorted());
  assert.equal((await world.control.counters("population-base")).billed, billed);
});

test("a source that holds its answers holds the reading too: 64 questions are under way and no more", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  world.latency.hold = promise;
  const stream = sending(Array.from({ length: 120 }, () => question(match.person)));
  const pending = async () => {
    const { rows } = await world.db.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM trust.verification WHERE state = 'PENDING'",
    );
    return rows[0]?.n ?? 0;
  };
  const before = await pending();
  const reading = (async () => {
    let answered = 0;
    for await (const _answer of world.verifications.batchVerify(stream.send(), world.as())) {
      answered += 1;
      if (answered === 120) stream.end();
    }
    return answered;
  })();
  // Time stands still: no question ends by running out of it.
  while ((await pending()) < before + 64) await turn();
  for (let i = 0; i < 20; i += 1) assert.equal(await pending(), before + 64);
  world.latency.hold = Promise.resolve();
  resolve();
  assert.equal(await world.passing(reading), 120);
});

/** Follows until enough decisions came; heartbeats are counted apart. */
async function follow(options: CallOptions, resumeToken: string, enough: number) {
  const seen: WatchVerificationsResponse[] = [];
  const leave = new AbortController();
  try {
    for await (const message of world.verifications.watchVerifications(
      { resumeToken },
      { ...options, signal: leave.signal },
    )) {
      seen.push(message);
      if (seen.filter(({ verification }) => verification !== undefined).length >= enough) leave.abort();
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  }
  return seen;
}

/** Asks, and waits for the decision where a breaker is still open. */
async function askDecided(): Promise<string> {
  const { verification } = await world.passing(world.verifications.verify(question(match.person), world.as()));
  const { verificationId = "" } = verification ?? {};
  await world.passing(world.verifications.getVerification({ verificationId, waitMs: 30_000 }, world.as()));
  return verificationId;
}

/** Asks while the base is away, and has it answer afterwards. */
async function askPending(application: string): Promise<string> {
  await world.control.control("population-base", { fault: "error" });
  const { verification } = await world.passing(
    world.verifications.verify(question(match.person), world.as(application)),
  );
  assert.equal(verification?.outcome, Outcome.PENDING);
  return verification.verificationId;
}

test("an application follows its pending verifications to their decisions, resumes where it was, and sees nobody else's", async () => {
  await world.verifications.verify(question(mismatch.person), world.as("application-2"));
  const own = [await askPending("application-2"), await askPending("application-2")];
  const foreign = await askPending(APPLICATION);
  await world.control.control("population-base", { fault: "none" });
  const seen = await world.passing(follow(world.as("application-2"), "", 2));
  const decided = seen.flatMap(({ verification }) => verification ?? []);
  assert.deepEqual(decided.map(({ verificationId }) => verificationId).toSorted(), own.toSorted());
  assert.ok(decided.every(({ outcome, receipt }) => outcome === Outcome.VERIFIED && receipt?.salt.length === 32));
  const token = seen.find(({ verification }) => verification !== undefined)?.resumeToken ?? "";
  const rest = await world.passing(follow(world.as("application-2"), token, 1));
  assert.equal(rest.at(-1)?.verification?.verificationId, decided[1]?.verificationId);
  let told: string[] = [];
  // Those of earlier tests come first.
  for (let enough = 1; !told.includes(foreign); enough += 1) {
    const others = await world.passing(follow(world.as(), "", enough));
    told = others.flatMap(({ verification }) => verification?.verificationId ?? []);
  }
  assert.ok(own.every((id) => !told.includes(id)));
  assert.equal(await reasonOf(follow(world.as(), token, 1)), "RESUME_TOKEN_INVALID");
});

test("a stream that follows lives on heartbeats, and ends with the application's registration or its token", async () => {
  const ended = reasonOf(follow(world.as(), "", 99));
  const { applications } = world.policy;
  await world.putPolicy({ applications: applications.map((each) => ({ ...each, enabled: false })) });
  assert.equal(await world.passing(ended), "APPLICATION_SUSPENDED");
  await world.putPolicy({ applications });
  assert.equal(await world.passing(reasonOf(follow(world.as(), "", 99))), "TOKEN_EXPIRED");
  assert.equal(await reasonOf(follow(world.as("suspended"), "", 1)), "APPLICATION_SUSPENDED");
});

test("NI-32 GetReceipt completes a receipt with the log's proof, which anybody checks offline", async () => {
  const verificationId = await askDecided();
  const bundle = await world.passing(world.verifications.getReceipt({ verificationId, waitMs: 5_000 }, world.as()));
  // By way of the file that an application keeps.
  const file = fromJsonString(GetReceiptResponseSchema, toJsonString(GetReceiptResponseSchema, bundle));
  const { citizenId, name } = match.person;
  const elements = canonicalElements({ type: "PERSON_TWO_ELEMENT", citizenId, personName: name });
  const verdict = verifyReceipt(file, { bundle: world.bundle, witnesses: [] }, elements);
  assert.ok(verdict.ok, JSON.stringify(verdict));
  assert.deepEqual(
    [verdict.statement.verificationId, verdict.statement.outcome, verdict.elements],
    [verificationId, "VERIFIED", "COMMITTED"],
  );
  assert.equal(
    await reasonOf(world.verifications.getReceipt({ verificationId, waitMs: 0 }, world.as("application-2"))),
    "OBJECT_FORBIDDEN",
  );
  const pending = await askPending(APPLICATION);
  assert.equal(
    await reasonOf(world.verifications.getReceipt({ verificationId: pending, waitMs: 0 }, world.as())),
    "VERIFICATION_PENDING",
  );
});

test("a receipt carries an SM2 signature too where the claim's policy asks for it", async () => {
  await world.putPolicy({
    claimPolicies: [
      {
        policyId: "sm2",
        claimType: ClaimType.PERSON_TWO_ELEMENT,
        startTime: { seconds: 0n, nanos: 0 },
        voices: [{ source: { case: "kind", value: "population-base" }, rank: 1 }],
        sm2Receipt: true,
      },
    ],
  });
  const verificationId = await askDecided();
  const bundle = await world.passing(world.verifications.getReceipt({ verificationId, waitMs: 5_000 }, world.as()));
  const verdict = verifyReceipt(bundle, { bundle: world.bundle, witnesses: [] });
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.signatures, ["ES256", "SM2"]);
  await world.putPolicy({ claimPolicies: [] });
});

test("a question that no source answers for a week expires: its elements are erased, and it says so", async () => {
  const verificationId = await askPending(APPLICATION);
  const watched = world.verifications.getVerification({ verificationId, waitMs: 0 }, world.as());
  assert.equal((await watched).verification?.pendingReason, PendingReason.SOURCE_AWAY);
  world.time.advance(7 * 86_400_000);
  await world.putPolicy();
  const state = async () => {
    const text = "SELECT state, sealed_elements IS NULL AS erased FROM trust.verification WHERE verification_id = $1";
    return (await world.db.query<{ state: string; erased: boolean }>({ text, values: [verificationId] })).rows[0];
  };
  await world.until(async () => (await state())?.state === "EXPIRED", "it expires");
  assert.equal((await state())?.erased, true);
  const { verification } = await world.verifications.getVerification({ verificationId, waitMs: 0 }, world.as());
  assert.equal(verification?.outcome, Outcome.EXPIRED);
});
