import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { normaliseLoginName, parseLoginName } from "./login-name.ts";

function reasonFor(input: string): string {
  const parsed = parseLoginName(input);
  return parsed.ok ? "none" : parsed.reason;
}

test("SZ-13.3 login names that differ in case or width only are one", () => {
  for (const text of ["Zhang.San_88", "zhang.san_88", "ＺＨＡＮＧ.san_88"]) {
    assert.deepEqual(parseLoginName(text), { ok: true, value: "zhang.san_88" });
  }
});

test("SZ-13.3 malformed login names are refused with their reason", () => {
  assert.equal(reasonFor("abc"), "length");
  assert.equal(reasonFor("a".repeat(33)), "length");
  assert.equal(reasonFor("1abc"), "first-letter");
  assert.equal(reasonFor("_abc"), "first-letter");
  for (const name of ["ab cd", "ab@cd", "张三三三", "abcd\u200B", "аbcd", "abc\u212A"]) {
    assert.equal(reasonFor(name), "characters", name);
  }
});

test("SZ-13.3 a login name cannot carry an identifier or a phone number", () => {
  for (const name of [
    "u11010519491231002x",
    "id-110105-19491231-002x",
    "a13812345678",
    "tel.138-1234-5678",
    "CAN110080040501",
    "pdy00001-x",
    "y1350100m000100y43",
  ]) {
    assert.equal(reasonFor(name), "looks-like-identifier", name);
  }
  for (const name of ["zhang19900101", "user2024x", "mb151840a"]) assert.equal(reasonFor(name), "none", name);
});

test("normalising is idempotent and parsing never throws, on any string", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.equal(normaliseLoginName(normaliseLoginName(text)), normaliseLoginName(text));
      parseLoginName(text);
    }),
  );
});
