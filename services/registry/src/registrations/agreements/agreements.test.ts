import assert from "node:assert/strict";
import { test } from "node:test";
import { type Agreement, agreementAt } from "./index.ts";

test("SZ-14.1 which text counts is decided by when something happened", () => {
  const first = agreementAt(Date.parse("2026-06-01T00:00:00Z"));
  const next: Agreement = { ...first, version: "2027-01", inForceFrom: "2027-01-01T00:00:00+08:00" };
  const known = [first, next];
  assert.equal(agreementAt(Date.parse("2026-12-31T23:59:59+08:00"), known).version, first.version);
  assert.equal(agreementAt(Date.parse("2027-01-01T00:00:00+08:00"), known).version, "2027-01");
  assert.throws(() => agreementAt(0, known), RangeError);
});

test("a published text is never edited: its digest is what people accepted", () => {
  const { sha256 } = agreementAt(Date.parse("2026-06-01T00:00:00Z"));
  assert.equal(Buffer.from(sha256).toString("hex"), "713a227300d275ea32ab696a3319dce4939a00f2465bc96ff5eb51a4ad7886e5");
});
