import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeEntry, type LogEntry, sha256 } from "@fujie/transparency";
import fc from "fast-check";
import { compactText, compactTrace, type Names, outcomeLetters, preimageOf, splitRows } from "./row.ts";

const uuid = fc.uuid();
const text = fc.oneof(
  fc.constant(""),
  uuid,
  uuid.map((id) => id.toUpperCase()),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  // Just as long as a UUID's bytes, and the marked ones.
  fc.string({ unit: "grapheme-ascii", minLength: 15, maxLength: 17 }),
  fc.string({ unit: "binary", maxLength: 20 }).map((each) => each.toWellFormed()),
);
const digest = fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ minLength: 32, maxLength: 32 }));
const entries: fc.Arbitrary<Omit<LogEntry, "detailsSha256">> = fc.record({
  timeMs: fc.oneof(fc.nat(), fc.constant(0), fc.maxSafeNat()),
  service: fc.constantFrom("auth", "登记"),
  eventId: uuid,
  type: fc.constantFrom("session.started", "entry.read"),
  outcome: fc.constantFrom(...Object.keys(outcomeLetters)),
  actor: text,
  subject: text,
  applicationId: text,
  organisationId: text,
  traceId: fc.oneof(
    fc.constant(""),
    uuid.map((id) => id.replaceAll("-", "")),
  ),
  purpose: text,
  reason: text,
  digest,
});
const details = fc.option(fc.uint8Array({ minLength: 1, maxLength: 60 }), { nil: undefined });

const numbers = new Map(["auth", "登记", "session.started", "entry.read"].map((name, at) => [name, at + 1]));
const names: Names = new Map([...numbers].map(([name, id]) => [id, { name, utf8: Buffer.from(name) }]));

const int64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
};
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

type Columns = readonly (Uint8Array | null)[];

function columnsOf(entry: Omit<LogEntry, "detailsSha256">, sealed: Uint8Array | undefined): Columns {
  return [
    int64(7),
    int64(entry.timeMs),
    Buffer.from(entry.eventId.replaceAll("-", ""), "hex"),
    int32(numbers.get(entry.service) ?? 0),
    int32(numbers.get(entry.type) ?? 0),
    Buffer.from(outcomeLetters[entry.outcome] ?? ""),
    compactText(entry.actor),
    compactText(entry.subject),
    compactText(entry.applicationId),
    compactText(entry.organisationId),
    compactTrace(entry.traceId),
    compactText(entry.purpose),
    compactText(entry.reason),
    entry.digest,
    Buffer.alloc(32),
    null,
    sealed ?? null,
  ];
}

/** As PostgreSQL's record_send writes it. */
function pack(columns: Columns): Buffer {
  const parts = columns.flatMap((bytes) => [int32(0), int32(bytes?.length ?? -1), bytes ?? Buffer.of()]);
  return Buffer.concat([int32(columns.length), ...parts]);
}

function preimageIn(columns: Columns): string | undefined {
  const [row] = splitRows(pack(columns));
  const preimage = row === undefined ? undefined : preimageOf(row, names);
  return preimage && Buffer.from(preimage).toString("hex");
}

test("a row gives the very bytes that its entry was sealed as, whatever its texts", () => {
  fc.assert(
    fc.property(entries, details, (entry, sealed) => {
      const detailsSha256 = sealed === undefined ? new Uint8Array() : sha256(sealed);
      const expected = Buffer.from(encodeEntry({ ...entry, detailsSha256 })).toString("hex");
      assert.equal(preimageIn(columnsOf(entry, sealed)), expected);
      const [first, second] = splitRows(Buffer.concat(Array(2).fill(pack(columnsOf(entry, sealed)))));
      assert.ok(first && second && preimageOf(second, names) !== undefined);
    }),
    { numRuns: 500 },
  );
});

test("two texts have two compact forms", () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(compactText(a).equals(compactText(b)), a === b);
    }),
  );
});

test("whatever is changed in a column of a row, its preimage is another one or none", () => {
  fc.assert(
    fc.property(
      entries,
      details,
      fc.nat({ max: 16 }).filter((column) => column !== 0 && column !== 14 && column !== 15),
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        uuid.map((id) => Buffer.from(id)),
      ),
      (entry, sealed, column, bytes) => {
        const columns = columnsOf(entry, sealed);
        const before = columns[column];
        const fixed = column <= 5;
        const changed = fixed ? Uint8Array.from(before ?? [], (byte, at) => byte ^ (bytes[at] ?? 0)) : bytes;
        fc.pre(Buffer.compare(changed, before ?? Buffer.of()) !== 0 || (before === null && bytes.length === 0));
        assert.notEqual(preimageIn(columns.with(column, changed)), preimageIn(columns));
      },
    ),
    { numRuns: 1_000 },
  );
});
