import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTestRing } from "../../tests/key-ring.ts";
import { openPage, pageSize, signPage } from "./index.ts";

const filter = ["fujie.registry.v1.X/List", "operator-1", "ACTIVE", undefined, 3, true];
const invalid = {
  name: "DomainError",
  reason: "PAGE_TOKEN_INVALID",
  violations: [{ field: "page_token", description: "is not one that this list and filter gave" }],
};

test("a page token gives back its cursor, for its own filter, before and after a rotation", async (t) => {
  const keys = await openTestRing(t);
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string({ maxLength: 40 }), fc.integer()), { maxLength: 4 }), (cursor) => {
      assert.deepEqual(openPage(signPage({ filter, cursor }, keys), filter, keys), cursor);
    }),
    { numRuns: 50 },
  );
  const token = signPage({ filter, cursor: ["z", 1] }, keys);
  keys.rotate("page-token");
  assert.deepEqual(openPage(token, filter, keys), ["z", 1]);
  assert.equal(openPage("", filter, keys), undefined);
});

test("a page token for another filter, caller or method is refused", async (t) => {
  const keys = await openTestRing(t);
  const token = signPage({ filter, cursor: ["a"] }, keys);
  for (let index = 0; index < filter.length; index += 1) {
    const other = filter.with(index, "something else");
    assert.throws(() => openPage(token, other, keys), invalid);
  }
  assert.throws(() => openPage(token, filter.slice(1), keys), invalid);
});

test("a page token that was altered, forged or is not one is refused", async (t) => {
  const keys = await openTestRing(t);
  const other = await openTestRing(t);
  const token = signPage({ filter, cursor: ["a"] }, keys);
  const [, digest] = token.split(".");
  const altered = [
    `${Buffer.from('["b"]').toString("base64url")}.${digest}`,
    `${token}.`,
    `.${digest}`,
    token.slice(0, -1),
    "x",
    ".",
    "x".repeat(5_000),
    signPage({ filter, cursor: ["a"] }, other),
  ];
  for (const bad of altered) assert.throws(() => openPage(bad, filter, keys), invalid, bad);
});

test("a page size of zero is the default, too large is lowered, negative is an error", () => {
  assert.equal(pageSize(0, { default: 20, max: 100 }), 20);
  assert.equal(pageSize(7, { default: 20, max: 100 }), 7);
  assert.equal(pageSize(1_000_000, { default: 20, max: 100 }), 100);
  assert.throws(() => pageSize(-1, { default: 20, max: 100 }), { reason: "PAGE_SIZE_INVALID" });
});
