import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { type Adjudication, adjudicate, type Evidence, type EvidencePolicy, isSettled, type Verdict } from "./rules.ts";

const NAMES = ["a", "b", "c", "d"];
const FRESH_SINCE = 1_000;
const anyVerdict = fc.constantFrom<Verdict>("MATCH", "MISMATCH", "NO_RECORD", "UNAVAILABLE", "NOT_CHECKED");
const anyEvidence: fc.Arbitrary<Evidence> = fc.record({
  sourceId: fc.constantFrom(...NAMES, "stranger"),
  verdict: anyVerdict,
  level: fc.integer({ min: 1, max: 3 }),
  checkedAtMs: fc.constantFrom(FRESH_SINCE - 1, FRESH_SINCE, FRESH_SINCE + 1),
});
const anyPolicy: fc.Arbitrary<EvidencePolicy> = fc
  .record({ size: fc.integer({ min: 1, max: 4 }), level: fc.integer({ min: 1, max: 3 }), stale: fc.boolean() })
  .chain(({ size, level, stale }) =>
    fc.record({
      sources: fc
        .array(fc.integer({ min: 1, max: 3 }), { minLength: size, maxLength: size })
        .map((ranks) => ranks.map((rank, i) => ({ sourceId: NAMES[i] ?? "", rank }))),
      quorum: fc.oneof(
        fc.constantFrom({ kind: "all-of" } as const, { kind: "any-of" } as const),
        fc.integer({ min: 1, max: size }).map((k) => ({ kind: "k-of-n", k }) as const),
      ),
      level: fc.constant(level),
      ...(stale ? { freshSinceMs: fc.constant(FRESH_SINCE) } : {}),
    }),
  );
const someEvidence = fc.array(anyEvidence, { maxLength: 8 });

const order = { REJECTED: 0, PENDING: 1, VERIFIED: 2 } as const;
const heightOf = ({ outcome }: Adjudication): number => order[outcome];

function said(sourceId: string, verdict: Verdict, level = 3): Evidence {
  return { sourceId, verdict, level, checkedAtMs: FRESH_SINCE };
}

test("NI-28a law: only positive evidence raises an outcome, and nothing positive lowers it", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, anyEvidence, (policy, evidence, more) => {
      const before = adjudicate(policy, evidence);
      const after = adjudicate(policy, [...evidence, more]);
      if (more.verdict === "MATCH") assert.ok(heightOf(after) >= heightOf(before));
      else assert.ok(heightOf(after) <= heightOf(before));
      if (more.verdict === "UNAVAILABLE" || more.verdict === "NOT_CHECKED") assert.deepEqual(after, before);
    }),
  );
});

test("law: stale evidence, strangers and too low a level never raise an outcome", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, anyEvidence, (policy, evidence, more) => {
      const stale = policy.freshSinceMs !== undefined && more.checkedAtMs < policy.freshSinceMs;
      const strange = !policy.sources.some(({ sourceId }) => sourceId === more.sourceId);
      const low = more.verdict === "MATCH" && more.level < policy.level;
      fc.pre(stale || strange || low);
      assert.deepEqual(adjudicate(policy, [...evidence, more]), adjudicate(policy, evidence));
    }),
  );
});

test("law: an authority's mismatch is not outvoted by weaker sources, however many", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, (policy, evidence) => {
      const top = Math.max(...policy.sources.map(({ rank }) => rank));
      const authority = policy.sources.find(({ rank }) => rank === top);
      fc.pre(authority !== undefined && policy.sources.filter(({ rank }) => rank === top).length === 1);
      const others = evidence.filter(({ sourceId }) => sourceId !== authority?.sourceId);
      const all = [...others, { ...said(authority?.sourceId ?? "", "MISMATCH"), checkedAtMs: FRESH_SINCE }];
      assert.deepEqual(adjudicate(policy, all), { outcome: "REJECTED" });
    }),
  );
});

test("law: order and duplication of evidence do not matter", () => {
  const shuffled = someEvidence.chain((evidence) =>
    fc.record({
      evidence: fc.constant(evidence),
      mixed: fc.shuffledSubarray([...evidence, ...evidence], { minLength: 2 * evidence.length }),
    }),
  );
  fc.assert(
    fc.property(anyPolicy, shuffled, (policy, { evidence, mixed }) => {
      assert.deepEqual(adjudicate(policy, mixed), adjudicate(policy, evidence));
    }),
  );
});

