/**
 * Any mix of faults at all sources at once, under policies of every shape, with gateways that end in between, and
 * questions about people and organisations of whom the truth is known. Whatever happens:
 *
 *   - nobody is VERIFIED whom a source would not vouch for, and nobody REJECTED for a source's fault;
 *   - every question is decided in the end, or lies with a person because sources said different things;
 *   - the ledger is the sources' own books, to the last call.
 *
 * Everything is drawn from the seed, which is printed; FUJIE_SEED runs one again.
 */
import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import type { SettingsChange } from "@fujie/sandbox";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE, organisationAt, personAt } from "@fujie/sandbox/people";
import { booksOf, hasten, randomFrom, settleLedger, sourceUsage } from "./ledger.ts";
import { APPLICATION, LEGAL_BASIS, type Policy, PURPOSE, startWorld, type World } from "./world.ts";

const seed = Number(process.env["FUJIE_SEED"] ?? randomInt(2 ** 31));
/** So many, or as many as a slow machine has time for. */
const ROUNDS_MAX = 60;
const LASTS_MS = 600_000;
/** Fewer questions prove nothing. */
const QUESTIONS_MIN = 1_000;
const PER_ROUND = 50;
const AT_ONCE = 25;
/** A negative word is used again for so long at most. */
const NEGATIVE_MS = 60_000;
const APPLICATIONS = [APPLICATION, "application-2"];
const ADDRESSES = ["population-base", "population-base-2", "legal-person-base", "partner"] as const;
type Address = (typeof ADDRESSES)[number];
/** Each source's own books, and under which ids the gateway keeps its own. */
const BOOKS = {
  "population-base": ["population-base"],
  "legal-person-base": ["legal-person-base"],
  partner: ["partner"],
} as const;
const SOUND: SettingsChange = {
  fault: "none",
  failNext: 0,
  latencyMs: 0,
  noRecord: false,
  quotaPerSecond: 1_000_000,
  identifierPerDay: 1_000_000,
  maintenance: [],
};

interface Subject {
  readonly claim: { readonly type: ClaimType } & Readonly<Record<string, string | ClaimType>>;
  readonly truth: "VERIFIED" | "REJECTED" | "REVIEW";
}

interface Asked extends Subject {
  readonly application: string;
  readonly requestId: string;
  verificationId?: string;
}

const truths: Readonly<Record<string, Subject["truth"]>> = {
  match: "VERIFIED",
  mismatch: "REJECTED",
  "no-record": "REJECTED",
  "name-variant": "REVIEW",
};

function subjects(): readonly Subject[] {
  const people = [
    ...(["match", "mismatch", "no-record", "name-variant"] as const).map((outcome) => NAMED_PEOPLE[outcome].person),
    ...Array.from({ length: 400 }, (_, i) => personAt(i)),
  ];
  const organisations = [
    ...(["match", "mismatch", "no-record"] as const).map((outcome) => NAMED_ORGANISATIONS[outcome].organisation),
    ...Array.from({ length: 60 }, (_, i) => organisationAt(i)),
  ];
  return [
    ...people.flatMap(({ citizenId, name, outcome }) => {
      const truth = truths[outcome];
      const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
      return truth === undefined ? [] : [{ claim, truth }];
    }),
    ...organisations.flatMap(({ uscc, name, outcome }) => {
      const truth = truths[outcome];
      const claim = { type: ClaimType.LEGAL_PERSON, uscc, organisationName: name };
      return truth === undefined ? [] : [{ claim, truth }];
    }),
  ];
}

/** Draws: whole numbers below a bound, members, and whether something of a share happens. */
function drawing(random: () => number) {
  const below = (bound: number) => Math.floor(random() * bound);
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[below(items.length)];
    assert.ok(item !== undefined);
    return item;
  };
  return { below, pick, happens: (share: number) => random() < share };
}
type Drawing = ReturnType<typeof drawing>;

function drawSettings({ below, pick, happens }: Drawing, nowMs: number): SettingsChange {
  if (happens(0.3)) return {};
  const window = () => {
    const startMs = nowMs + below(5_000);
    return {
      startTime: new Date(startMs).toISOString(),
      endTime: new Date(startMs + 1 + below(20_000)).toISOString(),
    };
  };
  return {
    ...pick<SettingsChange>([
      {},
      { fault: "error" },
      { fault: "hang" },
      { fault: "drop" },
      { fault: "maintenance" },
      { failNext: 1 + below(8) },
      { quotaPerSecond: 1 + below(5) },
      { maintenance: [window()] },
    ]),
    ...(happens(0.3) ? { latencyMs: 1 + below(60_000) } : {}),
    ...(happens(0.1) ? { noRecord: true } : {}),
  };
}

