import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { Verdict, type VerificationDecided, VerificationDecidedSchema } from "@fujie/api/fujie/trust/v1/evidence";
import { ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { isUniqueViolation } from "@fujie/kit/db";
import { NAMED_PEOPLE, type SyntheticPerson } from "@fujie/sandbox/people";
import fc from "fast-check";
import { startWorld, type World } from "./world.ts";

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await world.putPolicy();
  await world.heal("population-base");
});

const { match, mismatch } = NAMED_PEOPLE;
const noRecord = NAMED_PEOPLE["no-record"];

function question({ citizenId, name }: SyntheticPerson, reference: string = randomUUID()) {
  const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
  return { requestId: randomUUID(), reference, claim };
}

async function collect(person: SyntheticPerson, reference?: string): Promise<VerificationDecided> {
  const { decision } = await world.passing(world.evidence.collectEvidence(question(person, reference)));
  assert.ok(decision !== undefined);
  return decision;
}

/** The decisions that the feed has carried so far, from its beginning. */
async function fed(): Promise<VerificationDecided[]> {
  const { rows } = await world.db.query<{ value: Buffer; type_url: string }>(
    "SELECT type_url, value FROM kit.feed_event WHERE topic = 'trust.verifications' ORDER BY tx, seq",
  );
  return rows.flatMap(({ type_url, value }) => {
    const event = anyUnpack({ $typeName: "google.protobuf.Any", typeUrl: type_url, value }, VerificationDecidedSchema);
    return event === undefined ? [] : [event];
  });
}

const fedFor = async (reference: string) => (await fed()).filter((event) => event.reference === reference);

test("NI-28a, NI-31 the registry learns which source said what: match, mismatch, no record, unavailable told apart", async () => {
  const words = async (person: SyntheticPerson) => {
    const { outcome, evidence } = await collect(person);
    return [outcome, ...evidence.map(({ sourceId, verdict, level }) => [sourceId, verdict, level])];
  };
  assert.deepEqual(await words(match.person), [Outcome.VERIFIED, ["population-base", Verdict.MATCH, 2]]);
  assert.deepEqual(await words(mismatch.person), [Outcome.REJECTED, ["population-base", Verdict.MISMATCH, 2]]);
  assert.deepEqual(await words(noRecord.person), [Outcome.REJECTED, ["population-base", Verdict.NO_RECORD, 2]]);
  await world.control.control("population-base", { fault: "maintenance" });
  assert.deepEqual(await words(match.person), [Outcome.PENDING, ["population-base", Verdict.UNAVAILABLE, 0]]);
});

test("SZ-13.4 an outage gives PENDING; it completes by itself and tells the registry exactly once", async () => {
  const reference = randomUUID();
  await world.control.control("population-base", { fault: "error" });
  assert.equal((await collect(match.person, reference)).outcome, Outcome.PENDING);
  assert.deepEqual(await fedFor(reference), []);
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await fedFor(reference)).length > 0, "the decision on the feed");
  world.time.advance(120_000);
  await world.putPolicy();
  await world.until(() => world.time.sleeping() > 0, "a sweep has passed");
  const [event, ...more] = await fedFor(reference);
  assert.deepEqual([event?.outcome, event?.level, more.length], [Outcome.VERIFIED, 2, 0]);
});

test("the feed streams decisions to the registry", async () => {
  const reference = randomUUID();
  await collect(match.person, reference);
  const stop = new AbortController();
  const stream = world.client(FeedService).watch({ topic: "trust.verifications" }, { signal: stop.signal });
  const told = async () => {
    for await (const { event } of stream) {
      const decided = event && anyUnpack(event, VerificationDecidedSchema);
      if (decided?.reference === reference) return;
    }
  };
  await world.passing(told());
  stop.abort();
});

test("the same request_id gives the first answer and never a second paid call", async () => {
  const asked = question(match.person);
  const first = await world.evidence.collectEvidence(asked);
  assert.deepEqual(await world.evidence.collectEvidence(asked), first);
  assert.equal((await world.control.counters("population-base")).billed, 1);
});

