import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { organisationCodeCheckCharacter, parseOrganisationCode } from "./organisation-code.ts";
import { normaliseUscc, parseUscc, usccCheckCharacter } from "./uscc.ts";

const ALPHABET = [..."0123456789ABCDEFGHJKLMNPQRTUWXY"];
const SANDBOX = { allowFictional: true };

const innerCodes = fc
  .array(fc.constantFrom(...ALPHABET), { minLength: 8, maxLength: 8 })
  .map((characters) => characters.join(""));
const validCodes = fc
  .tuple(fc.constantFrom("11", "12", "52", "91", "93", "Y1"), fc.constantFrom("350100", "440300", "100000"), innerCodes)
  .map(([category, region, inner]) => category + region + inner + organisationCodeCheckCharacter(inner))
  .map((first17) => first17 + usccCheckCharacter(first17));

function reasonFor(input: string, options = {}): string {
  const parsed = parseUscc(input, options);
  return parsed.ok ? "none" : parsed.reason;
}

test("SZ-3.1 published codes are accepted with their parts", () => {
  assert.deepEqual(parseUscc("91350100M000100Y43"), {
    ok: true,
    value: {
      code: "91350100M000100Y43",
      category: "91",
      regionCode: "350100",
      organisationCode: "M000100Y4",
      warnings: [],
    },
  });
  assert.equal(reasonFor("11320000MB151840XJ"), "none");
});

test("SZ-3.1 synthetic codes are valid and refused unless they are allowed by name", () => {
  for (const code of ["91320500PDY00001XE", "91320500PDY000028E", "91320500PDY0000369"]) {
    assert.equal(reasonFor(code), "fictional");
    assert.equal(reasonFor(code, SANDBOX), "none");
  }
});

test("SZ-3.1 each malformed code is refused with its reason", () => {
  assert.equal(reasonFor(""), "length");
  assert.equal(reasonFor("9".repeat(1_000_000)), "length");
  assert.equal(reasonFor("91350100M000100Y4"), "length");
  assert.equal(reasonFor("91350100M000100Y44"), "check-character");
  for (const letter of "IOSVZ") assert.equal(reasonFor(`91350100M000100${letter}43`), "characters");
  assert.equal(reasonFor("913501A0M000100Y43"), "characters");
  const first17 = "91350100M000100Y5";
  assert.equal(reasonFor(first17 + usccCheckCharacter(first17)), "organisation-code");
});

test("SZ-3.1 a failed check is excused only for a code that the base confirms, and says so", () => {
  const parsed = parseUscc("91350100M000100Y44", { baseConfirmed: true });
  assert.deepEqual(parsed.ok && parsed.value.warnings, ["check-failed-base-confirmed"]);
  assert.equal(reasonFor("91350100M000100V44", { baseConfirmed: true }), "characters");
});

test("SZ-3.1 an unknown region is a warning", () => {
  const first17 = "91990100M000100Y4";
  const parsed = parseUscc(first17 + usccCheckCharacter(first17));
  assert.deepEqual(parsed.ok && parsed.value.warnings, ["region-unknown"]);
});

test("SZ-3.1 every generated code is accepted in any spelling, and its inner code alone too", () => {
  fc.assert(
    fc.property(validCodes, (code) => {
      const spelled = ` ${code.slice(0, 8).toLowerCase()}-${code.slice(8).toLowerCase()}　`;
      const parsed = parseUscc(spelled);
      assert.equal(parsed.ok && parsed.value.code, code);
      assert.deepEqual(parseOrganisationCode(`${code.slice(8, 16)}-${code.charAt(16)}`), {
        ok: true,
        value: code.slice(8, 17),
      });
    }),
  );
});

test("SZ-3.1 every changed character and every swapped neighbour is detected", () => {
  fc.assert(
    fc.property(validCodes, fc.nat(17), fc.constantFrom(...ALPHABET), fc.nat(16), (code, at, other, swapAt) => {
      fc.pre(code.charAt(at) !== other && code.charAt(swapAt) !== code.charAt(swapAt + 1));
      assert.notEqual(reasonFor(code.slice(0, at) + other + code.slice(at + 1)), "none");
      const swapped = code.slice(0, swapAt) + code.charAt(swapAt + 1) + code.charAt(swapAt) + code.slice(swapAt + 2);
      assert.notEqual(reasonFor(swapped), "none");
    }),
  );
});

// The letters of GB 11714 reach 35, so that modulus 11 promises this for digits only.
test("organisation codes detect every changed digit and every swapped pair of digits", () => {
  const bodies = fc.stringMatching(/^\d{8}$/);
  fc.assert(
    fc.property(bodies, fc.nat(7), fc.constantFrom(..."0123456789"), fc.nat(6), (body, at, other, swapAt) => {
      fc.pre(body.charAt(at) !== other && body.charAt(swapAt) !== body.charAt(swapAt + 1));
      const check = organisationCodeCheckCharacter(body);
      const changed = body.slice(0, at) + other + body.slice(at + 1);
      const swapped = body.slice(0, swapAt) + body.charAt(swapAt + 1) + body.charAt(swapAt) + body.slice(swapAt + 2);
      assert.equal(parseOrganisationCode(body + check).ok, true);
      assert.deepEqual(parseOrganisationCode(changed + check), { ok: false, reason: "check-character" });
      assert.deepEqual(parseOrganisationCode(swapped + check), { ok: false, reason: "check-character" });
    }),
  );
});

test("normalising is idempotent and parsing never throws, on any string", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.equal(normaliseUscc(normaliseUscc(text)), normaliseUscc(text));
      parseUscc(text, { baseConfirmed: true, allowFictional: true });
      parseOrganisationCode(text);
    }),
  );
});
