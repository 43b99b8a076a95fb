/** Planner and fan-out as they run: policies pushed, sources that fail, words used again, over the sandbox. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ClaimPolicySchema } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType, Outcome, PlanReason } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import { NAMED_PEOPLE, personAt, type SyntheticPerson } from "@fujie/sandbox/people";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

let world: World;
let sources: World["policy"]["sources"];
before(async () => {
  world = await startWorld({ FUJIE_PENDING_RETRY_BASE_MS: "500", FUJIE_SOURCE_BREAK_MS: "100" });
  sources = world.policy.sources;
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await world.putPolicy({ claimPolicies: [], sources });
  await world.heal("population-base", "partner");
});

const { match, mismatch } = NAMED_PEOPLE;
const START = Date.UTC(2025, 5, 1);

type Policy = MessageInitShape<typeof ClaimPolicySchema>;

/** The base with the higher rank, or the partner: one of them is enough. */
const either: Policy = {
  policyId: "either",
  claimType: ClaimType.PERSON_TWO_ELEMENT,
  startTime: timestampFromMs(START),
  voices: [
    { source: { case: "kind", value: "population-base" }, rank: 2 },
    { source: { case: "sourceId", value: "partner" }, rank: 1 },
  ],
  needed: 1,
};

/** Asks while time stands still, so that no source can fall silent. */
async function verifyAtOnce({ citizenId, name }: SyntheticPerson, application = APPLICATION, purpose = PURPOSE) {
  const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
  const question = { requestId: randomUUID(), claim, purpose, level: 0 };
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const { verification } = await world.verifications.verify({ ...question, ground }, world.as(application));
  return verification?.outcome;
}

const verify = (...asked: Parameters<typeof verifyAtOnce>) => world.passing(verifyAtOnce(...asked));

async function explain(level = 0, eventTimeMs?: number) {
  const eventTime = eventTimeMs === undefined ? {} : { eventTime: timestampFromMs(eventTimeMs) };
  const request = { claimType: ClaimType.PERSON_TWO_ELEMENT, level, ...eventTime };
  const plan = await world.verifications.explainPlan(request, world.as());
  const told = plan.sources.map(({ sourceId, asked, reason }) => `${sourceId} ${asked} ${PlanReason[reason]}`);
  return { ...plan, told };
}

const received = async (id: "population-base" | "population-base-2" | "partner") =>
  (await world.control.counters(id)).received;
const baseReceived = async () => (await received("population-base")) + (await received("population-base-2"));

test("ExplainPlan tells what Verify does then: the policy of the moment, who is asked, and why the others are not", async () => {
  assert.deepEqual((await explain()).told, ["population-base true REQUIRED", "partner false NOT_LAWFUL"]);
  await world.putPolicy({ claimPolicies: [either] });
  const plan = await explain();
  assert.deepEqual(plan.told, ["population-base true CHEAPEST", "partner false NOT_NEEDED"]);
  assert.deepEqual([plan.policyId, plan.needed, plan.costFen], ["either", 1, 30]);
  assert.deepEqual((await explain(3)).told, ["partner true REQUIRED", "population-base false LEVEL_TOO_LOW"]);
  assert.equal((await explain(0, START - 1)).policyId, "built-in/person-two-element/2025-01-01");
  assert.equal(await reasonOf(explain(0, 0)), "CLAIM_UNSUPPORTED");
  const nowMs = world.time.clock.nowMs();
  const window = { startTime: timestampFromMs(nowMs + 3_600_000), endTime: timestampFromMs(nowMs + 7_200_000) };
  const baseAs = (rules: object) =>
    sources.map((source) => (source.sourceId === "population-base" ? { ...source, ...rules } : source));
  await world.putPolicy({ claimPolicies: [either], sources: baseAs({ maintenance: [window] }) });
  assert.deepEqual((await explain(0, nowMs + 3_600_000)).told, [
    "partner true CHEAPEST",
    "population-base false MAINTENANCE",
  ]);
  assert.deepEqual((await explain()).told, ["population-base true CHEAPEST", "partner false NOT_NEEDED"]);
  await world.putPolicy({ sources: baseAs({ enabled: false }) });
  assert.deepEqual((await explain()).told, ["partner true REQUIRED", "population-base false SUSPENDED"]);
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.deepEqual([await baseReceived(), await received("partner")], [0, 1]);
});

