import assert from "node:assert/strict";
import { test } from "node:test";
import { readSubjects, SubjectsError } from "./subjects.ts";

const person = { citizenId: "440399199003070014", personName: "林知行" };
const entry = { type: "PERSON_TWO_ELEMENT", match: person, mismatch: person, noRecord: person };

test("test subjects that are not exactly those of their claim type are refused by place, never by value", () => {
  const { personName: _, ...nameless } = person;
  for (const [file, problem] of [
    ["{", "the file is not JSON"],
    [{}, "claims is not a list with entries"],
    [{ claims: [] }, "claims is not a list with entries"],
    [{ claims: ["x"] }, "claims[0] is not an object"],
    [{ claims: [{ ...entry, type: "SHOE_SIZE" }] }, "claims[0].type is no claim type"],
    [{ claims: [entry, entry] }, "a claim type is given twice"],
    [{ claims: [{ ...entry, noRecord: undefined }] }, "claims[0].noRecord is not an object"],
    [{ claims: [{ ...entry, match: nameless }] }, "claims[0].match.personName is missing"],
    [
      { claims: [{ ...entry, mismatch: { ...person, phone: "1" } }] },
      "claims[0].mismatch.phone is not an element of its type",
    ],
  ] as const) {
    const text = typeof file === "string" ? file : JSON.stringify(file);
    assert.throws(() => readSubjects(text), new SubjectsError(problem));
  }
  const face = { ...person, faceImage: Buffer.from([1, 2, 3]).toString("base64") };
  const read = readSubjects(
    JSON.stringify({ claims: [{ type: "PERSON_FACE", match: face, mismatch: face, noRecord: face }] }),
  );
  assert.deepEqual(read.get("PERSON_FACE")?.MATCH.faceImage, new Uint8Array([1, 2, 3]));
});
