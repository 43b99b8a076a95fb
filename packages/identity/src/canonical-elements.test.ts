import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ClaimElements, canonicalElements, digestFaceImage } from "./canonical-elements.ts";
import { foldOrganisationName } from "./organisation-name.ts";
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

const ascii = (form: string, length: number) =>
  fc.string({ unit: fc.constantFrom(...form), minLength: length, maxLength: length });
const citizenId = fc.constantFrom("11010519491231002X", "440524188001010014", "810000199408230021");
const uscc = fc.constantFrom("91350100M000100Y43", "11320000MB151840XJ");
const personName = fc.string({
  unit: fc.constantFrom("王", "丽", "A", "a", "·", "•", "\n", ":", "1", " "),
  maxLength: 6,
});
const who = { citizenId, personName };
const phone = ascii("0123456789", 9).map((rest) => `13${rest}`);
const bankCard = ascii("0123456789", 16);
const hex = (bytes: number) => ascii("0123456789abcdef", 2 * bytes);

const anyClaim: fc.Arbitrary<ClaimElements> = fc.oneof(
  fc.record({ type: fc.constant("PERSON_TWO_ELEMENT" as const), ...who }),
  fc.record({ type: fc.constant("LEGAL_PERSON" as const), uscc, organisationName: personName }),
  fc.record({ type: fc.constant("LEGAL_REPRESENTATIVE" as const), uscc, organisationName: personName, citizenId }),
  fc.record({ type: fc.constant("PERSON_CARRIER" as const), ...who, phone }),
  fc.record({ type: fc.constant("PERSON_BANK_CARD" as const), ...who, bankCard }),
  fc.record({ type: fc.constant("PERSON_BANK_CARD_PHONE" as const), ...who, bankCard, phone }),
  fc.record({ type: fc.constant("PERSON_FACE" as const), ...who, faceImage: fc.base64String({ maxLength: 8 }) }),
  fc.record({
    type: fc.constant("CERTIFICATE_POSSESSION" as const),
    identifierKind: fc.constant("citizen-id" as const),
    identifier: citizenId,
    fingerprint: hex(32),
    nonce: hex(16),
    message: fc.string(),
    proof: fc.string(),
  }),
  fc.record({
    type: fc.constant("DOCUMENT_VALIDITY" as const),
    ...who,
    documentExpireDate: fc.constantFrom("2030-01-01", "2044-05-06", "LONG-TERM"),
  }),
  fc.record({ type: fc.constant("GUARDIAN" as const), ...who, wardCitizenId: citizenId, wardName: personName }),
);

/** A claim with its elements by the keys on which they are compared, and without what only proves it. */
function meaning(claim: ClaimElements): string {
  const fold = (value: string) => foldName(value);
  const compared = Object.entries(claim)
    .filter(([name]) => name !== "message" && name !== "proof")
    .map(([name, value]) => {
      if (name === "personName" || name === "wardName") return [name, fold(value)];
      if (name === "organisationName") return [name, foldOrganisationName(value)];
      return [name, name === "faceImage" ? digestFaceImage(value) : value];
    });
  return JSON.stringify(compared.toSorted());
}

test("two claims of any types share a text exactly when they claim the same, however they are spelled", () => {
  fc.assert(
    fc.property(anyClaim, anyClaim, (a, b) => {
      assert.equal(canonicalElements(a) === canonicalElements(b), meaning(a) === meaning(b));
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(anyClaim, (claim) => {
      const respelled = "personName" in claim ? { ...claim, personName: ` ${claim.personName} ` } : claim;
      assert.equal(canonicalElements(respelled), canonicalElements(claim));
    }),
  );
});

test("who knows a face by its digest names the same claim as who has the image", () => {
  const faceImage = Buffer.from("an image").toString("base64");
  const face = { ...alice, type: "PERSON_FACE" } as const;
  const digest = digestFaceImage(faceImage);
  assert.equal(canonicalElements({ ...face, faceImageDigest: digest }), canonicalElements({ ...face, faceImage }));
  assert.throws(() => canonicalElements({ ...face, faceImageDigest: digest.toUpperCase() }), RangeError);
});

test("what only proves a possession is no part of what is claimed, and what is claimed has one form", () => {
  const held: ClaimElements = {
    type: "CERTIFICATE_POSSESSION",
    identifierKind: "citizen-id",
    identifier: alice.citizenId,
    fingerprint: "ab".repeat(32),
    nonce: "01".repeat(16),
    message: "one",
    proof: "one",
  };
  assert.equal(canonicalElements({ ...held, message: "other", proof: "other" }), canonicalElements(held));
  assert.notEqual(canonicalElements({ ...held, nonce: "02".repeat(16) }), canonicalElements(held));
  for (const wrong of [{ nonce: "01" }, { fingerprint: "AB".repeat(32) }, { identifier: "11010519491231002x" }]) {
    assert.throws(() => canonicalElements({ ...held, ...wrong }), RangeError);
  }
  const document = { ...alice, type: "DOCUMENT_VALIDITY" } as const;
  assert.throws(() => canonicalElements({ ...document, documentExpireDate: "2030-02-30" }), RangeError);
});
