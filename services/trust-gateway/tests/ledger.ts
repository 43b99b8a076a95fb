/**
 * Runs verifications against the sandbox's real sources while these fail in every way they know, and then compares the
 * ledger with the sources' own books. Everything is drawn from the seed, so that a failure can be run again.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UsageService } from "@fujie/api/fujie/trust/v1/usage";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import type { SettingsChange, SourceId } from "@fujie/sandbox";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { APPLICATION, LEGAL_BASIS, type Policy, PURPOSE, type World } from "./world.ts";

/** Sources that bill, each with its addresses. */
const FRONTS = {
  "population-base": ["population-base", "population-base-2"],
  "legal-person-base": ["legal-person-base"],
  partner: ["partner"],
} as const satisfies Record<string, readonly SourceId[]>;
type Billing = keyof typeof FRONTS;
const BILLING = ["population-base", "legal-person-base", "partner"] as const satisfies readonly Billing[];
const ADDRESSES = BILLING.flatMap((source) => FRONTS[source]);
const APPLICATIONS = [APPLICATION, "application-2"];
const DAY_MS = 86_400_000;
const STEP_MS = 1_000;

export interface Run {
  readonly seed: number;
  readonly rounds: number;
  /** Verifications asked at once in a round. */
  readonly perRound: number;
  /** Between rounds: kills or restarts a gateway, say. */
  readonly between?: (random: () => number) => Promise<void>;
}

const FAULTS: readonly SettingsChange[] = [
  { fault: "none" },
  { fault: "none", failNext: 3 },
  { fault: "error" },
  { fault: "drop" },
  { fault: "hang" },
  { fault: "maintenance" },
  { fault: "none", quotaPerSecond: 1 },
];
const SOUND: SettingsChange = { fault: "none", failNext: 0, quotaPerSecond: 1_000_000, maintenance: [] };

/** Mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function claims() {
  const people = (["match", "mismatch", "no-record", "lost-document", "name-variant"] as const).map((outcome) => {
    const { citizenId, name } = NAMED_PEOPLE[outcome].person;
    return { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
  });
  const organisations = (["match", "mismatch", "no-record"] as const).map((outcome) => {
    const { uscc, name } = NAMED_ORGANISATIONS[outcome].organisation;
    return { type: ClaimType.LEGAL_PERSON, uscc, organisationName: name };
  });
  return [...people, ...organisations];
}

/** Two sources that have to agree, and two of which one suffices: calls are replaced, and left when enough is known. */
function severalVoices({ time }: World): NonNullable<Policy["claimPolicies"]> {
  const startTime = timestampFromMs(time.clock.nowMs());
  const voice = (kind: string, rank: number) => ({ source: { case: "kind", value: kind } as const, rank });
  const person = [voice("population-base", 2), voice("partner", 1)];
  const organisation = [voice("legal-person-base", 2), voice("partner", 1)];
  return [
    { policyId: "both", claimType: ClaimType.PERSON_TWO_ELEMENT, startTime, voices: person, needed: 2 },
    { policyId: "either", claimType: ClaimType.LEGAL_PERSON, startTime, voices: organisation, needed: 1 },
  ];
}

/** What the source has received and billed, at all its addresses. */
export async function booksOf(world: World, source: Billing): Promise<{ received: number; billed: number }> {
  const all = await Promise.all(FRONTS[source].map((front) => world.control.counters(front)));
  const sumOf = (figure: "received" | "billed") => all.reduce((sum, counters) => sum + counters[figure], 0);
  return { received: sumOf("received"), billed: sumOf("billed") };
}

/** One question; a refusal by a cap or an overload is an answer too. */
async function ask(world: World, application: string, claim: object, requestId: string): Promise<void> {
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  await world.verifications
    .verify({ requestId, claim, purpose: PURPOSE, ground }, world.as(application))
    .catch(() => undefined);
}

/** Round one is the same for all: a source bills answers that are lost, while another one answers in its place. */
function first(source: SourceId): SettingsChange {
  return source === "legal-person-base" ? { fault: "drop" } : {};
}