test("SZ-13.4 where another source is lawful it answers in place of one that is out, within the same call", async () => {
  await world.putPolicy({ claimPolicies: [either] });
  await world.control.control("population-base", { fault: "maintenance" });
  for (let i = 0; i < 12; i += 1) assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal(await received("partner"), 12);
  // Its breaker is open by now: nobody spends time on it any more, and ListSources says so.
  assert.deepEqual((await explain()).told, ["partner true CHEAPEST", "population-base false UNAVAILABLE"]);
  const listed = await world.verifications.listSources({}, world.as(undefined, "trust.sources.read"));
  assert.equal(listed.sources.find(({ sourceId }) => sourceId === "population-base")?.available, false);
  const tried = await baseReceived();
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal(await baseReceived(), tried);
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await explain()).told[0] === "population-base true CHEAPEST", "the base is back");
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal((await world.control.counters("population-base")).billed, 1);
});

test("a weaker source's mismatch is not believed before the authority was asked, and the authority's is", async () => {
  const cheapPartner = { ...either, voices: [...(either.voices ?? [])].map((voice) => ({ ...voice })) };
  await world.putPolicy({ claimPolicies: [cheapPartner] });
  await world.control.control("population-base", { noRecord: true });
  // The base knows nobody; the partner's word decides.
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal(await verify(mismatch.person), Outcome.REJECTED);
  assert.equal(await received("partner"), 2);
});

test("a word is used again within its application, purpose and time, recorded as what it is, and never by others", async () => {
  await world.putPolicy({ claimPolicies: [{ ...either, policyId: "reuse", reuseSeconds: 3_600 }] });
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  await turn();
  for (let i = 0; i < 3; i += 1) assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal((await world.control.counters("population-base")).billed, 1);
  const rows = await world.db.query<{ reused: boolean; same: boolean }>(
    `SELECT e.reused_from IS NOT NULL AS reused, e.checked_at_ms = o.checked_at_ms AS same
     FROM trust.evidence e LEFT JOIN trust.evidence o ON o.evidence_id = e.reused_from
     ORDER BY e.checked_at_ms DESC, e.evidence_id DESC LIMIT 3`,
  );
  assert.deepEqual(
    rows.rows,
    Array.from({ length: 3 }, () => ({ reused: true, same: true })),
  );
  assert.equal(await verify(match.person, "application-2"), Outcome.VERIFIED);
  assert.equal((await world.control.counters("population-base")).billed, 2);
  // Under another policy it was another question.
  await world.putPolicy({ claimPolicies: [{ ...either, policyId: "stricter", reuseSeconds: 3_600 }] });
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal((await world.control.counters("population-base")).billed, 3);
  // What is negative is used again for a minute only; what is positive not beyond its time.
  assert.equal(await verify(mismatch.person), Outcome.REJECTED);
  assert.equal(await verify(mismatch.person), Outcome.REJECTED);
  const { billed } = await world.control.counters("population-base");
  world.time.advance(60_000);
  await world.putPolicy();
  const again = [await verify(mismatch.person), await verify(match.person)];
  assert.deepEqual(again, [Outcome.REJECTED, Outcome.VERIFIED]);
  assert.equal((await world.control.counters("population-base")).billed, billed + 1);
  world.time.advance(3_600_000);
  await world.putPolicy();
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  assert.equal((await world.control.counters("population-base")).billed, billed + 2);
});

test("a suspended source's word is not used again, and its quota, once it is spent, leaves the question pending", async () => {
  await world.putPolicy({ claimPolicies: [{ ...either, policyId: "reuse-2", reuseSeconds: 3_600 }] });
  assert.equal(await verifyAtOnce(match.person), Outcome.VERIFIED);
  const change = (rules: object) =>
    sources.map((source) => (source.sourceId === "population-base" ? { ...source, ...rules } : source));
  await world.putPolicy({ sources: change({ enabled: false }) });
  assert.equal(await verifyAtOnce(match.person), Outcome.VERIFIED);
  assert.equal(await received("partner"), 1);
  await world.putPolicy({ claimPolicies: [], sources: change({ dailyLimit: 1 }) });
  assert.deepEqual([await verify(match.person), await verify(match.person)], [Outcome.VERIFIED, Outcome.PENDING]);
  assert.deepEqual((await explain()).told, ["partner false NOT_LAWFUL", "population-base false QUOTA"]);
});

