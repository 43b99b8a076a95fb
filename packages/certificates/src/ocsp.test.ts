import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  AT,
  days,
  extendedKeyUsage,
  extension,
  forgeCa,
  forgeLeaf,
  forgeOcsp,
  forgeResponder,
  forgeRoot,
  makeKey,
  REVOKED_STATUS,
  UNKNOWN_STATUS,
} from "../tests/forge.ts";
import { parseCertificate } from "./certificate.ts";
import { der, derNull, derSequence, TAG } from "./der.ts";
import { buildOcspRequest, checkOcspResponse, type OcspInput, readOcspRequest } from "./ocsp.ts";

const nonce = Buffer.from("0123456789abcdef", "latin1");

for (const kind of ["ecdsa", "sm2"] as const) {
  describe(`an OCSP response of a ${kind} CA`, () => {
    const root = forgeRoot(kind);
    const issuer = forgeCa(root, kind, "Issuing");
    const leaf = forgeLeaf(issuer, kind);
    const responder = forgeResponder(issuer, kind);
    const usual = { certificate: leaf, issuer, signer: responder, nonce, certificates: [responder] };

    const check = (response: Uint8Array, more: Partial<OcspInput> = {}) =>
      checkOcspResponse({
        response,
        certificate: parseCertificate(leaf.der),
        issuer: parseCertificate(issuer.der),
        at: AT,
        nonce,
        ageMaxMs: 300_000,
        ...more,
      });
    const reasonOf = (...args: Parameters<typeof check>): string => {
      const result = check(...args);
      return result.ok ? "OK" : result.reason;
    };

    test("SZ-13.1 says good or revoked, and unknown is not good", () => {
      assert.deepEqual(check(forgeOcsp(usual)), { ok: true, revocation: undefined, thisUpdate: AT });
      const revoked = check(forgeOcsp({ ...usual, status: REVOKED_STATUS }));
      assert.deepEqual(revoked, {
        ok: true,
        revocation: { at: days(-2), reason: "keyCompromise" },
        thisUpdate: AT,
      });
      assert.equal(reasonOf(forgeOcsp({ ...usual, status: UNKNOWN_STATUS })), "OCSP_UNKNOWN");
    });

    test("a replayed response is refused: another nonce, none, or an old one", () => {
      assert.equal(reasonOf(forgeOcsp({ ...usual, nonce: Buffer.alloc(16) })), "OCSP_NONCE");
      const { nonce: _, ...without } = usual;
      assert.equal(reasonOf(forgeOcsp(without)), "OCSP_NONCE");
      assert.equal(reasonOf(forgeOcsp(without), { nonce: undefined }), "OK");
      const minutes = (count: number) => new Date(AT.getTime() + count * 60_000);
      assert.equal(reasonOf(forgeOcsp(usual), { at: minutes(6) }), "OCSP_STALE");
      assert.equal(reasonOf(forgeOcsp({ ...usual, nextUpdate: minutes(1) }), { at: minutes(1) }), "OCSP_STALE");
      assert.equal(reasonOf(forgeOcsp({ ...usual, thisUpdate: minutes(2) })), "OCSP_NOT_YET_VALID");
    });

    test("an answer about another certificate, or about the same serial of another issuer, is refused", () => {
      const other = forgeLeaf(issuer, kind);
      assert.equal(reasonOf(forgeOcsp({ ...usual, certificate: other })), "OCSP_WRONG_CERTIFICATE");
      assert.equal(reasonOf(forgeOcsp({ ...usual, issuer: root })), "OCSP_WRONG_CERTIFICATE");
    });

    test("only the issuer's own delegate signs: not a person, not another CA's responder, not one without no-check", () => {
      const by = (signer: typeof responder) => reasonOf(forgeOcsp({ ...usual, signer, certificates: [signer] }));
      assert.equal(by(forgeLeaf(issuer, kind)), "OCSP_SIGNER");
      assert.equal(by(forgeResponder(root, kind)), "OCSP_SIGNER");
      assert.equal(by(forgeResponder(forgeCa(root, kind, "Issuing"), kind)), "OCSP_SIGNER");
      const noCheck = extension("1.3.6.1.5.5.7.48.1.5", derNull());
      assert.equal(by(forgeResponder(issuer, kind, [extendedKeyUsage("1.3.6.1.5.5.7.3.2"), noCheck])), "OCSP_SIGNER");
      assert.equal(by(forgeResponder(issuer, kind, [extendedKeyUsage("1.3.6.1.5.5.7.3.9")])), "OCSP_SIGNER");
      assert.equal(reasonOf(forgeOcsp({ ...usual, certificates: [] })), "OCSP_SIGNER");
      assert.equal(reasonOf(forgeOcsp({ ...usual, signer: { ...responder, name: leaf.name } })), "OCSP_SIGNER");
    });

    test("a delegate chained through another certificate is refused", () => {
      const person = forgeLeaf(issuer, kind);
      const deep = forgeResponder(person, kind);
      assert.equal(reasonOf(forgeOcsp({ ...usual, signer: deep, certificates: [deep, person] })), "OCSP_SIGNER");
    });

    test("a signature by another key is refused", () => {
      assert.equal(reasonOf(forgeOcsp({ ...usual, signingKey: makeKey(kind) })), "OCSP_SIGNATURE");
    });

    test("an unsigned refusal of the responder is not a status", () => {
      assert.equal(reasonOf(derSequence(der(TAG.enumerated, Uint8Array.of(3)))), "OCSP_REFUSED");
    });

    test("never verifies, and never throws, with any byte changed", () => {
      const good = forgeOcsp(usual);
      fc.assert(
        fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (position, change) => {
          const bytes = Uint8Array.from(good);
          bytes[position] = (bytes[position] ?? 0) ^ change;
          return reasonOf(bytes) !== "OK";
        }),
        { numRuns: 120 },
      );
    });

    test("the list of certificates, which no signature covers, is a SEQUENCE and nothing else", () => {
      const good = Buffer.from(forgeOcsp(usual));
      const list = good.lastIndexOf(Buffer.from(responder.der)) - 4;
      assert.equal(good[list], TAG.sequence);
      for (const tag of [TAG.set, 0x20, 0x34, 0xb0]) {
        const changed = Uint8Array.from(good);
        changed[list] = tag;
        assert.equal(reasonOf(changed), "OCSP_MALFORMED");
      }
    });

    test("a request names the certificate and carries the nonce", () => {
      const input = { certificate: parseCertificate(leaf.der), issuer: parseCertificate(issuer.der) };
      const request = readOcspRequest(buildOcspRequest({ ...input, nonce }));
      assert.deepEqual(Buffer.from(request.nonce ?? []), nonce);
      assert.equal(request.ids[0]?.serial, input.certificate.serial);
      assert.equal(readOcspRequest(buildOcspRequest({ ...input, nonce: undefined })).nonce, undefined);
      assert.throws(() => buildOcspRequest({ ...input, nonce: Buffer.alloc(4) }), RangeError);
    });
  });
}
