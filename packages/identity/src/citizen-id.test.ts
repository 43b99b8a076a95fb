import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { type CitizenIdOptions, citizenIdCheckCharacter, normaliseCitizenId, parseCitizenId } from "./citizen-id.ts";

const OPTIONS: CitizenIdOptions = { today: "2026-01-01" };

const dates = fc
  .date({ min: new Date("1800-01-01"), max: new Date("2025-12-31"), noInvalidDate: true })
  .map((date) => date.toISOString().slice(0, 10).replaceAll("-", ""));
const sequences = fc.integer({ min: 0, max: 999 }).map((n) => String(n).padStart(3, "0"));
const prefixes = fc.constantFrom("110105", "440524", "810000", "820000", "830000", "932682", "999998");
const validNumbers = fc
  .tuple(prefixes, dates, sequences)
  .map((parts) => parts.join(""))
  .map((first17) => first17 + citizenIdCheckCharacter(first17));

function reasonFor(input: string, options = OPTIONS): string {
  const parsed = parseCitizenId(input, options);
  return parsed.ok ? "none" : parsed.reason;
}

test("SZ-3.2 published numbers of every 18-character document are accepted with what they tell", () => {
  const expected = [
    ["11010519491231002X", "citizen-id", "1949-12-31", "female"],
    ["440524188001010014", "citizen-id", "1880-01-01", "male"],
    ["810000199408230021", "hong-kong-residence-permit", "1994-08-23", "female"],
    ["830000199201300022", "taiwan-residence-permit", "1992-01-30", "female"],
    ["932682198501010017", "foreigner-card", "1985-01-01", "male"],
  ] as const;
  for (const [number, kind, birthDate, sex] of expected) {
    assert.deepEqual(parseCitizenId(number, OPTIONS), {
      ok: true,
      value: { number, kind, birthDate, sex, warnings: [] },
    });
  }
});

test("SZ-3.2 a wrong check character is refused, and the right one is accepted", () => {
  assert.equal(reasonFor("820000199408230021"), "check-character");
  const corrected = parseCitizenId("820000199408230023", OPTIONS);
  assert.equal(corrected.ok && corrected.value.kind, "macao-residence-permit");
});

test("the old foreigner's card is read without a birth date", () => {
  assert.deepEqual(parseCitizenId("can110080040501", OPTIONS), {
    ok: true,
    value: { number: "CAN110080040501", kind: "foreigner-card-old", warnings: [] },
  });
  assert.equal(reasonFor("CA1110080040501"), "characters");
});

test("each malformed number is refused with its reason", () => {
  const withCheck = (first17: string) => first17 + citizenIdCheckCharacter(first17);
  assert.equal(reasonFor(""), "length");
  assert.equal(reasonFor("1".repeat(1_000_000)), "length");
  assert.equal(reasonFor("1101051949123100"), "length");
  assert.equal(reasonFor("110105491231002"), "first-generation");
  assert.equal(reasonFor("1101051949123100ZX"), "characters");
  assert.equal(reasonFor("01010519491231002X"), "characters");
  assert.equal(reasonFor("11010519491231002Х"), "characters", "Cyrillic Х is not X");
  assert.equal(reasonFor("11010519491231002\u200BX"), "length", "an invisible character is not stripped");
  assert.equal(reasonFor(withCheck("11010520230229001")), "birth-date", "2023 has no 29 February");
  assert.equal(reasonFor(withCheck("11010517991231001")), "birth-date", "before 1800");
  assert.equal(reasonFor(withCheck("11010520260102001")), "birth-date", "tomorrow");
  assert.equal(reasonFor(withCheck("11010520260101001")), "none", "today");
});

test("an unknown region and one abolished before birth are warnings, not refusals", () => {
  const warningsFor = (first17: string) => {
    const parsed = parseCitizenId(first17 + citizenIdCheckCharacter(first17), OPTIONS);
    return parsed.ok ? parsed.value.warnings : parsed.reason;
  };
  assert.deepEqual(warningsFor("11019819900101001"), ["region-unknown"]);
  assert.deepEqual(warningsFor("99968219850101001"), ["region-unknown"], "no province 99 on a foreigner's card");
  // Chongwen (110103) was merged into Dongcheng in 2010.
  assert.deepEqual(warningsFor("11010319900101001"), []);
  assert.deepEqual(warningsFor("11010320100101001"), []);
  assert.deepEqual(warningsFor("11010320200101001"), ["region-abolished-before-birth"]);
});

test("a fictional district is refused unless it is allowed by name", () => {
  const first17 = "11019919900101001";
  const number = first17 + citizenIdCheckCharacter(first17);
  assert.equal(reasonFor(number), "fictional");
  assert.equal(reasonFor(number, { ...OPTIONS, allowFictional: true }), "none");
});

test("SZ-3.2 every spelling of a number becomes the same number", () => {
  const wide = (text: string) => text.replace(/[!-~]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0));
  fc.assert(
    fc.property(
      validNumbers,
      fc.array(fc.constantFrom("", " ", "-", "\u3000", "－", "–", "\u00A0", "\t"), { minLength: 19, maxLength: 19 }),
      fc.boolean(),
      fc.boolean(),
      (number, gaps, isWide, isLower) => {
        const cased = isLower ? number.toLowerCase() : number;
        const spelled = [...(isWide ? wide(cased) : cased)].map((c, i) => (gaps[i] ?? "") + c).join("") + gaps[18];
        const parsed = parseCitizenId(spelled, OPTIONS);
        assert.equal(parsed.ok && parsed.value.number, number);
      },
    ),
  );
});

test("SZ-3.2 every changed character and every swapped neighbour is detected", () => {
  fc.assert(
    fc.property(
      validNumbers,
      fc.nat(17),
      fc.constantFrom(..."0123456789X"),
      fc.nat(16),
      (number, at, other, swapAt) => {
        fc.pre(number.charAt(at) !== other && number.charAt(swapAt) !== number.charAt(swapAt + 1));
        const changed = number.slice(0, at) + other + number.slice(at + 1);
        const swapped =
          number.slice(0, swapAt) + number.charAt(swapAt + 1) + number.charAt(swapAt) + number.slice(swapAt + 2);
        assert.notEqual(reasonFor(changed), "none");
        assert.notEqual(reasonFor(swapped), "none");
      },
    ),
  );
});

test("normalising is idempotent and parsing never throws, on any string", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.equal(normaliseCitizenId(normaliseCitizenId(text)), normaliseCitizenId(text));
      parseCitizenId(text, OPTIONS);
    }),
  );
});

test("a day that does not exist cannot stand for today", () => {
  assert.throws(() => parseCitizenId("11010519491231002X", { today: "2026-02-30" }), RangeError);
});
