import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { foldOrganisationName, normaliseOrganisationName, parseOrganisationName } from "./organisation-name.ts";

test("parentheses of either width make the same organisation", () => {
  const raw = " 微光(深圳) 科技有限公司";
  assert.deepEqual(parseOrganisationName(raw), {
    ok: true,
    value: { raw, name: "微光（深圳）科技有限公司", key: "微光（深圳）科技有限公司" },
  });
  assert.equal(foldOrganisationName("ＡＢＣ（中国）"), foldOrganisationName("abc(中国)"));
});

test("names with latin, digits and punctuation are accepted", () => {
  for (const name of ["深圳市100分教育有限公司", "Fujie Co., Ltd.", "乔治•某某（上海）商贸有限公司", "A&B事务所"]) {
    assert.equal(parseOrganisationName(name).ok, true, name);
  }
});

test("unsafe characters are refused with their reason", () => {
  const expected: [string, string][] = [
    ["", "empty"],
    ["（）", "characters"],
    ["<公司>", "characters"],
    ["公\u202E司", "bidi-control"],
    ["公\u200B司", "invisible-character"],
    ["公\uE863司", "private-use"],
    ["公\uDC00司", "lone-surrogate"],
    ["公\u0007司", "control-character"],
    ["公".repeat(121), "too-long"],
    ["公".repeat(1_000_000), "too-long"],
  ];
  for (const [raw, reason] of expected) {
    assert.deepEqual(parseOrganisationName(raw), { ok: false, reason }, JSON.stringify(raw.slice(0, 9)));
  }
});

test("normalising is idempotent and parsing never throws, on any string", () => {
  const text = fc.array(fc.constantFrom(..."公司() （）Ａb·•\u3000,İ")).map((characters) => characters.join(""));
  fc.assert(
    fc.property(fc.oneof(text, anyText), (raw) => {
      assert.equal(normaliseOrganisationName(normaliseOrganisationName(raw)), normaliseOrganisationName(raw));
      assert.equal(foldOrganisationName(foldOrganisationName(raw)), foldOrganisationName(raw));
      parseOrganisationName(raw);
    }),
  );
});
