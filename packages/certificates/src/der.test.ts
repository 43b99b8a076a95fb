import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  DerError,
  der,
  derInteger,
  derOid,
  derSequence,
  derSetOf,
  derTime,
  fieldsOf,
  readBoolean,
  readDer,
  readInteger,
  readNamedBits,
  readOid,
  readString,
  readTime,
  TAG,
} from "./der.ts";

const hex = (text: string): Uint8Array => Buffer.from(text, "hex");

describe("DER", () => {
  test("integers read back, negative ones too", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 1n << 200n }), (n) => readInteger(readDer(derInteger(n))) === n));
    assert.equal(readInteger(readDer(hex("0201ff"))), -1n);
    assert.equal(readInteger(readDer(hex("0202ff7f"))), -129n);
  });

  test("object identifiers read back", () => {
    const arc = fc.nat(2 ** 30);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 39 }), fc.array(arc, { maxLength: 8 }), (second, rest) => {
        const oid = [2, second, ...rest].join(".");
        return readOid(readDer(derOid(oid))) === oid;
      }),
    );
    assert.equal(readOid(readDer(hex("06082a811ccf55018375"))), "1.2.156.10197.1.501");
  });

  test("lengths of every size read back", () => {
    for (const length of [0, 127, 128, 255, 256, 65_535, 65_536]) {
      assert.equal(readDer(der(TAG.octetString, new Uint8Array(length))).content.length, length);
    }
  });

  test("everything that has a second encoding is refused", () => {
    const refused: [string, () => unknown][] = [
      ["padded positive integer", () => readInteger(readDer(hex("02020001")))],
      ["padded negative integer", () => readInteger(readDer(hex("0202ff80")))],
      ["empty integer", () => readInteger(readDer(hex("0200")))],
      ["boolean neither 00 nor ff", () => readBoolean(readDer(hex("010101")))],
      ["padded OID", () => readOid(readDer(hex("06032a8001")))],
      ["cut OID", () => readOid(readDer(hex("06022a80")))],
      ["unused bits that are set", () => readNamedBits(readDer(hex("030206c1")))],
      ["trailing zero bits", () => readNamedBits(readDer(hex("03020080").with(2, 5)))],
      ["long form of a short length", () => readDer(hex("048101ff"))],
      ["indefinite length", () => readDer(hex("30800000"))],
      ["several tag bytes", () => readDer(hex("1f810100"))],
      ["trailing byte", () => readDer(hex("050000"))],
      ["cut off", () => readDer(hex("0402ff"))],
      ["nested cut off", () => readDer(hex("30030402ff"))],
      ["surplus field", () => fieldsOf(readDer(derSequence(derInteger(1n)))).end()],
    ];
    for (const [what, read] of refused) assert.throws(read, DerError, what);
  });

  test("times are UTC with seconds, and dates that exist", () => {
    const at = new Date("2049-12-31T23:59:59Z");
    assert.deepEqual(readTime(readDer(derTime(at))), at);
    const utc = (text: string) => readTime(readDer(der(TAG.utcTime, Buffer.from(text, "latin1"))));
    assert.deepEqual(utc("491231235959Z"), at);
    assert.equal(utc("500101000000Z").getUTCFullYear(), 1950);
    for (const bad of ["490230000000Z", "4912312359Z", "491231235959+0800", "491231246000Z"]) {
      assert.throws(() => utc(bad), DerError, bad);
    }
  });

  test("strings are well-formed for their type", () => {
    assert.equal(readString(readDer(der(TAG.bmpString, hex("5f204e09")))), "张三");
    assert.throws(() => readString(readDer(der(TAG.utf8String, hex("c080")))), DerError);
    assert.throws(() => readString(readDer(der(TAG.printableString, hex("23")))), DerError);
    assert.equal(readString(readDer(der(0x14, hex("41")))), undefined);
  });

  test("a SET OF is sorted whatever order it is given in", () => {
    assert.deepEqual(derSetOf(derInteger(2n), derInteger(1n)), derSetOf(derInteger(1n), derInteger(2n)));
  });
});
