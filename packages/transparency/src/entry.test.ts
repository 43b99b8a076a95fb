import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeCanonical } from "./canonical.ts";
import { decodeEntry, encodeEntry, entryLeaf, type LogEntry } from "./entry.ts";
import { FormatError } from "./errors.ts";

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const entries: fc.Arbitrary<LogEntry> = fc.record({
  timeMs: fc.nat(),
  service: text,
  eventId: text,
  type: text,
  outcome: text,
  actor: text,
  subject: text,
  applicationId: text,
  organisationId: text,
  traceId: text,
  purpose: text,
  reason: text,
  detailsSha256: fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ minLength: 32, maxLength: 32 })),
  digest: fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ minLength: 32, maxLength: 32 })),
});

test("an entry comes back from its preimage as it was", () => {
  fc.assert(
    fc.property(entries, (entry) => {
      const decoded = decodeEntry(encodeEntry(entry));
      assert.deepEqual(
        { ...decoded, detailsSha256: [...decoded.detailsSha256], digest: [...decoded.digest] },
        { ...entry, detailsSha256: [...entry.detailsSha256], digest: [...entry.digest] },
      );
    }),
  );
});

test("two entries that differ have different leaves under the same salt", () => {
  const salt = new Uint8Array(32);
  fc.assert(
    fc.property(entries, entries, (one, other) => {
      const [a, b] = [encodeEntry(one), encodeEntry(other)];
      const samePreimage = Buffer.compare(a, b) === 0;
      assert.equal(Buffer.compare(entryLeaf(a, salt), entryLeaf(b, salt)) === 0, samePreimage);
    }),
  );
});

test("bytes that are no entry are refused: another version, an unknown tag, no time, an empty text", () => {
  for (const bytes of [
    encodeCanonical(2, [[1, 5n]]),
    encodeCanonical(1, [
      [1, 5n],
      [99, "x"],
    ]),
    encodeCanonical(1, [[2, "auth"]]),
    encodeCanonical(1, [
      [1, 5n],
      [2, ""],
    ]),
  ]) {
    assert.throws(() => decodeEntry(bytes), FormatError);
  }
});
