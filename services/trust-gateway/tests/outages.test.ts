/**
 * Sources that are slow, dead or silent, over real sockets: the population base is free here, as some are, and has its
 * two addresses. Where a breaker's or a call's time is what is tested, it is real time, a second or two.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { systemClock } from "@fujie/kit/clock";
import { systemTimers } from "@fujie/kit/timers";
import { personAt } from "@fujie/sandbox/people";
import { LEGAL_BASIS, PURPOSE, startWorld, type World } from "./world.ts";

const REAL_TIME = { clock: systemClock, timers: systemTimers };
const BASES = ["population-base", "population-base-2"] as const;
const BREAK_MS = 2_000;
/** What a slow address is steered to, and how long it takes here. */
const SLOW = { steeredMs: 10_000, realMs: 80 };

const either: NonNullable<World["policy"]["claimPolicies"]>[number] = {
  policyId: "either",
  claimType: ClaimType.PERSON_TWO_ELEMENT,
  startTime: timestampFromMs(Date.UTC(2025, 5, 1)),
  voices: [
    { source: { case: "kind", value: "population-base" }, rank: 2 },
    { source: { case: "sourceId", value: "partner" }, rank: 1 },
  ],
  needed: 1,
};
const OUTCOMES = { match: Outcome.VERIFIED, mismatch: Outcome.REJECTED, "no-record": Outcome.REJECTED } as const;
/** People about whom every source tells the truth, each asked about once. */
const people = Array.from({ length: 2_000 }, (_, i) => personAt(i)).flatMap((person) =>
  person.outcome === "match" || person.outcome === "mismatch" || person.outcome === "no-record"
    ? [{ ...person, expected: OUTCOMES[person.outcome] }]
    : [],
);
/** Weaker sources verify them, but refuse nobody in the authority's absence. */
const known = people.splice(0, 200).filter(({ outcome }) => outcome === "match");

let world: World;
let nobodyThere: string;
before(async () => {
  world = await startWorld({ FUJIE_SOURCE_BREAK_MS: "400" });
  const { sources } = JSON.parse(readFileSync(world.sandbox.sourcesFile, "utf8"));
  const [base, ...others]: [{ id: string; urls: string[] }] = sources;
  assert.equal(base.id, "population-base");
  const free = { ...base, priceFen: 0 };
  writeFileSync(world.sandbox.sourcesFile, JSON.stringify({ sources: [free, ...others] }));
  nobodyThere = `${world.sandbox.sourcesFile}.half-dead.json`;
  const halfDead = { ...free, urls: [base.urls[0], `http://127.0.0.1:${await closedPort()}`] };
  writeFileSync(nobodyThere, JSON.stringify({ sources: [halfDead, ...others] }));
  world.latency.take = (ms) => (ms > SLOW.steeredMs / 10 ? delay(SLOW.realMs) : Promise.resolve());
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  for (const id of [...BASES, "partner"] as const) {
    await world.control.reset(id);
    // The sandbox's time stands still, so that a second's quota would be all.
    await world.control.control(id, { quotaPerSecond: 1_000_000 });
  }
});

/** A port on which nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  server.close();
  await once(server, "close");
  return address.port;
}

/** One question about the next person; whether it was answered rightly, and what was answered. */
async function ask(from = people): Promise<{ outcome: Outcome | undefined; isRight: boolean }> {
  const person = from.pop();
  assert.ok(person !== undefined);
  const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: person.citizenId, personName: person.name };
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const question = { requestId: randomUUID(), claim, purpose: PURPOSE, ground };
  const { verification } = await world.verifications.verify(question, world.as());
  return { outcome: verification?.outcome, isRight: verification?.outcome === person.expected };
}

const askMany = (count: number, from = people) => Promise.all(Array.from({ length: count }, () => ask(from)));
const wrong = (answers: readonly { isRight: boolean; outcome: Outcome | undefined }[]) =>
  answers.filter(({ isRight }) => !isRight);