/** Runs the rounds and lets everything come to rest. */
export async function runFaults(world: World, { seed, rounds, perRound, between }: Run): Promise<void> {
  const random = randomFrom(seed);
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random() * items.length)];
    assert.ok(item !== undefined);
    return item;
  };
  const all = claims();
  await world.putPolicy({ claimPolicies: severalVoices(world) });
  for (let round = 0; round < rounds; round += 1) {
    for (const source of ADDRESSES)
      await world.control.control(source, { ...SOUND, ...(round === 0 ? first(source) : pick(FAULTS)) });
    const asked = Array.from({ length: perRound }, () => {
      const [application, claim, requestId] = [pick(APPLICATIONS), pick(all), randomUUID()];
      // Now and then the caller repeats himself.
      const times = random() < 0.2 ? 2 : 1;
      return Promise.all(Array.from({ length: times }, () => ask(world, application, claim, requestId)));
    });
    await world.passing(Promise.all(asked));
    await between?.(random);
  }
  for (const source of ADDRESSES) await world.control.control(source, SOUND);
  const waiting = "state = 'PENDING' AND pending_reason = 'SOURCE_AWAY'";
  await hasten(world, async () => (await count(world, "verification", waiting)) === 0, "all are decided");
  await settleLedger(world);
}

/** Lets time pass until every call has its end. */
export async function settleLedger(world: World): Promise<void> {
  const left = () => count(world, "source_check", "call_state IN ('OPEN', 'UNKNOWN')");
  await hasten(world, async () => (await left()) === 0, "every call has its end");
}

/** Lets time pass in large steps, the policy being renewed, until the condition holds. */
export async function hasten(
  world: World,
  holds: () => Promise<boolean>,
  what: string,
  withinMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    world.time.advance(STEP_MS);
    await world.putPolicy();
  }
}

async function count(world: World, table: "verification" | "source_check", where: string): Promise<number> {
  const { rows } = await world.db.query<{ n: number }>(
    `SELECT count(*)::integer AS n FROM trust.${table} WHERE ${where}`,
  );
  return rows[0]?.n ?? -1;
}

export interface Totals {
  readonly answered: number;
  readonly unknown: number;
  readonly shared: number;
  readonly costFen: number;
}

const days = (world: World) => {
  const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  const nowMs = world.time.clock.nowMs();
  return { startDate: dayOf(nowMs - DAY_MS), endDate: dayOf(nowMs + 2 * DAY_MS) };
};

type Figures = {
  readonly answered: bigint;
  readonly unknown: bigint;
  readonly shared: bigint;
  readonly costFen: bigint;
};

function sum(rows: readonly Figures[]): Totals {
  const total = (figure: keyof Figures) => rows.reduce((all, row) => all + Number(row[figure]), 0);
  return { answered: total("answered"), unknown: total("unknown"), shared: total("shared"), costFen: total("costFen") };
}

/** What operators are told of a source, page by page. */
export async function sourceUsage(world: World, sourceId: string): Promise<Totals> {
  const rows: Figures[] = [];
  let pageToken = "";
  do {
    const request = { sourceId, ...days(world), pageSize: 2, pageToken };
    const page = await world.client(UsageService).getSourceUsage(request, world.as(APPLICATION, "trust.sources.read"));
    rows.push(...page.usage);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return sum(rows);
}

/** What an application is told of its own calls to a source. */
export async function applicationUsage(world: World, applicationId: string, sourceId: string): Promise<Totals> {
  const request = { applicationId, ...days(world) };
  const options = world.as(applicationId, "application.read");
  const { usage } = await world.client(UsageService).getUsage(request, options);
  return sum(usage.filter((row) => row.sourceId === sourceId));
}

/** Asserts that both sides' figures are those of the sources themselves, to the last call. */
export async function assertReconciled(world: World, priceFen: Readonly<Record<string, number>>): Promise<void> {
  for (const source of BILLING) {
    const { billed } = await booksOf(world, source);
    assert.ok(billed > 0, `${source} was asked`);
    const seen = await sourceUsage(world, source);
    assert.deepEqual(
      { ...seen, shared: 0 },
      { answered: billed, unknown: 0, shared: 0, costFen: billed * (priceFen[source] ?? 0) },
      source,
    );
    const own = await Promise.all(APPLICATIONS.map((application) => applicationUsage(world, application, source)));
    assert.equal(
      own.reduce((all, { answered }) => all + answered, 0),
      billed,
      `${source}, by application`,
    );
  }
}
