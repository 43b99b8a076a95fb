import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CanonicalField, decodeCanonical, encodeCanonical } from "./canonical.ts";
import { FormatError } from "./errors.ts";

const value = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.bigInt({ min: 0n, max: (1n << 256n) - 1n }),
  fc.bigInt({ min: 0n, max: 300n }),
  fc.boolean(),
);
const tags = fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 12 });
const fields = tags.chain((unordered) => {
  const ordered = [...unordered].sort((a, b) => a - b);
  return fc.tuple(...ordered.map((tag) => value.map((each): CanonicalField => [tag, each])));
});
const version = fc.integer({ min: 1, max: 255 });

test("a record has the documented bytes", () => {
  const bytes = encodeCanonical(1, [
    [1, "符"],
    [2, Uint8Array.of(0xff)],
    [3, 256n],
    [4, 0n],
    [0x0102, true],
  ]);
  const expected = "01" + "0001020003e7aca6" + "0002010001ff" + "00030300020100" + "0004030000" + "010204000101";
  assert.equal(Buffer.from(bytes).toString("hex"), expected);
  assert.deepEqual(encodeCanonical(9, []), Uint8Array.of(9));
});

test("records round-trip", () => {
  fc.assert(
    fc.property(version, fields, (v, some) => {
      assert.deepEqual(decodeCanonical(encodeCanonical(v, some)), { version: v, fields: some });
    }),
  );
});

test("whatever the decoder accepts encodes back to the same bytes", () => {
  let accepted = 0;
  const mutation = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom("set", "cut", "insert"));
  fc.assert(
    fc.property(version, fields, fc.array(mutation, { maxLength: 2 }), (v, some, mutations) => {
      let bytes = [...encodeCanonical(v, some)];
      for (const [where, byte, how] of mutations) {
        const at = where % (bytes.length + 1);
        bytes = [
          ...bytes.slice(0, at),
          ...(how === "cut" ? [] : [byte]),
          ...bytes.slice(at + (how === "insert" ? 0 : 1)),
        ];
      }
      let record: ReturnType<typeof decodeCanonical>;
      try {
        record = decodeCanonical(Uint8Array.from(bytes));
      } catch (error) {
        assert.ok(error instanceof FormatError);
        return;
      }
      accepted += 1;
      assert.deepEqual([...encodeCanonical(record.version, record.fields)], bytes);
    }),
    { numRuns: 500 },
  );
  assert.ok(accepted > 50, "the property met too few accepted records to mean anything");
});

test("non-canonical bytes are refused, and the error names the field", () => {
  const refused: [hex: string, field: string][] = [
    ["", "version"],
    ["00", "version"],
    ["010001", "record"],
    ["01000101000100ff", "record"],
    ["010001010002ff", "fields.1"],
    ["010000010000", "fields"],
    ["01 0002010000 0001010000", "fields.1"],
    ["01 0001010000 0001010000", "fields.1"],
    ["01 0001030001 00", "fields.1"],
    ["01 0001030002 0001", "fields.1"],
    [`01 0001030021 ${"ff".repeat(33)}`, "fields.1"],
    ["01 0001040001 02", "fields.1"],
    ["01 0001040000", "fields.1"],
    ["01 0001040002 0101", "fields.1"],
    ["01 0001020001 ff", "fields.1"],
    ["01 0001020002 c080", "fields.1"],
    ["01 0001020003 eda080", "fields.1"],
    ["01 0001050000", "fields.1"],
    ["01 0001000000", "fields.1"],
  ];
  for (const [hex, field] of refused)
    assert.throws(
      () => decodeCanonical(Buffer.from(hex.replaceAll(" ", ""), "hex")),
      (error) => error instanceof FormatError && error.field === field,
      hex,
    );
});

test("a byte-order mark is a character like any other", () => {
  const some: CanonicalField[] = [[1, "\ufeffname"]];
  assert.deepEqual(decodeCanonical(encodeCanonical(1, some)).fields, some);
});

test("what can't be written canonically is a typed error", () => {
  const refused: CanonicalField[][] = [
    [[1, -1n]],
    [[1, 1n << 256n]],
    [[1, "\ud800"]],
    [[0, true]],
    [[65_536, true]],
    [[1.5, true]],
    [
      [2, true],
      [1, true],
    ],
    [
      [1, true],
      [1, true],
    ],
    [[1, new Uint8Array(65_536)]],
    [
      [1, new Uint8Array(40_000)],
      [2, new Uint8Array(40_000)],
    ],
  ];
  for (const bad of refused) assert.throws(() => encodeCanonical(1, bad), FormatError);
  for (const bad of [0, 256, 1.5]) assert.throws(() => encodeCanonical(bad, []), FormatError);
  assert.equal(encodeCanonical(1, [[1, new Uint8Array(65_529)]]).length, 65_535);
});
