import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { normalisePassword, weaknessOf } from "./rules.ts";

const refused: readonly (readonly [string, string, string])[] = [
  ["nine characters", "aB3$xY7!z", "length"],
  ["129 characters", "aB3$xY7!z0".repeat(13), "length"],
  ["a common password", "1q2w3e4r5t", "common"],
  ["a common password with digits around it", "Password2026!", "common"],
  ["a common password with look-alikes", "P@ssw0rd!!!", "common"],
  ["a common password twice", "woaini520woaini520", "common"],
  ["one character again and again", "aaaaaaaaaaaa", "predictable"],
  ["a run through the keyboard", "uiopasdfghjk", "predictable"],
  ["a run backwards", "ponmlkjihgfe", "predictable"],
  ["a control character", "correct\u0000horse battery", "characters"],
  ["a lone surrogate", "correct horse \ud800 battery", "characters"],
];

for (const [what, password, reason] of refused) {
  test(`a password that is ${what} is refused`, () => {
    assert.equal(weaknessOf(password), reason);
  });
}

test("a long passphrase of any script is accepted", () => {
  for (const password of ["correct horse battery", "三更灯火五更鸡正是男儿读书时", "Xk7#mQ2$vL"]) {
    assert.equal(weaknessOf(password), undefined);
  }
});

test("full-width and half-width input give the same password", () => {
  assert.equal(normalisePassword("ｃｏｒｒｅｃｔ１２"), "correct12");
});

test("no input makes the rule throw, and what is accepted is accepted in its normal form too", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 140 }), (input) => {
      if (weaknessOf(input) === undefined) {
        assert.equal(weaknessOf(normalisePassword(input)), undefined);
      }
    }),
  );
});
