import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type Candidate, type ClaimRule, defaultClaimRules, planEvidence } from "./rules.ts";

const person = { type: "PERSON_TWO_ELEMENT", level: 2 } as const;
const base: Candidate = {
  id: "population-base",
  kind: "population-base",
  claimTypes: ["PERSON_TWO_ELEMENT"],
  level: 2,
  priceFen: 30,
  latencyMs: 80,
  available: true,
};
const partner: Candidate = { ...base, id: "partner", kind: "partner", level: 3, priceFen: 1, latencyMs: 1 };
const rule = defaultClaimRules.PERSON_TWO_ELEMENT;
const askedOf = (...args: Parameters<typeof planEvidence>) =>
  planEvidence(...args)?.sources.map(({ sourceId }) => sourceId);

test("NI-31 the population base is required for persons, however cheap a partner is", () => {
  assert.deepEqual(askedOf(rule, person, [partner, base]), ["population-base"]);
  assert.equal(planEvidence(rule, person, [partner]), undefined);
});

test("a partner stands in only where the policy lets it, with the lower rank", () => {
  const either: ClaimRule = { kinds: ["population-base", "partner"], quorum: "any-of" };
  assert.deepEqual(planEvidence(either, person, [partner, base])?.sources, [
    { sourceId: "population-base", rank: 2 },
    { sourceId: "partner", rank: 1 },
  ]);
  assert.deepEqual(askedOf(either, person, [partner]), ["partner"]);
  assert.equal(planEvidence({ ...either, quorum: "all-of" }, person, [partner]), undefined);
});

test("of several bases one is asked: one that is there, then the cheapest, then the fastest", () => {
  const other = (change: Partial<Candidate>) => ({ ...base, id: "second", ...change });
  assert.deepEqual(askedOf(rule, person, [base, other({ priceFen: 20 })]), ["second"]);
  assert.deepEqual(askedOf(rule, person, [base, other({ latencyMs: 10 })]), ["second"]);
  assert.deepEqual(askedOf(rule, person, [base, other({ priceFen: 20, available: false })]), ["population-base"]);
  assert.deepEqual(askedOf(rule, person, [{ ...base, available: false }]), ["population-base"]);
});

test("a level or claim type that no source can vouch for has no plan", () => {
  assert.equal(planEvidence(rule, { ...person, level: 3 }, [base, partner]), undefined);
  assert.equal(planEvidence(rule, { type: "LEGAL_PERSON", level: 1 }, [base]), undefined);
});
