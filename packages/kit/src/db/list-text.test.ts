import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openKitDatabase } from "../../tests/kit-database.ts";
import { compactValue } from "./list-text.ts";

test("lists arrive in the database as they were given, whichever way they are written", async (t) => {
  const { db } = await openKitDatabase(t);
  const hard = ["", "NULL", "null", '"', "\\", "a\\b", "a,b", "{}", " ", "\n", "\u0001", "符节", "𠮷", "'", "$1"];
  const text = fc.oneof(fc.constantFrom(...hard), fc.string({ unit: "grapheme" }));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(text, fc.constant(null))), async (list) => {
      const given = list.map((element) => element?.replaceAll("\0", "") ?? null);
      const { rows } = await db.query<{ list: (string | null)[] }>({
        text: "SELECT $1::text[] AS list",
        values: [given],
      });
      assert.deepEqual(rows[0]?.list, given);
    }),
    { numRuns: 50 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(fc.double(), fc.maxSafeInteger(), fc.constant(null))), async (list) => {
      const { rows } = await db.query<{ list: (number | null)[] }>({
        text: "SELECT $1::float8[] AS list",
        values: [list],
      });
      assert.deepEqual(rows[0]?.list.map(positive), list.map(positive));
    }),
    { numRuns: 30 },
  );
});

test("only what needs no escaping is written in one go", () => {
  assert.equal(compactValue(["a", null, "符,节"]), '{"a",null,"符,节"}');
  assert.equal(compactValue([1, 2.5, undefined]), "{1,2.5,null}");
  assert.equal(compactValue([]), "{}");
  for (const list of [['"'], ["\\"], ["\n"], ["\ud800"], [Number.NaN], [Buffer.of(1)], [[1]], [true], [1n]]) {
    assert.equal(compactValue(list), list);
  }
  assert.equal(compactValue("text"), "text");
});

/** PostgreSQL and JSON know one zero. */
function positive(value: number | null): number | null {
  return value === 0 ? 0 : value;
}