test("law: a source's fault never rejects and never verifies anybody", () => {
  fc.assert(
    fc.property(
      anyPolicy,
      fc.array(anyEvidence.filter(({ verdict }) => verdict === "UNAVAILABLE")),
      (policy, faults) => {
        assert.deepEqual(adjudicate(policy, faults), { outcome: "PENDING", reason: "SOURCE_AWAY" });
      },
    ),
  );
});

test("law: fan-out is settled exactly when no outstanding answer can change the outcome", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, fc.subarray(NAMES), (policy, evidence, names) => {
      const outstanding = names.filter((name) => policy.sources.some(({ sourceId }) => sourceId === name));
      const outcomes = new Set(
        completions(outstanding).map((answers) => adjudicate(policy, [...evidence, ...answers]).outcome),
      );
      assert.equal(isSettled(policy, evidence, new Set(outstanding)), outcomes.size === 1);
    }),
  );
});

/** Every way in which these sources may answer or not. */
function completions(sources: readonly string[]): Evidence[][] {
  const [first, ...rest] = sources;
  if (first === undefined) return [[]];
  const verdicts: Verdict[] = ["MATCH", "MISMATCH", "NO_RECORD", "UNAVAILABLE"];
  return completions(rest).flatMap((others) => verdicts.map((verdict) => [said(first, verdict), ...others]));
}

const one: EvidencePolicy = { sources: [{ sourceId: "a", rank: 2 }], quorum: { kind: "all-of" }, level: 2 };
const two: EvidencePolicy = {
  sources: [
    { sourceId: "a", rank: 2 },
    { sourceId: "b", rank: 1 },
  ],
  quorum: { kind: "any-of" },
  level: 1,
};

test("SZ-13.4 one required source decides alone: match, mismatch, no record, outage", () => {
  assert.deepEqual(adjudicate(one, [said("a", "MATCH", 2)]), { outcome: "VERIFIED", level: 2 });
  assert.deepEqual(adjudicate(one, [said("a", "MISMATCH")]), { outcome: "REJECTED" });
  assert.deepEqual(adjudicate(one, [said("a", "NO_RECORD")]), { outcome: "REJECTED" });
  assert.deepEqual(adjudicate(one, []), { outcome: "PENDING", reason: "SOURCE_AWAY" });
});

test("SZ-3.4 the word of a source that the policy does not name counts for nothing", () => {
  assert.deepEqual(adjudicate(one, [said("b", "MATCH")]), { outcome: "PENDING", reason: "SOURCE_AWAY" });
});

test("where the policy takes either, one that is there suffices, and only the authority can outweigh the other", () => {
  assert.deepEqual(adjudicate(two, [said("b", "MISMATCH")]), { outcome: "PENDING", reason: "SOURCE_AWAY" });
  assert.deepEqual(adjudicate(two, [said("b", "MATCH", 1)]), { outcome: "VERIFIED", level: 1 });
  assert.equal(isSettled(two, [said("b", "MATCH", 1)], new Set(["a"])), false);
  assert.deepEqual(adjudicate(two, [said("a", "MATCH", 2), said("b", "MISMATCH")]), { outcome: "VERIFIED", level: 2 });
});

test("sources of one rank that disagree, and a source that contradicts itself, go to a person", () => {
  const equals: EvidencePolicy = { ...two, sources: two.sources.map((source) => ({ ...source, rank: 1 })) };
  const review = { outcome: "PENDING", reason: "REVIEW" };
  assert.deepEqual(adjudicate(equals, [said("a", "MATCH"), said("b", "MISMATCH")]), review);
  assert.deepEqual(adjudicate(one, [said("a", "MATCH"), said("a", "MISMATCH")]), review);
});

test("a policy without sources, with a source twice, or that nobody can meet is refused", () => {
  assert.throws(() => adjudicate({ ...one, sources: [] }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, sources: [...one.sources, ...one.sources] }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, quorum: { kind: "k-of-n", k: 2 } }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, level: 4 }, []), RangeError);
});
