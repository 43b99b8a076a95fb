import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import {
  adjudicate,
  type Evidence,
  type EvidencePolicy,
  isSettled,
  standingOf,
  type Verdict,
} from "../evidence/rules.ts";
import type { Hindrance } from "../sources/guard.ts";
import type { ClaimPolicy, PolicyVoice } from "./claim-policy.ts";
import { type Candidate, evidencePolicyOf, explainPlan, NOTHING_YET, nextToAsk, type Wanted } from "./rules.ts";

const CLAIM = "PERSON_TWO_ELEMENT";
const wanted: Wanted = { claimType: CLAIM, level: 2, deadlineMs: 1_000 };
const base: Candidate = {
  id: "population-base",
  kind: "population-base",
  claimTypes: [CLAIM],
  level: 2,
  priceFen: 30,
  latencyMs: 80,
  enabled: true,
};
const partner: Candidate = { ...base, id: "partner", kind: "partner", level: 3, priceFen: 1, latencyMs: 1 };

function policyOf(voices: readonly PolicyVoice[], needed = voices.length): ClaimPolicy {
  return { id: "p", claimType: CLAIM, startMs: 0, voices, needed, reuseMs: 0, faceThreshold: 0, sm2Receipt: false };
}

function firstOf(policy: ClaimPolicy, candidates: readonly Candidate[], want = wanted): readonly string[] | undefined {
  const judged = evidencePolicyOf(policy, want, candidates);
  return judged && nextToAsk(judged, candidates, want.deadlineMs, NOTHING_YET);
}

const onlyBase = policyOf([{ kind: "population-base", rank: 1 }]);
const either = policyOf(
  [
    { kind: "population-base", rank: 2 },
    { kind: "partner", rank: 1 },
  ],
  1,
);

test("NI-31 where the population base has the only voice it is asked, however cheap a partner is", () => {
  assert.deepEqual(firstOf(onlyBase, [partner, base]), ["population-base"]);
  assert.equal(firstOf(onlyBase, [partner]), undefined);
  assert.deepEqual(firstOf(onlyBase, [{ ...base, hindrance: "UNAVAILABLE" }, partner]), []);
});

test("of several lawful sources the one in time is asked, then the cheapest, the weightiest, the fastest", () => {
  assert.deepEqual(firstOf(either, [partner, base]), ["partner"]);
  assert.deepEqual(firstOf(either, [{ ...partner, priceFen: 30 }, base]), ["population-base"]);
  assert.deepEqual(firstOf(either, [{ ...partner, latencyMs: 1_001 }, base]), ["population-base"]);
  assert.deepEqual(firstOf(either, [{ ...partner, hindrance: "MAINTENANCE" }, base]), ["population-base"]);
  const second = { ...base, id: "second", latencyMs: 10 };
  assert.deepEqual(firstOf(onlyBase, [base, second]), ["second"]);
});

test("a source that the policy names has that voice, and not its kind's", () => {
  const both = policyOf([
    { sourceId: "partner", rank: 2 },
    { kind: "partner", rank: 1 },
  ]);
  assert.equal(firstOf(both, [partner]), undefined);
  assert.deepEqual(firstOf(both, [partner, { ...partner, id: "other" }])?.toSorted(), ["other", "partner"]);
});

test("a level or claim type that no source can vouch for has no plan", () => {
  assert.equal(firstOf(onlyBase, [base, partner], { ...wanted, level: 3 }), undefined);
  assert.equal(firstOf(onlyBase, [{ ...base, claimTypes: ["LEGAL_PERSON"] }]), undefined);
});

test("SZ-4.4 a suspended source is never asked, and the silence of its voice rejects nobody", () => {
  const judged = evidencePolicyOf(either, wanted, [partner, { ...base, enabled: false }]);
  assert.ok(judged !== undefined);
  assert.deepEqual(judged.voices, [
    { sourceIds: [], rank: 2 },
    { sourceIds: ["partner"], rank: 1 },
  ]);
  const said = (verdict: Verdict): Evidence[] => [{ sourceId: "partner", verdict, level: 3, checkedAtMs: 0 }];
  assert.equal(adjudicate(judged, said("MISMATCH")).outcome, "PENDING");
  assert.equal(adjudicate(judged, said("MATCH")).outcome, "VERIFIED");
  assert.equal(firstOf(onlyBase, [{ ...base, enabled: false }]), undefined);
});

const KINDS = ["population-base", "partner", "carrier"];
const anyCandidate = (id: string): fc.Arbitrary<Candidate> =>
  fc.record({
    id: fc.constant(id),
    kind: fc.constantFrom(...KINDS),
    claimTypes: fc.constantFrom([CLAIM], [CLAIM], ["LEGAL_PERSON"] as const),
    level: fc.integer({ min: 1, max: 3 }),
    priceFen: fc.integer({ min: 0, max: 4 }),
    latencyMs: fc.constantFrom(10, 20, 2_000),
    enabled: fc.constantFrom(true, true, false),
    hindrance: fc.constantFrom<Hindrance | undefined>(undefined, undefined, "MAINTENANCE", "UNAVAILABLE", "QUOTA"),
  });
