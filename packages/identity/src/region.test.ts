import assert from "node:assert/strict";
import { test } from "node:test";
import { isFictionalRegion, knownCountyCodes, lookupRegion } from "./region.ts";

test("no county of any year has a code that ends in 99, so fictional districts never meet a real one", () => {
  const codes = knownCountyCodes();
  assert.ok(codes.length > 5_000);
  assert.deepEqual(codes.filter(isFictionalRegion), []);
});

test("regions in force, abolished, fictional and unknown are told apart", () => {
  assert.deepEqual(lookupRegion("440305"), { status: "in-force" });
  assert.deepEqual(lookupRegion("440300"), { status: "in-force" });
  assert.deepEqual(lookupRegion("440000"), { status: "in-force" });
  assert.deepEqual(lookupRegion("100000"), { status: "in-force" });
  assert.deepEqual(lookupRegion("659012"), { status: "in-force" });
  assert.deepEqual(lookupRegion("110103"), { status: "abolished", abolishedAfterYear: 2009 });
  assert.deepEqual(lookupRegion("440399"), { status: "fictional" });
  for (const code of ["", "4403", "990000", "110198", "44030", "4403０5"]) {
    assert.deepEqual(lookupRegion(code), { status: "unknown" });
  }
});
