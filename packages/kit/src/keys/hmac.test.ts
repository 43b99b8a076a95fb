import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { hmacKey } from "./hmac.ts";

test("the vectors of RFC 4231 hold", () => {
  const vectors = [
    ["0b".repeat(20), "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [
      "4a656665",
      "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
    ["aa".repeat(20), "dd".repeat(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
    [
      "aa".repeat(131),
      "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ],
  ] as const;
  for (const [key, message, digest] of vectors) {
    assert.equal(hmacKey(Buffer.from(key, "hex"))(Buffer.from(message, "hex")).toString("hex"), digest);
  }
});

test("it is Node's HMAC-SHA256 for every key and message, text or bytes, one after the other", () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 100 });
  const message = fc.oneof(fc.string({ unit: "grapheme" }), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(key, fc.array(message, { maxLength: 4 }), (secret, messages) => {
      const digest = hmacKey(secret);
      const ours = messages.map((one) => digest(one).toString("hex"));
      assert.deepEqual(
        ours,
        messages.map((one) => createHmac("sha256", secret).update(one).digest("hex")),
      );
    }),
  );
});