const someCandidates = fc
  .uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"), { minLength: 1 })
  .chain((ids) => fc.tuple(...ids.map(anyCandidate)));
const anyPolicy = fc
  .record({
    voices: fc.uniqueArray(
      fc.oneof(
        fc.constantFrom(...KINDS).map((kind) => ({ kind })),
        fc.constantFrom("a", "b").map((sourceId) => ({ sourceId })),
      ),
      { minLength: 1, maxLength: 4, selector: (voice) => JSON.stringify(voice) },
    ),
    ranks: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
    needed: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ voices, ranks, needed }) => {
    const inOrder = ranks.toSorted((a, b) => b - a);
    return policyOf(
      voices.map((voice, i) => ({ ...voice, rank: inOrder[i] ?? 1 })),
      Math.min(needed, voices.length),
    );
  });
const anyLevel = fc.integer({ min: 1, max: 3 });

function subsets<Item>(items: readonly Item[]): Item[][] {
  const [first, ...rest] = items;
  if (first === undefined) return [[]];
  return subsets(rest).flatMap((some) => [some, [first, ...some]]);
}

test("law: nobody is chosen who is suspended, without a voice, below the level or not there, and nobody needlessly", () => {
  fc.assert(
    fc.property(anyPolicy, someCandidates, anyLevel, (policy, candidates, level) => {
      const judged = evidencePolicyOf(policy, { ...wanted, level }, candidates);
      fc.pre(judged !== undefined);
      if (judged === undefined) return;
      const chosen = nextToAsk(judged, candidates, wanted.deadlineMs, NOTHING_YET);
      for (const id of chosen) {
        const source = candidates.find((candidate) => candidate.id === id);
        assert.ok(source?.enabled && source.hindrance === undefined && source.level >= level);
        assert.ok(source.claimTypes.includes(CLAIM));
        assert.ok(policy.voices.some((v) => ("kind" in v ? v.kind === source.kind : v.sourceId === id)));
      }
      assert.ok(chosen.length <= policy.needed);
      assert.deepEqual(nextToAsk(judged, candidates.toReversed(), wanted.deadlineMs, NOTHING_YET), chosen);
    }),
  );
});

test("law: no other set of as many voices that are there is cheaper, by brute force", () => {
  fc.assert(
    fc.property(anyPolicy, someCandidates, anyLevel, (policy, candidates, level) => {
      const judged = evidencePolicyOf(policy, { ...wanted, level }, candidates);
      fc.pre(judged !== undefined);
      if (judged === undefined) return;
      const voiceOf = (id: string) => judged.voices.findIndex(({ sourceIds }) => sourceIds.includes(id));
      const there = candidates.filter(({ id, hindrance }) => voiceOf(id) !== -1 && hindrance === undefined);
      const sets = subsets(there).filter((set) => new Set(set.map(({ id }) => voiceOf(id))).size === set.length);
      const size = Math.min(policy.needed, Math.max(...sets.map((set) => set.length)));
      const burden = (set: readonly Candidate[]) =>
        1_000 * set.filter(({ latencyMs }) => latencyMs > wanted.deadlineMs).length +
        set.reduce((sum, { priceFen }) => sum + priceFen, 0);
      const least = Math.min(...sets.filter((set) => set.length === size).map(burden));
      const chosen = nextToAsk(judged, candidates, wanted.deadlineMs, NOTHING_YET);
      // Nobody is paid while those who are there could not settle it together.
      if (isSettled(judged, [], new Set(there.map(({ id }) => id)))) return assert.deepEqual(chosen, []);
      assert.equal(chosen.length, size);
      assert.equal(burden(there.filter(({ id }) => chosen.includes(id))), least);
    }),
  );
});

const anyVerdict = fc.constantFrom<Verdict>("MATCH", "MISMATCH", "NO_RECORD", "VARIANT", "UNAVAILABLE");

type Words = Readonly<Record<string, Verdict>>;

function wordOf(words: Words, sourceId: string): Evidence {
  return { sourceId, verdict: words[sourceId] ?? "UNAVAILABLE", level: 3, checkedAtMs: 0 };
}

/** Asks as the fan-out does, answers coming in the order that `pick` gives. Fails when somebody is asked twice. */
function askAll(judged: EvidencePolicy, candidates: readonly Candidate[], words: Words, pick: () => number) {
  const evidence: Evidence[] = [];
  const asked = new Set<string>();
  const outstanding = new Set<string>();
  for (;;) {
    for (const id of nextToAsk(judged, candidates, wanted.deadlineMs, {
      ...NOTHING_YET,
      evidence,
      outstanding,
      asked,
    })) {
      assert.ok(!asked.has(id));
      asked.add(id);
      outstanding.add(id);
    }
    if (outstanding.size === 0 || isSettled(judged, evidence, outstanding)) return { evidence, asked, outstanding };
    const next = [...outstanding][pick() % outstanding.size] ?? "";
    outstanding.delete(next);
    evidence.push(wordOf(words, next));
  }
}

