import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ageOn, isCalendarDate } from "./date.ts";
import { guardianshipOn, isUnderFourteen, isUnderGuardianship } from "./guardianship.ts";

test("NI-15 guardianship changes on the fourteenth and the eighteenth birthday", () => {
  assert.equal(guardianshipOn("2010-06-15", "2024-06-14"), "guardian-applies");
  assert.equal(guardianshipOn("2010-06-15", "2024-06-15"), "under-guardianship");
  assert.equal(guardianshipOn("2010-06-15", "2028-06-14"), "under-guardianship");
  assert.equal(guardianshipOn("2010-06-15", "2028-06-15"), "none");
  assert.deepEqual(
    [isUnderFourteen("2010-06-15", "2024-06-15"), isUnderGuardianship("2010-06-15", "2024-06-15")],
    [false, true],
  );
});

test("NI-15 who was born on 29 February comes of age on 1 March of a common year", () => {
  assert.equal(guardianshipOn("2012-02-29", "2026-02-28"), "guardian-applies");
  assert.equal(guardianshipOn("2012-02-29", "2026-03-01"), "under-guardianship");
  assert.equal(ageOn("2012-02-29", "2028-02-29"), 16);
});

test("NI-15 a day before birth or a day that does not exist gives no answer", () => {
  assert.throws(() => guardianshipOn("2020-01-02", "2020-01-01"), RangeError);
  assert.throws(() => guardianshipOn("2020-01-02", "2020-1-2"), RangeError);
});

test("dates exist exactly when the calendar has them", () => {
  const days = fc.tuple(fc.integer({ min: 1800, max: 2200 }), fc.nat(13), fc.nat(32));
  fc.assert(
    fc.property(days, ([year, month, day]) => {
      const date = new Date(Date.UTC(year, month - 1, day));
      const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
      const text = `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
      assert.equal(isCalendarDate(text), exists);
    }),
  );
});