type ClaimPolicy = NonNullable<Policy["claimPolicies"]>[number];

/** All or any of the sources there are, of equal or different weight. */
function drawPolicy({ below, pick, happens }: Drawing, claimType: ClaimType, policyId: string): ClaimPolicy {
  const base = claimType === ClaimType.PERSON_TWO_ELEMENT ? "population-base" : "legal-person-base";
  const kinds = happens(0.8) ? [base, "partner"] : [base];
  const rankOf = pick([() => 1, (place: number) => 3 - place, (place: number) => (place === 0 ? 2 : 1)]);
  const voices = kinds.map((id, place) => ({ source: { case: "sourceId", value: id } as const, rank: rankOf(place) }));
  return { policyId, claimType, voices, needed: 1 + below(kinds.length), reuseSeconds: pick([0, 0, 30, 3_600]) };
}

/** From now on another policy judges; what was asked before is judged under its own. */
function replacePolicies(policies: readonly ClaimPolicy[], drawn: readonly ClaimPolicy[], nowMs: number) {
  const now = timestampFromMs(nowMs);
  const ended = policies.map((policy) => (policy.endTime === undefined ? { ...policy, endTime: now } : policy));
  return [...ended, ...drawn.map((policy) => ({ ...policy, startTime: now }))];
}

/** Asks, and notes under what; a refusal, or a gateway that ends meanwhile, leaves the question to be asked again. */
async function ask(world: World, asked: Asked): Promise<void> {
  const { application, claim, requestId } = asked;
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const question = { requestId, claim, purpose: PURPOSE, ground };
  const answer = await world.verifications.verify(question, world.as(application)).catch(() => undefined);
  const { verificationId } = answer?.verification ?? {};
  if (verificationId !== undefined) asked.verificationId = verificationId;
}

async function steer(world: World, settingsOf: (address: Address) => SettingsChange): Promise<void> {
  for (const address of ADDRESSES) await world.control.control(address, { ...SOUND, ...settingsOf(address) });
}

interface Row {
  readonly id: string;
  readonly state: "PENDING" | "VERIFIED" | "REJECTED";
  readonly reason: "SOURCE_AWAY" | "REVIEW" | null;
  readonly fromMs: number;
  readonly toMs: number | null;
}

async function readOutcomes({ db }: World): Promise<ReadonlyMap<string, Row>> {
  const { rows } = await db.query<Row>(
    `SELECT verification_id AS id, state, pending_reason AS reason, created_at_ms::float AS "fromMs",
       decided_at_ms::float AS "toMs" FROM trust.verification`,
  );
  return new Map(rows.map((row) => [row.id, row]));
}

type Span = { readonly fromMs: number; toMs: number };

/** What is wrong with how a question ended, if anything. `blank`: when a source told that it has nobody on file. */
function faultOf({ truth }: Subject, row: Row | undefined, blank: readonly Span[]): string | undefined {
  if (row === undefined) return "it is gone";
  const { state, reason, fromMs, toMs } = row;
  if (state === "PENDING") return reason === "REVIEW" ? undefined : "never decided";
  if (state === "VERIFIED") return truth === "VERIFIED" ? undefined : `VERIFIED, and the truth is ${truth}`;
  const untilMs = toMs ?? Number.POSITIVE_INFINITY;
  const wasBlank = blank.some((span) => span.fromMs <= untilMs && span.toMs + NEGATIVE_MS >= fromMs);
  return truth === "REJECTED" || wasBlank ? undefined : `REJECTED, and the truth is ${truth}`;
}

/** How calls end at a source that is ill, in its own words. */
const FAULTS = ["away", "failed", "hung", "dropped", "limited"] as const;

/** Whether several sources are ill at once. */
function isMix(settings: Iterable<SettingsChange>): boolean {
  return [...settings].filter((each) => Object.keys(each).length > 0).length > 1;
}

/** How many calls met which fault, at all sources: each fault was met. */
async function faultsMet({ control }: World): Promise<Readonly<Record<string, number>>> {
  const met: Record<string, number> = {};
  for (const address of ADDRESSES) {
    const { byRefusal } = await control.counters(address);
    for (const [fault, calls = 0] of Object.entries(byRefusal)) met[fault] = (met[fault] ?? 0) + calls;
  }
  for (const fault of FAULTS) assert.ok((met[fault] ?? 0) > 0, `nobody met the fault ${fault}`);
  return met;
}

