import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeLabelledSet } from "../../tests/labelled-set.ts";
import { type ActorDay, activityOf, mergeActivity, type Observed, summariseActivity } from "./activity.ts";
import {
  dayOf,
  dayStartMs,
  formatDay,
  hourOf,
  parseDay,
  parseQuarter,
  quarterBefore,
  quarterOf,
} from "./china-time.ts";
import { detect, detectorNames, type Finding } from "./detectors.ts";
import { THRESHOLDS_VERSION, thresholds } from "./thresholds.ts";

const QUARTER = quarterOf(Date.UTC(2026, 7, 1));
const SEEDS = [1, 20_260_930];

function findingsIn(entries: readonly Observed[]): Finding[] {
  const byActor = Map.groupBy(summariseActivity(entries), ({ actor }) => actor);
  return [...byActor.values()].flatMap((days) => {
    const inOrder: ActorDay[] = days.toSorted((a, b) => a.day - b.day);
    return detect(inOrder, thresholds[THRESHOLDS_VERSION], dayOf(QUARTER.startMs));
  });
}

test("SU-7.3.1c every planted anomaly is found, with a precision of at least 0.95 for each detector", (t) => {
  for (const seed of SEEDS) {
    const { entries, planted } = makeLabelledSet(seed, QUARTER, true);
    const findings = findingsIn(entries);
    const isPlanted = (found: Finding) =>
      planted.some(
        ({ detector, actor, day }) => detector === found.detector && actor === found.actor && day === found.day,
      );
    for (const name of detectorNames) {
      const found = findings.filter(({ detector }) => detector === name);
      const wanted = planted.filter(({ detector }) => detector === name);
      const right = found.filter(isPlanted).length;
      const recall = right / wanted.length;
      const precision = right / Math.max(1, found.length);
      t.diagnostic(`seed ${seed} ${name}: precision ${precision.toFixed(2)}, recall ${recall.toFixed(2)}`);
      assert.ok(wanted.length >= 6, name);
      assert.equal(recall, 1, `${name}: recall`);
      assert.ok(precision >= 0.95, `${name}: precision ${precision}`);
    }
  }
});

test("SU-7.3.1c a quarter of ordinary activity gives no finding", (t) => {
  for (const seed of SEEDS) {
    const { entries } = makeLabelledSet(seed, QUARTER, false);
    t.diagnostic(`seed ${seed}: ${entries.length} events`);
    assert.ok(entries.length > 30_000);
    assert.deepEqual(findingsIn(entries), []);
  }
});

test("activity sums up to the same whatever the order and the batches", () => {
  const observed: fc.Arbitrary<Observed> = fc.record({
    timeMs: fc.integer({ min: dayStartMs(20_000), max: dayStartMs(20_001) - 1 }),
    type: fc.constantFrom("session.started", "counter.searched", "registration.confirmed", "entry.read"),
    outcome: fc.constantFrom("SUCCESS", "REFUSED"),
    actor: fc.constant("somebody"),
    subject: fc.constantFrom("", "a", "b"),
    purpose: fc.constantFrom("", "review"),
    network: fc.constantFrom("", "x", "y"),
  });
  fc.assert(
    fc.property(fc.array(observed, { minLength: 2, maxLength: 12 }), fc.nat(10), (entries, cut) => {
      const at = 1 + (cut % (entries.length - 1));
      const whole = entries.map((entry) => activityOf([entry])).reduce(mergeActivity);
      const parts = mergeActivity(activityOf(entries.slice(at)), activityOf(entries.slice(0, at)));
      const comparable = ({ refusedSubjects, signIns, ...rest }: typeof whole) => ({
        ...rest,
        subjects: refusedSubjects.toSorted(),
        signIns: signIns.map(({ timeMs, network }) => `${timeMs} ${network}`).sort(),
      });
      assert.deepEqual(comparable(parts), comparable(whole));
    }),
  );
});

test("days and quarters are those of China Standard Time", () => {
  const newYear = Date.parse("2026-12-31T16:00:00Z");
  assert.deepEqual([formatDay(dayOf(newYear)), formatDay(dayOf(newYear - 1))], ["2027-01-01", "2026-12-31"]);
  assert.deepEqual([hourOf(newYear), hourOf(newYear - 1)], [0, 23]);
  assert.deepEqual([quarterOf(newYear).name, quarterOf(newYear - 1).name], ["2027-Q1", "2026-Q4"]);
  assert.equal(quarterBefore(quarterOf(newYear)).endMs, newYear);
  assert.deepEqual(parseQuarter("2026-Q4"), quarterOf(newYear - 1));
  assert.equal(parseQuarter("2026-Q5"), undefined);
  assert.equal(parseDay("2026-02-29"), undefined);
  assert.equal(parseDay("2026-12-31"), dayOf(newYear - 1));
});
