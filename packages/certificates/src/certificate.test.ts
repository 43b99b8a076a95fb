import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { END_ENTITY, extension, forge, forgeLeaf, forgeRoot, makeKey, name, SIGNING, utf8 } from "../tests/forge.ts";
import { CertificateError, certificatesFromPem, parseCertificate } from "./certificate.ts";
import { der, derBits, derInteger, derNull, derOctets, derOid, derSequence, readDer, TAG } from "./der.ts";

const root = forgeRoot("ecdsa");

function refusal(bytes: Uint8Array): string {
  try {
    parseCertificate(bytes);
    return "ACCEPTED";
  } catch (error) {
    assert.ok(error instanceof CertificateError);
    return error.reason;
  }
}

test("a certificate is read as Node's own reader reads it", () => {
  const leaf = forgeLeaf(root, "ecdsa").der;
  const ours = parseCertificate(leaf);
  const theirs = new X509Certificate(leaf);
  assert.equal(ours.serial, theirs.serialNumber.toLowerCase());
  assert.equal(ours.fingerprint, theirs.fingerprint256.replaceAll(":", "").toLowerCase());
  assert.equal(ours.notAfter.getTime(), theirs.validToDate.getTime());
  assert.equal(ours.basicConstraints.ca, theirs.ca);
  assert.deepEqual([...(ours.keyUsage ?? [])], ["digitalSignature", "nonRepudiation"]);
  const pem = theirs.toString();
  assert.deepEqual(Buffer.from(certificatesFromPem(pem)[0] ?? []), Buffer.from(leaf));
});

test("status URLs are exposed and not followed", () => {
  const uri = (url: string) => der(0x86, Buffer.from(url, "latin1"));
  const crl = derSequence(derSequence(der(0xa0, der(0xa0, uri("http://ca.example/crl")))));
  const ocsp = derSequence(derSequence(derOid("1.3.6.1.5.5.7.48.1"), uri("http://ca.example/ocsp")));
  const extra = [extension("2.5.29.31", crl), extension("1.3.6.1.5.5.7.1.1", ocsp)];
  const certificate = parseCertificate(forgeLeaf(root, "ecdsa", { extra }).der);
  assert.deepEqual(certificate.crlUrls, ["http://ca.example/crl"]);
  assert.deepEqual(certificate.ocspUrls, ["http://ca.example/ocsp"]);
});

test("a duplicate extension is refused, although validly signed", () => {
  const twice = [extension("1.2.86.11.7.1", utf8("a")), extension("1.2.86.11.7.1", utf8("b"))];
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { extra: twice }).der), "CERTIFICATE_MALFORMED");
});

test("bytes after the certificate, or surplus fields inside it, are refused, although validly signed", () => {
  const leaf = forgeLeaf(root, "ecdsa").der;
  assert.equal(refusal(Buffer.concat([leaf, Uint8Array.of(0)])), "CERTIFICATE_MALFORMED");
  assert.equal(refusal(derSequence(readDer(leaf).content, derNull())), "CERTIFICATE_MALFORMED");
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { surplus: derNull() }).der), "CERTIFICATE_MALFORMED");
});

test("bytes after the value of an extension are refused", () => {
  const padded = extension("2.5.29.14", Buffer.concat([derOctets(Uint8Array.of(1)), Uint8Array.of(0)]));
  const key = makeKey("ecdsa");
  const leaf = forge({ key, name: name("x"), issuer: root, extensions: [END_ENTITY, SIGNING, padded] });
  assert.equal(refusal(leaf.der), "CERTIFICATE_MALFORMED");
});

test("indefinite and padded lengths are refused", () => {
  const leaf = forgeLeaf(root, "ecdsa").der;
  const { content } = readDer(leaf);
  const header = (...bytes: number[]) => Buffer.concat([Uint8Array.of(...bytes), content]);
  assert.equal(refusal(Buffer.concat([header(0x30, 0x80), Uint8Array.of(0, 0)])), "CERTIFICATE_MALFORMED");
  assert.equal(refusal(header(0x30, 0x83, 0, content.length >> 8, content.length & 0xff)), "CERTIFICATE_MALFORMED");
});

test("serial numbers that are zero or too long, and empty subjects, are refused", () => {
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { serial: 0n }).der), "CERTIFICATE_MALFORMED");
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { serial: 1n << 168n }).der), "CERTIFICATE_MALFORMED");
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { name: derSequence() }).der), "CERTIFICATE_MALFORMED");
});

test("weak and unknown algorithms are refused by name", () => {
  const sha1 = derSequence(derOid("1.2.840.10045.4.1"));
  const weak = { ...root, key: { ...root.key, algorithm: sha1 } };
  assert.equal(refusal(forgeLeaf(weak, "ecdsa").der), "CERTIFICATE_ALGORITHM_UNSUPPORTED");
  const curve = derSequence(derOid("1.2.840.10045.2.1"), derOid("1.3.132.0.10"));
  const key = { ...makeKey("ecdsa"), spki: derSequence(curve, derBits(makeKey("ecdsa").bits)) };
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { key }).der), "CERTIFICATE_ALGORITHM_UNSUPPORTED");
  const off = makeKey("sm2");
  const point = Uint8Array.from(off.bits);
  point[64] = (point[64] ?? 0) ^ 1;
  const header = derSequence(derOid("1.2.840.10045.2.1"), derOid("1.2.156.10197.1.301"));
  const offCurve = { ...off, spki: derSequence(header, derBits(point)) };
  assert.equal(refusal(forgeLeaf(root, "ecdsa", { key: offCurve }).der), "CERTIFICATE_ALGORITHM_UNSUPPORTED");
});

test("arbitrary bytes are refused with a typed error and never crash the reader", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusal(bytes) === "CERTIFICATE_MALFORMED"));
  assert.equal(refusal(new Uint8Array(40_000)), "CERTIFICATE_MALFORMED");
  const deep = Array.from({ length: 60 }).reduce<Uint8Array>((inner) => der(TAG.sequence, inner), derInteger(1n));
  assert.equal(refusal(deep), "CERTIFICATE_MALFORMED");
});

test("a PEM text without a certificate is refused", () => {
  assert.throws(() => certificatesFromPem("nothing"), CertificateError);
});