test(`NI-31 SZ-13.4 no wrong accept under any mix of faults, policies and restarts (seed ${seed})`, async (t) => {
  const draw = drawing(randomFrom(seed));
  await using world = await startWorld({
    FUJIE_IDENTIFIER_PER_DAY_MAX: "1000000",
    FUJIE_PENDING_RETRY_MAX_MS: "2000",
  });
  const { clock } = world.time;
  world.latency.take = (ms) => (ms > 1_000 ? world.time.timers.sleep(Math.min(ms, 2_000)) : Promise.resolve());
  const all = subjects();
  const questions: Asked[] = [];
  const blank: Span[] = [];
  let restarts = 0;
  let mixes = 0;

  const endsAtMs = performance.now() + LASTS_MS;
  for (let round = 0; round < ROUNDS_MAX && performance.now() < endsAtMs; round += 1) {
    const types = [ClaimType.PERSON_TWO_ELEMENT, ClaimType.LEGAL_PERSON];
    const drawn = types.map((type) => drawPolicy(draw, type, `round-${round}-${ClaimType[type].toLowerCase()}`));
    world.time.advance(1);
    const claimPolicies = replacePolicies(world.policy.claimPolicies ?? [], drawn, clock.nowMs());
    await world.putPolicy({ claimPolicies });
    const settings = new Map(ADDRESSES.map((address) => [address, drawSettings(draw, clock.nowMs())]));
    mixes += Number(isMix(settings.values()));
    const isBlank = [...settings.values()].some(({ noRecord }) => noRecord === true);
    const span = { fromMs: clock.nowMs(), toMs: Number.POSITIVE_INFINITY };
    if (isBlank) blank.push(span);
    await steer(world, (address) => settings.get(address) ?? {});
    for (let done = 0; done < PER_ROUND; done += AT_ONCE) {
      const some = Array.from({ length: AT_ONCE }, () => ({
        ...draw.pick(all),
        application: draw.pick(APPLICATIONS),
        requestId: randomUUID(),
      }));
      questions.push(...some);
      const asking = Promise.all(
        some.flatMap((each) => (draw.happens(0.2) ? [each, each] : [each])).map((each) => ask(world, each)),
      );
      if (draw.happens(0.1)) {
        restarts += 1;
        await world.restart();
        await world.putPolicy();
      }
      await world.passing(asking);
    }
    await steer(world, () => ({}));
    span.toMs = clock.nowMs();
  }

  // All is well again: who was refused or cut off asks again under the same request_id.
  for (const pass of [1, 2, 3]) {
    const left = questions.filter(({ verificationId }) => verificationId === undefined);
    while (left.length > 0) await world.passing(Promise.all(left.splice(0, AT_ONCE).map((each) => ask(world, each))));
    t.diagnostic(`pass ${pass}: ${questions.filter(({ verificationId }) => verificationId === undefined).length} left`);
  }
  const isDecided = ({ state, reason }: Row) => state !== "PENDING" || reason === "REVIEW";
  const areDecided = async () => [...(await readOutcomes(world)).values()].every(isDecided);
  await hasten(world, areDecided, "all are decided", 180_000);
  await settleLedger(world);

  const outcomes = await readOutcomes(world);
  const tally = new Map<string, number>();
  const faults = questions.flatMap((each) => {
    const row = each.verificationId === undefined ? undefined : outcomes.get(each.verificationId);
    const ended = `${each.truth} ${row?.state === "PENDING" ? row.reason : row?.state}`;
    tally.set(ended, (tally.get(ended) ?? 0) + 1);
    const fault = faultOf(each, row, blank);
    return fault === undefined ? [] : [`${each.verificationId}: ${fault}`];
  });
  t.diagnostic(`seed ${seed}: ${questions.length} questions, ${restarts} restarts, ${JSON.stringify([...tally])}`);
  t.diagnostic(`${mixes} rounds with several faults at once, calls by fault ${JSON.stringify(await faultsMet(world))}`);
  assert.deepEqual(faults, []);
  assert.ok(questions.length >= QUESTIONS_MIN && restarts > 0 && mixes > 0);
  for (const [source, ids] of Object.entries(BOOKS)) {
    assert.ok(source in BOOKS);
    const seen = await Promise.all(ids.map((id) => sourceUsage(world, id)));
    const { billed } = await booksOf(world, source as keyof typeof BOOKS);
    assert.equal(
      seen.reduce((sum, { answered }) => sum + answered, 0),
      billed,
      `${source}: the ledger and its books`,
    );
    assert.ok(billed > 0 && seen.every(({ unknown }) => unknown === 0));
  }
});