/** Whether none of those who are left could decide what is pending, alone or with the others. */
function isOver(judged: EvidencePolicy, evidence: readonly Evidence[], left: readonly Candidate[]): boolean {
  const known = adjudicate(judged, evidence);
  if (known.outcome !== "PENDING" || known.reason === "REVIEW") return true;
  return (["MATCH", "MISMATCH"] as const).every((verdict) => {
    const all = left.map(({ id }) => ({ sourceId: id, verdict, level: 3, checkedAtMs: 0 }));
    return adjudicate(judged, [...evidence, ...all]).outcome === "PENDING";
  });
}

test("law: whatever comes in whatever order, asking stops when no answer could change the outcome, and not before", () => {
  const answers = fc.record(Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((id) => [id, anyVerdict])));
  const order = fc.infiniteStream(fc.nat(5));
  fc.assert(
    fc.property(anyPolicy, someCandidates, anyLevel, answers, order, (policy, candidates, level, words, picks) => {
      const judged = evidencePolicyOf(policy, { ...wanted, level }, candidates);
      fc.pre(judged !== undefined);
      if (judged === undefined) return;
      const pick = () => picks.next().value ?? 0;
      const { evidence, asked, outstanding } = askAll(judged, candidates, words, pick);
      const late = Array.from(outstanding, (id) => wordOf(words, id));
      assert.equal(adjudicate(judged, [...evidence, ...late]).outcome, adjudicate(judged, evidence).outcome);
      // One source speaks for its voice: the others of a voice that has spoken are not needed.
      const silent = judged.voices.filter((voice) => standingOf(judged, voice, evidence) === "SILENT");
      const left = candidates.filter(
        ({ id, hindrance }) => !hindrance && !asked.has(id) && silent.some(({ sourceIds }) => sourceIds.includes(id)),
      );
      assert.ok(isOver(judged, evidence, left));
    }),
    { numRuns: 300 },
  );
});

test("law: of k voices needed a failing one is replaced at once, while the others are still asked", () => {
  const three = policyOf(
    ["a", "b", "c"].map((sourceId) => ({ sourceId, rank: 1 })),
    2,
  );
  const candidates = ["a", "b", "c"].map((id, i) => ({ ...partner, id, priceFen: i }));
  const judged = evidencePolicyOf(three, wanted, candidates);
  assert.ok(judged !== undefined);
  const next = (progress: Partial<typeof NOTHING_YET>) =>
    nextToAsk(judged, candidates, wanted.deadlineMs, { ...NOTHING_YET, ...progress });
  assert.deepEqual(next({}), ["a", "b"]);
  assert.deepEqual(next({ asked: new Set(["a", "b"]), outstanding: new Set(["a", "b"]) }), []);
  assert.deepEqual(next({ asked: new Set(["a", "b"]), outstanding: new Set(["b"]) }), ["c"]);
  const match = { sourceId: "b", verdict: "MATCH", level: 3, checkedAtMs: 0 } as const;
  assert.deepEqual(next({ asked: new Set(["a", "b"]), evidence: [match] }), ["c"]);
  // What was begun under a bizSeq that stands costs nothing more.
  assert.deepEqual(next({ begun: new Set(["c"]) }), ["a", "c"]);
});

test("ExplainPlan tells what would be asked, in order, and of every other source why not", () => {
  const others: Candidate[] = [
    { ...partner, id: "dear", priceFen: 5 },
    { ...partner, id: "away", hindrance: "UNAVAILABLE" },
    { ...partner, id: "repaired", hindrance: "MAINTENANCE" },
    { ...partner, id: "spent", hindrance: "QUOTA" },
    { ...partner, id: "suspended", enabled: false },
    { ...partner, id: "weak", level: 1 },
    { ...partner, id: "carrier", kind: "carrier" },
    { ...partner, id: "elsewhere", claimTypes: ["LEGAL_PERSON"] },
  ];
  const plan = explainPlan(either, wanted, [...others, base, partner]);
  assert.deepEqual(
    plan?.sources.map(({ sourceId, reason }) => [sourceId, reason]),
    [
      ["partner", "CHEAPEST"],
      ["away", "UNAVAILABLE"],
      ["carrier", "NOT_LAWFUL"],
      ["dear", "NOT_NEEDED"],
      ["population-base", "NOT_NEEDED"],
      ["repaired", "MAINTENANCE"],
      ["spent", "QUOTA"],
      ["suspended", "SUSPENDED"],
      ["weak", "LEVEL_TOO_LOW"],
    ],
  );
  assert.deepEqual([plan?.costFen, plan?.expectedLatencyMs, plan?.needed], [1, 1, 1]);
  const all = explainPlan({ ...either, needed: 2 }, wanted, [base, partner]);
  assert.deepEqual(
    all?.sources.map(({ reason }) => reason),
    ["REQUIRED", "REQUIRED"],
  );
  assert.deepEqual([all?.costFen, all?.expectedLatencyMs], [31, 80]);
});
