import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { parsePhone } from "./phone.ts";

const value = { national: "13812345678", e164: "+8613812345678" };

test("NI-28b every spelling of a mobile number becomes the same number", () => {
  for (const text of [
    "13812345678",
    "+86 138-1234-5678",
    "0086 13812345678",
    "8613812345678",
    "１３８１２３４５６７８",
    "＋８６　13812345678",
  ]) {
    assert.deepEqual(parsePhone(text), { ok: true, value });
  }
});

test("NI-28b numbers that are no mobile numbers are refused with their reason", () => {
  assert.deepEqual(parsePhone("12012345678"), { ok: false, reason: "prefix" });
  assert.deepEqual(parsePhone("1381234567"), { ok: false, reason: "length" });
  assert.deepEqual(parsePhone("+1 13812345678"), { ok: false, reason: "length" });
  assert.deepEqual(parsePhone("+13812345678"), { ok: false, reason: "length" });
  assert.deepEqual(parsePhone("1381234567a"), { ok: false, reason: "characters" });
  assert.deepEqual(parsePhone(""), { ok: false, reason: "length" });
});

test("parsing a phone is idempotent and never throws, on any string", () => {
  fc.assert(
    fc.property(fc.oneof(anyText, fc.stringMatching(/^(\+86)?1[3-9]\d{9}$/)), (text) => {
      const parsed = parsePhone(text);
      if (parsed.ok) assert.deepEqual(parsePhone(parsed.value.e164), parsed);
    }),
  );
});