test("an answer that is lost on the way is fetched by its bizSeq: paid once", async () => {
  const reference = randomUUID();
  await world.control.control("population-base", { fault: "drop" });
  // At once, or on a busy machine a little later by the sweeper: what counts is that the base is paid once.
  await collect(match.person, reference);
  await world.until(async () => (await fedFor(reference)).length === 1, "the decision on the feed");
  assert.equal((await fedFor(reference))[0]?.outcome, Outcome.VERIFIED);
  const [base, second] = await Promise.all([
    world.control.counters("population-base"),
    world.control.counters("population-base-2"),
  ]);
  assert.equal(base.billed, 1);
  assert.equal((base.byRefusal.dropped ?? 0) + (second.byRefusal.dropped ?? 0), 1);
});

test("a source that hangs costs its timeout and nothing else, and the verification completes later", async () => {
  const reference = randomUUID();
  await world.control.control("population-base", { fault: "hang" });
  assert.equal((await collect(match.person, reference)).outcome, Outcome.PENDING);
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await fedFor(reference)).length === 1, "the decision on the feed");
  assert.equal((await world.control.counters("population-base")).billed, 1);
});

test("evidence that somebody wrote into the database counts for nothing", async () => {
  const reference = randomUUID();
  await world.control.control("population-base", { fault: "maintenance" });
  const { verificationId } = await collect(mismatch.person, reference);
  const forged = { text: "UPDATE trust.evidence SET verdict = 'MATCH', level = 3 WHERE verification_id = $1" };
  await world.stop();
  await world.admin.query({ ...forged, values: [verificationId] });
  await world.restart();
  await world.control.control("population-base", { fault: "none" });
  await world.until(async () => (await fedFor(reference)).length === 1, "the decision");
  assert.equal((await fedFor(reference))[0]?.outcome, Outcome.REJECTED);
  assert.ok(world.logged.some((line) => line.includes("wrong MAC")));
  const isTold = () => world.events.some(({ type }) => type === "evidence.discarded");
  await world.until(isTold, "the audit log is told");
  const text = "SELECT verdict FROM trust.evidence WHERE verification_id = $1";
  const { rows } = await world.db.query<{ verdict: string }>({ text, values: [verificationId] });
  assert.deepEqual(rows, [{ verdict: "MISMATCH" }]);
});

test("a bizSeq exists once", async () => {
  const copy = `INSERT INTO trust.source_check SELECT verification_id, 'another', biz_seq, nonce, asked_at_ms
    FROM trust.source_check LIMIT 1`;
  await assert.rejects(world.db.query(copy), (error) => isUniqueViolation(error, "source_check_biz_seq_key"));
});

test("whatever the faults, nobody is verified wrongly and everybody is decided in the end, paid once each", async () => {
  const people = [match, mismatch, noRecord].map(({ person }) => person);
  const right = new Map([
    [match.person, Outcome.VERIFIED],
    [mismatch.person, Outcome.REJECTED],
    [noRecord.person, Outcome.REJECTED],
  ]);
  const step = fc.record({
    fault: fc.constantFrom("none", "error", "drop", "maintenance", "hang"),
    failNext: fc.integer({ min: 0, max: 3 }),
    person: fc.constantFrom(...people),
  });
  await world.restart({ FUJIE_SOURCE_TIMEOUT_MS: "60", FUJIE_IDENTIFIER_PER_DAY_MAX: "100000" });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 5 }), async (steps) => {
      await world.control.reset("population-base");
      const asked: { reference: string; person: SyntheticPerson }[] = [];
      for (const { fault, failNext, person } of steps) {
        await world.control.control("population-base", { fault, failNext });
        const reference = randomUUID();
        const { outcome } = await collect(person, reference);
        assert.ok(outcome === Outcome.PENDING || outcome === right.get(person));
        asked.push({ reference, person });
      }
      await world.control.control("population-base", { fault: "none", failNext: 0 });
      const decided = async () =>
        (await fed()).filter((event) => asked.some((each) => each.reference === event.reference));
      await world.until(async () => (await decided()).length >= asked.length, "all are decided");
      const events = await decided();
      assert.equal(events.length, asked.length);
      for (const { reference, person } of asked) {
        assert.equal(events.find((event) => event.reference === reference)?.outcome, right.get(person));
      }
      assert.equal((await world.control.counters("population-base")).billed, asked.length);
    }),
    { numRuns: 6 },
  );
});
