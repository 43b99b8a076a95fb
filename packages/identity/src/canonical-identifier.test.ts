import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalIdentifier } from "./canonical-identifier.ts";

test("SZ-3.2 the digested element names its kind and is stable", () => {
  assert.equal(canonicalIdentifier("citizen-id", "11010519491231002X"), "citizen-id:11010519491231002X");
  assert.equal(canonicalIdentifier("citizen-id", "CAN110080040501"), "citizen-id:CAN110080040501");
  assert.equal(canonicalIdentifier("uscc", "91350100M000100Y43"), "uscc:91350100M000100Y43");
  assert.equal(canonicalIdentifier("login-name", "zhang.san"), "login-name:zhang.san");
  assert.equal(canonicalIdentifier("phone", "+8613812345678"), "phone:+8613812345678");
  assert.equal(canonicalIdentifier("bank-card", "4111111111111111"), "bank-card:4111111111111111");
});

test("SZ-3.2 another spelling is refused, and the error does not repeat it", () => {
  const spellings = [
    ["citizen-id", "11010519491231002x"],
    ["citizen-id", "11010519491231002X\n"],
    ["uscc", "91350100m000100y43"],
    ["login-name", "Zhang.San"],
    ["phone", "13812345678"],
    ["bank-card", "4111 1111 1111 1111"],
  ] as const;
  for (const [kind, text] of spellings) {
    assert.throws(
      () => canonicalIdentifier(kind, text),
      (error) => error instanceof RangeError && !error.message.includes(text),
    );
  }
});