async function gauge(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${world.gateway.adminPort}/metrics`)).text();
  const found = new RegExp(`^fujie_source_${name}\\{[^}]*source="population-base"[^}]*\\} (\\d+)`, "m").exec(text);
  return Number(found?.[1]);
}

const baseReceived = async () => {
  const counters = await Promise.all(BASES.map((id) => world.control.counters(id)));
  return counters.reduce((sum, { received }) => sum + received, 0);
};

test("a slow address of a free source is hedged: every answer is right, and extra calls are at most 5 %", async () => {
  await world.restart({}, REAL_TIME);
  await world.putPolicy();
  for (let i = 0; i < 8; i += 1) assert.deepEqual(wrong(await askMany(4)), []);
  await world.control.control("population-base-2", { latencyMs: SLOW.steeredMs });
  for (let i = 0; i < 12; i += 1) assert.deepEqual(wrong(await askMany(6)), []);
  assert.ok((await gauge("hedges_total")) >= 1, "somebody was hedged");
  assert.ok((await baseReceived()) <= 104 * 1.05, "extra calls");
  assert.equal(await gauge("breaker"), 0);
});

test("an address where nobody is is left out: every answer is right, and the source stays available", async () => {
  await world.restart({ FUJIE_SOURCES_FILE: nobodyThere, FUJIE_SOURCE_BREAK_MS: "60000" }, REAL_TIME);
  await world.putPolicy();
  for (let i = 0; i < 40; i += 1) assert.deepEqual(wrong([await ask()]), []);
  // Left out after three failures, or avoided before that because its first ones took long.
  const retries = await gauge("retries_total");
  assert.ok(retries >= 1 && retries <= 3, `${retries} calls went to the dead address`);
  assert.equal(await gauge("breaker"), 0);
  assert.equal(await baseReceived(), 40);
});

test("in a black hole a lawful alternative is asked once the source has been silent, long before its time is up", async () => {
  // No call's time is up while this test runs, and time stands still until it is let pass.
  await world.restart({ FUJIE_SOURCE_TIMEOUT_MS: "60000" });
  await world.putPolicy({ claimPolicies: [either] });
  assert.deepEqual(wrong([await ask()]), []);
  const hang = (fault: "hang" | "none") => Promise.all(BASES.map((id) => world.control.control(id, { fault })));
  await hang("hang");
  const before = await baseReceived();
  const asking = ask(known);
  while ((await baseReceived()) === before) await turn();
  world.time.advance(249);
  for (let i = 0; i < 20; i += 1) await turn();
  assert.equal((await world.control.counters("partner")).received, 0);
  const startedMs = world.time.clock.nowMs();
  const answer = await world.passing(asking);
  assert.ok(answer.isRight && answer.outcome === Outcome.VERIFIED);
  assert.ok(world.time.clock.nowMs() - startedMs < 10_000);
  assert.equal((await world.control.counters("partner")).received, 1);
  await hang("none");
});

test("SZ-13.4 a black hole opens the breaker within 2 s: alternatives answer in the call, without one it is PENDING at once, and it heals", async () => {
  await world.restart({ FUJIE_SOURCE_TIMEOUT_MS: "3000", FUJIE_SOURCE_BREAK_MS: String(BREAK_MS) }, REAL_TIME);
  await world.putPolicy({ claimPolicies: [] });
  assert.deepEqual(wrong(await askMany(4)), []);
  await Promise.all(BASES.map((id) => world.control.control(id, { fault: "hang" })));
  const startedMs = performance.now();
  const pending = await askMany(8);
  assert.ok(pending.every(({ outcome }) => outcome === Outcome.PENDING));
  assert.ok((await gauge("breaker")) > 0);
  assert.ok(performance.now() - startedMs <= 2_000, `open after ${performance.now() - startedMs} ms`);
  // Nobody waits for it any more: neither he whom nobody else may answer, nor he whom the partner answers.
  assert.equal((await ask()).outcome, Outcome.PENDING);
  await world.putPolicy({ claimPolicies: [either] });
  assert.deepEqual(wrong(await askMany(8, known)), []);
  await Promise.all(BASES.map((id) => world.control.control(id, { fault: "none" })));
  const healedMs = performance.now();
  while ((await gauge("breaker")) !== 0) await delay(20);
  assert.ok(performance.now() - healedMs <= 15_000);
  await world.putPolicy({ claimPolicies: [] });
  assert.deepEqual(wrong([await ask()]), []);
});
