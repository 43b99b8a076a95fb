import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { luhnCheckDigit, parseBankCard } from "./bank-card.ts";

const bodies = fc.stringMatching(/^\d{12,18}$/);

test("NI-28c published card numbers are accepted, spaced or not", () => {
  assert.deepEqual(parseBankCard("4111111111111111"), { ok: true, value: "4111111111111111" });
  assert.deepEqual(parseBankCard("6212 3456 7890 1232"), { ok: true, value: "6212345678901232" });
});

test("NI-28c malformed card numbers are refused with their reason", () => {
  assert.deepEqual(parseBankCard("4111111111111112"), { ok: false, reason: "check-digit" });
  assert.deepEqual(parseBankCard("411111111111"), { ok: false, reason: "length" });
  assert.deepEqual(parseBankCard("41111111111111111111"), { ok: false, reason: "length" });
  assert.deepEqual(parseBankCard("4111x11111111111"), { ok: false, reason: "characters" });
  assert.deepEqual(parseBankCard(""), { ok: false, reason: "length" });
});

test("NI-28c every changed digit is detected, and every swapped pair but 09 and 90", () => {
  fc.assert(
    fc.property(bodies, fc.nat(), fc.constantFrom(..."0123456789"), fc.nat(), (body, changeSeed, other, swapSeed) => {
      const card = body + luhnCheckDigit(body);
      assert.equal(parseBankCard(card).ok, true);
      const at = changeSeed % card.length;
      fc.pre(card.charAt(at) !== other);
      assert.equal(parseBankCard(card.slice(0, at) + other + card.slice(at + 1)).ok, false);
      const swapAt = swapSeed % (card.length - 1);
      const pair = card.slice(swapAt, swapAt + 2);
      const swapped = card.slice(0, swapAt) + pair.charAt(1) + pair.charAt(0) + card.slice(swapAt + 2);
      const isBlindSpot = pair.charAt(0) === pair.charAt(1) || pair === "09" || pair === "90";
      assert.equal(parseBankCard(swapped).ok, isBlindSpot);
    }),
  );
});

test("parsing a card never throws, on any string", () => {
  fc.assert(fc.property(anyText, (text) => typeof parseBankCard(text).ok === "boolean"));
});
