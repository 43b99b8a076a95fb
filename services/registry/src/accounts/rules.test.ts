import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { deriveLevel } from "./rules.ts";

const base = { sourceId: "population-base" };
const counter = { sourceId: "counter" };
const active = { state: "ACTIVE", evidence: [base, counter], representsOrganisation: false } as const;

test("SU-7.1.1b a source and the counter make level 2; SU-7.1.1a an own enterprise level 3", () => {
  assert.equal(deriveLevel(active), 2);
  assert.equal(deriveLevel({ ...active, representsOrganisation: true }), 3);
});

test("SZ-14.4 neither the counter nor any number of sources is enough alone, whatever enterprise is claimed", () => {
  for (const evidence of [[], [base], [counter], [base, { sourceId: "partner" }], [counter, counter]]) {
    assert.equal(deriveLevel({ ...active, evidence, representsOrganisation: true }), 1);
  }
});

test("SU-7.1.1c whoever is not ACTIVE is of level 1", () => {
  for (const state of ["PENDING", "SUSPENDED", "CANCELLED"] as const) {
    assert.equal(deriveLevel({ ...active, state, representsOrganisation: true }), 1);
  }
});

test("SU-7.1.1d taking evidence or the link away never raises the level", () => {
  const sources = fc.array(fc.constantFrom("counter", "population-base", "partner"), { maxLength: 5 });
  fc.assert(
    fc.property(sources, fc.boolean(), fc.nat(4), (sourceIds, representsOrganisation, drop) => {
      const evidence = sourceIds.map((sourceId) => ({ sourceId }));
      const before = deriveLevel({ state: "ACTIVE", evidence, representsOrganisation });
      const less = evidence.filter((_, i) => i !== drop);
      assert.ok(deriveLevel({ state: "ACTIVE", evidence: less, representsOrganisation }) <= before);
      assert.ok(deriveLevel({ state: "ACTIVE", evidence, representsOrganisation: false }) <= before);
    }),
  );
});
