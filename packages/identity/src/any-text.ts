import fc from "fast-check";

/**
 * For tests: any string that a caller can send, lone surrogates and control characters included. Made of UTF-16 units,
 * because a generator of code points never makes half a pair.
 */
export const anyText = fc
  .array(fc.oneof(fc.nat(0xffff), fc.nat(0x7f), fc.integer({ min: 0xff00, max: 0xff5f })), { maxLength: 80 })
  .map((units) => String.fromCharCode(...units));
