import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import {
  type Adjudication,
  adjudicate,
  type Evidence,
  type EvidencePolicy,
  isEnough,
  isSettled,
  type Verdict,
} from "./rules.ts";

const NAMES = ["a", "b", "c", "d"];
const FRESH_SINCE = 1_000;
const anyVerdict = fc.constantFrom<Verdict>("MATCH", "MISMATCH", "NO_RECORD", "VARIANT", "UNAVAILABLE", "NOT_CHECKED");
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
      // One or two sources for a voice, as long as there are sources.
      voices: fc
        .array(fc.integer({ min: 1, max: 3 }), { minLength: size, maxLength: size })
        .chain((ranks) =>
          fc
            .array(fc.nat(size - 1), { minLength: NAMES.length, maxLength: NAMES.length })
            .map((owners) =>
              ranks.map((rank, i) => ({ sourceIds: NAMES.filter((_, source) => owners[source] === i), rank })),
            ),
        ),
      needed: fc.integer({ min: 1, max: size }),
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
      else if (more.verdict === "VARIANT") assert.ok(after.outcome !== "VERIFIED" || before.outcome === "VERIFIED");
      else assert.ok(heightOf(after) <= heightOf(before));
      if (more.verdict === "UNAVAILABLE" || more.verdict === "NOT_CHECKED") assert.deepEqual(after, before);
    }),
  );
});

test("law: stale evidence, strangers and too low a level never raise an outcome", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, anyEvidence, (policy, evidence, more) => {
      const stale = policy.freshSinceMs !== undefined && more.checkedAtMs < policy.freshSinceMs;
      const strange = !policy.voices.some(({ sourceIds }) => sourceIds.includes(more.sourceId));
      const low = more.verdict === "MATCH" && more.level < policy.level;
      fc.pre(stale || strange || low);
      assert.deepEqual(adjudicate(policy, [...evidence, more]), adjudicate(policy, evidence));
    }),
  );
});

test("law: an authority's mismatch is not outvoted by weaker sources, however many", () => {
  fc.assert(
    fc.property(anyPolicy, someEvidence, (policy, evidence) => {
      const top = Math.max(...policy.voices.map(({ rank }) => rank));
      const highest = policy.voices.filter(({ rank }) => rank === top);
      const authority = highest[0]?.sourceIds ?? [];
      fc.pre(authority[0] !== undefined && highest.length === 1);
      const others = evidence.filter(({ sourceId }) => !authority.includes(sourceId));
      const all = [...others, { ...said(authority[0] ?? "", "MISMATCH"), checkedAtMs: FRESH_SINCE }];
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
      const outstanding = names.filter((name) => policy.voices.some(({ sourceIds }) => sourceIds.includes(name)));
      const outcomes = new Set(
        completions(outstanding).map((answers) => adjudicate(policy, [...evidence, ...answers]).outcome),
      );
      assert.equal(isSettled(policy, evidence, new Set(outstanding)), outcomes.size === 1);
    }),
  );
});

test("law: one that has fallen silent is waited for unless the others' words decide as they do where it gives no answer", () => {
  const names = fc.subarray(NAMES);
  fc.assert(
    fc.property(anyPolicy, someEvidence, names, names, (policy, evidence, outstanding, some) => {
      const all = new Set(outstanding);
      const silent = outstanding.filter((name) => some.includes(name));
      const rest = new Set(outstanding.filter((name) => !some.includes(name)));
      const enough = isEnough(policy, evidence, all, new Set(silent));
      // Silence hastens decisions and nothing else: what is undecided is waited for, whoever it is.
      const ends = adjudicate(policy, [...evidence, ...silent.map((name) => said(name, "UNAVAILABLE"))]);
      const hastened = silent.length > 0 && ends.outcome !== "PENDING" && isSettled(policy, evidence, rest);
      assert.equal(enough, isSettled(policy, evidence, all) || hastened);
      // Nobody is refused whom an answer of the silent ones would have verified.
      const agreeing = silent.map((name) => said(name, "MATCH", 3));
      const heard = adjudicate(policy, [...evidence, ...agreeing]);
      assert.ok(!enough || ends.outcome !== "REJECTED" || heard.outcome !== "VERIFIED");
    }),
  );
});

/** Every way in which these sources may answer or not. */
function completions(sources: readonly string[]): Evidence[][] {
  const [first, ...rest] = sources;
  if (first === undefined) return [[]];
  const verdicts: Verdict[] = ["MATCH", "MISMATCH", "NO_RECORD", "VARIANT", "UNAVAILABLE"];
  return completions(rest).flatMap((others) => verdicts.map((verdict) => [said(first, verdict), ...others]));
}

const one: EvidencePolicy = { voices: [{ sourceIds: ["a"], rank: 2 }], needed: 1, level: 2 };
const two: EvidencePolicy = {
  voices: [
    { sourceIds: ["a"], rank: 2 },
    { sourceIds: ["b"], rank: 1 },
  ],
  needed: 1,
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
  const equals: EvidencePolicy = { ...two, voices: two.voices.map((voice) => ({ ...voice, rank: 1 })) };
  const review = { outcome: "PENDING", reason: "REVIEW" };
  assert.deepEqual(adjudicate(equals, [said("a", "MATCH"), said("b", "MISMATCH")]), review);
  assert.deepEqual(adjudicate(one, [said("a", "MATCH"), said("a", "MISMATCH")]), review);
});

test("a possible variant of a name goes to a person, unless a higher authority is clear", () => {
  const review = { outcome: "PENDING", reason: "REVIEW" };
  assert.deepEqual(adjudicate(one, [said("a", "VARIANT")]), review);
  assert.deepEqual(adjudicate(two, [said("a", "MATCH", 2), said("b", "VARIANT")]), { outcome: "VERIFIED", level: 2 });
  assert.deepEqual(adjudicate(two, [said("a", "MISMATCH"), said("b", "VARIANT")]), { outcome: "REJECTED" });
});

test("one of several sources speaks for their voice, and they outvote nobody by their number", () => {
  const kind: EvidencePolicy = {
    voices: [
      { sourceIds: ["a", "b"], rank: 1 },
      { sourceIds: ["c"], rank: 1 },
    ],
    needed: 2,
    level: 1,
  };
  assert.deepEqual(
    adjudicate(kind, [said("a", "UNAVAILABLE"), said("b", "MATCH"), said("c", "MATCH")]).outcome,
    "VERIFIED",
  );
  assert.deepEqual(adjudicate(kind, [said("a", "MATCH"), said("b", "MATCH")]), {
    outcome: "PENDING",
    reason: "SOURCE_AWAY",
  });
});

test("a policy without voices, with a source twice, or that nobody can meet is refused", () => {
  assert.throws(() => adjudicate({ ...one, voices: [] }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, voices: [...one.voices, ...one.voices] }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, needed: 2 }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, needed: 0 }, []), RangeError);
  assert.throws(() => adjudicate({ ...one, level: 4 }, []), RangeError);
});