test("operators see of every source its breaker, limit, queue, hedges and how often its word was at hand", async () => {
  const text = await (await fetch(`http://127.0.0.1:${world.gateway.adminPort}/metrics`)).text();
  for (const name of ["breaker", "limit", "in_flight", "queued", "replicas_ejected", "available"]) {
    assert.match(text, new RegExp(`^fujie_source_${name}\\{[^}]*source="population-base"[^}]*\\} \\d`, "m"), name);
  }
  for (const name of ["hedges", "retries", "reused"]) {
    assert.match(
      text,
      new RegExp(`^fujie_source_${name}_total\\{[^}]*source="population-base"[^}]*\\} \\d`, "m"),
      name,
    );
  }
});

test("what is pending is judged under the policy of its own moment", async () => {
  await world.control.control("population-base", { fault: "maintenance" });
  const claim = {
    type: ClaimType.PERSON_TWO_ELEMENT,
    citizenId: match.person.citizenId,
    personName: match.person.name,
  };
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const request = { requestId: randomUUID(), claim, purpose: PURPOSE, level: 0, ground };
  const { verification } = await world.passing(world.verifications.verify(request, world.as()));
  assert.equal(verification?.outcome, Outcome.PENDING);
  // From now on the partner is enough; for this question it is not.
  const startTime = timestampFromMs(world.time.clock.nowMs());
  await world.putPolicy({ claimPolicies: [{ ...either, policyId: "later", startTime }] });
  world.time.advance(5_000);
  assert.equal(await verify(match.person), Outcome.VERIFIED);
  const asked = await received("partner");
  const { verificationId = "" } = verification ?? {};
  const wait = (waitMs: number) =>
    world.passing(world.verifications.getVerification({ verificationId, waitMs }, world.as()));
  assert.equal((await wait(10_000)).verification?.outcome, Outcome.PENDING);
  assert.equal(await received("partner"), asked);
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await wait(1_000)).verification?.outcome === Outcome.VERIFIED, "the base is back");
});

test("NI-36 where the source is the limit a noisy application is refused at once and writes nothing, and others are served", async () => {
  await world.restart({
    FUJIE_SOURCE_CONCURRENCY_MAX: "1",
    FUJIE_SOURCE_QUEUE_MAX: "3",
    FUJIE_SOURCE_TIMEOUT_MS: "5000",
  });
  await world.putPolicy();
  await verify(match.person);
  const held = Promise.withResolvers<void>();
  world.latency.hold = held.promise;
  const count = async () =>
    (await world.db.query<{ n: number }>("SELECT count(*)::int AS n FROM trust.verification")).rows[0]?.n;
  const before = (await count()) ?? 0;
  const people = Array.from({ length: 8 }, (_, i) => personAt(100 + i));
  const ask = (person: SyntheticPerson, application: string) => {
    const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: person.citizenId, personName: person.name };
    const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
    const request = { requestId: randomUUID(), claim, purpose: PURPOSE, level: 0, ground };
    return world.verifications.verify(request, world.as(application));
  };
  // One after the other, so that each finds what the one before it has taken.
  const accepted: Promise<unknown>[] = [];
  const refusals: DomainError[] = [];
  for (const person of people) {
    const asked = ask(person, APPLICATION);
    asked.catch((error: unknown) => (error instanceof DomainError ? refusals.push(error) : undefined));
    const refusedBefore = refusals.length;
    await written(before + accepted.length + 1, () => refusals.length > refusedBefore);
    if (refusals.length === refusedBefore) accepted.push(asked);
  }
  assert.deepEqual([accepted.length, refusals.length], [4, 4]);
  for (const { reason, retryDelayMs = 0 } of refusals) assert.ok(reason === "OVERLOADED" && retryDelayMs > 0);
  assert.equal(await count(), before + 4);
  // The same question again shares the check that is under way, and another application has its place.
  const [first] = people;
  assert.ok(first !== undefined);
  const shared = ask(first, APPLICATION);
  const other = ask(match.person, "application-2");
  await written(before + 6);
  world.latency.hold = Promise.resolve();
  held.resolve();
  for (const answer of await world.passing(Promise.all([shared, other]))) {
    assert.notEqual(answer.verification?.outcome, Outcome.PENDING);
  }
  await world.passing(Promise.allSettled(accepted));
  await world.restart();

  async function written(wanted: number, isOver = () => false): Promise<void> {
    while (!isOver() && ((await count()) ?? 0) < wanted) await turn();
  }
});
