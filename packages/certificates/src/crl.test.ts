import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  AT,
  ca,
  days,
  extension,
  forge,
  forgeCrl,
  forgeLeaf,
  forgeRoot,
  makeKey,
  name,
  SIGNING,
} from "../tests/forge.ts";
import { parseCertificate } from "./certificate.ts";
import { type CrlInput, checkCrl, findRevocation } from "./crl.ts";
import { derInteger, derSequence } from "./der.ts";

for (const kind of ["ecdsa", "sm2"] as const) {
  describe(`a revocation list by a ${kind} CA`, () => {
    const root = forgeRoot(kind);
    const issuer = parseCertificate(root.der);
    const reasonOf = (crl: Uint8Array, more: Partial<CrlInput> = {}): string => {
      const result = checkCrl({ crl, issuer, at: AT, ...more });
      return result.ok ? "OK" : result.reason;
    };

    test("SZ-13.1 tells who is revoked, since when and why", () => {
      const revoked = [{ serial: 5000n, reason: 1 }, { serial: 5001n }];
      const result = checkCrl({ crl: forgeCrl(root, { number: 9n, revoked }), issuer, at: AT });
      assert.ok(result.ok);
      assert.equal(result.crl.number, 9n);
      const find = (serial: bigint) =>
        findRevocation(result.crl, parseCertificate(forgeLeaf(root, kind, { serial }).der));
      assert.deepEqual(find(5000n), { at: days(-2), reason: "keyCompromise" });
      assert.deepEqual(find(5001n), { at: days(-2), reason: "unspecified" });
      assert.equal(find(5002n), undefined);
    });

    test("is refused when stale, early, or older than the policy allows", () => {
      assert.equal(reasonOf(forgeCrl(root, { nextUpdate: AT })), "CRL_STALE");
      assert.equal(reasonOf(forgeCrl(root, { thisUpdate: days(1) })), "CRL_NOT_YET_VALID");
      assert.equal(reasonOf(forgeCrl(root), { ageMaxMs: 3_600_000 }), "CRL_STALE");
    });

    test("is refused when its number goes back, and accepted again with the same number", () => {
      assert.equal(reasonOf(forgeCrl(root, { number: 7n }), { numberMin: 8n }), "CRL_ROLLED_BACK");
      assert.equal(reasonOf(forgeCrl(root, { number: 8n }), { numberMin: 8n }), "OK");
    });

    test("is refused from another issuer, by another key, or from a CA that may not sign lists", () => {
      assert.equal(reasonOf(forgeCrl({ ...root, name: name("Other") })), "CRL_WRONG_ISSUER");
      assert.equal(reasonOf(forgeCrl(root, { key: makeKey(kind) })), "CRL_SIGNATURE");
      const mute = forge({ key: root.key, name: root.name, extensions: [ca(), SIGNING] });
      assert.equal(reasonOf(forgeCrl(root), { issuer: parseCertificate(mute.der) }), "CRL_WRONG_ISSUER");
    });

    test("is refused when it is a delta or covers a part only", () => {
      const delta = extension("2.5.29.27", derInteger(6n), true);
      const part = extension("2.5.29.28", derSequence(), true);
      assert.equal(reasonOf(forgeCrl(root, { extra: [delta] })), "CRL_UNSUPPORTED");
      assert.equal(reasonOf(forgeCrl(root, { extra: [part] })), "CRL_UNSUPPORTED");
    });

    test("says nothing about another issuer's certificates", () => {
      const result = checkCrl({ crl: forgeCrl(root), issuer, at: AT });
      assert.ok(result.ok);
      const other = forgeRoot(kind, "Other");
      const foreign = parseCertificate(forgeLeaf(other, kind).der);
      assert.throws(() => findRevocation(result.crl, foreign), RangeError);
    });

    test("never verifies, and never throws, with any byte changed", () => {
      const good = forgeCrl(root, { revoked: [{ serial: 5000n, reason: 1 }] });
      fc.assert(
        fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (position, change) => {
          const bytes = Uint8Array.from(good);
          bytes[position] = (bytes[position] ?? 0) ^ change;
          return reasonOf(bytes) !== "OK";
        }),
        { numRuns: 120 },
      );
      assert.equal(reasonOf(Buffer.concat([good, Uint8Array.of(0)])), "CRL_MALFORMED");
    });
  });
}
