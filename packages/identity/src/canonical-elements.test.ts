import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ClaimElements, canonicalElements } from "./canonical-elements.ts";
import { foldName } from "./person-name.ts";

const alice = { type: "PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "李丽·王" } as const;

test("the elements of a person are written so, for both services alike", () => {
  assert.equal(
    canonicalElements(alice),
    "fujie-claim-elements-v1\nPERSON_TWO_ELEMENT\ncitizen-id:29:citizen-id:11010519491231002X\nperson-name:11:李丽·王\n",
  );
});

test("every spelling of one name is one text", () => {
  for (const personName of ["李丽•王", "李丽．王", " 李丽 · 王 "]) {
    assert.equal(canonicalElements({ ...alice, personName }), canonicalElements(alice));
  }
  const firm = { type: "LEGAL_PERSON", uscc: "91350100M000100Y43", organisationName: "Acme（福州）有限公司" } as const;
  assert.equal(canonicalElements({ ...firm, organisationName: "ACME(福州)有限公司" }), canonicalElements(firm));
});

test("another person, name or kind of claim is another text", () => {
  const others: ClaimElements[] = [
    { ...alice, citizenId: "440524188001010014" },
    { ...alice, personName: "李丽" },
    { type: "LEGAL_PERSON", uscc: "91350100M000100Y43", organisationName: "李丽·王" },
    {
      type: "LEGAL_REPRESENTATIVE",
      uscc: "91350100M000100Y43",
      organisationName: "李丽·王",
      citizenId: alice.citizenId,
    },
  ];
  assert.equal(new Set([alice, ...others].map(canonicalElements)).size, others.length + 1);
});

test("SZ-3.2 an identifier in another spelling is refused rather than digested", () => {
  assert.throws(() => canonicalElements({ ...alice, citizenId: "11010519491231002x" }), RangeError);
});

test("two names share a text exactly when their keys are equal", () => {
  const name = fc.string({ unit: fc.constantFrom("王", "a", "A", "·", "•", "\n", ":", "7", " "), maxLength: 8 });
  fc.assert(
    fc.property(name, name, (a, b) => {
      const [textA, textB] = [a, b].map((personName) => canonicalElements({ ...alice, personName }));
      assert.equal(textA === textB, foldName(a) === foldName(b));
    }),
    { numRuns: 300 },
  );
});
