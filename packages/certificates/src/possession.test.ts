import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { forgeLeaf, forgeRoot, type Kind, makeKey, type Party } from "../tests/forge.ts";
import { parseCertificate } from "./certificate.ts";
import { contextConstructed, der, derInteger, derNull, derOctets, derOid, derSequence, derSetOf, TAG } from "./der.ts";
import { possessionMessage, verifyPossession } from "./possession.ts";
import { digest } from "./signature.ts";

const DATA = "1.2.840.113549.1.7.1";
const nonce = Buffer.alloc(16, 7);
const message = possessionMessage({ purpose: "sign-in", origin: "https://id.example", session: "s-1", nonce });
const other = possessionMessage({ purpose: "register", origin: "https://id.example", session: "s-1", nonce });

type Changes = {
  bytes?: Uint8Array;
  content?: Uint8Array;
  digestOid?: string;
  attributes?: Uint8Array[] | "none";
  signers?: number;
  key?: Party["key"];
};

function hashOf(kind: Kind): { oid: string; hash: "sm3" | "sha256" } {
  return kind === "sm2"
    ? { oid: "1.2.156.10197.1.401", hash: "sm3" }
    : { oid: "2.16.840.1.101.3.4.2.1", hash: "sha256" };
}

const contentType = (oid = DATA) => derSequence(derOid("1.2.840.113549.1.9.3"), derSetOf(derOid(oid)));
const messageDigest = (value: Uint8Array) => derSequence(derOid("1.2.840.113549.1.9.4"), derSetOf(derOctets(value)));

function signedData(signer: Party, changes: Changes = {}): Uint8Array {
  const bytes = changes.bytes ?? message;
  const { oid, hash } = hashOf(signer.key.kind);
  const algorithm = derSequence(derOid(changes.digestOid ?? oid));
  const certificate = parseCertificate(signer.der);
  const attributes = changes.attributes ?? [contentType(), messageDigest(digest(hash, bytes))];
  const set = attributes === "none" ? undefined : derSetOf(...attributes);
  const key = changes.key ?? signer.key;
  const info = derSequence(
    derInteger(1n),
    derSequence(certificate.issuer.der, derInteger(BigInt(`0x${certificate.serial}`))),
    algorithm,
    ...(set === undefined ? [] : [Uint8Array.from([contextConstructed(0), ...set.subarray(1)])]),
    key.algorithm,
    derOctets(key.sign(set ?? bytes)),
  );
  const content = changes.content === undefined ? [] : [der(contextConstructed(0), derOctets(changes.content))];
  const data = derSequence(
    derInteger(1n),
    derSetOf(algorithm),
    derSequence(derOid(DATA), ...content),
    derSetOf(...new Array<Uint8Array>(changes.signers ?? 1).fill(info)),
  );
  return derSequence(derOid("1.2.840.113549.1.7.2"), der(contextConstructed(0), data));
}

for (const kind of ["ecdsa", "sm2", "rsa"] as const) {
  describe(`possession of a ${kind} key`, () => {
    const root = forgeRoot(kind);
    const leaf = forgeLeaf(root, kind);
    const verify = (signature: Uint8Array, format: "raw" | "pkcs7", signedBytes = message): string => {
      const result = verifyPossession({ certificate: parseCertificate(leaf.der), signedBytes, signature, format });
      return result.ok ? "OK" : result.reason;
    };

    test("SZ-13.1 a raw signature proves it, for these bytes and this key only", () => {
      assert.equal(verify(leaf.key.sign(message), "raw"), "OK");
      assert.equal(verify(leaf.key.sign(message), "raw", other), "POSSESSION_SIGNATURE");
      assert.equal(verify(makeKey(kind).sign(message), "raw"), "POSSESSION_SIGNATURE");
      assert.equal(verify(Buffer.concat([leaf.key.sign(message), Uint8Array.of(0)]), "raw"), "POSSESSION_SIGNATURE");
    });

    test("SZ-13.1 signed data proves it: detached, attached, with and without signed attributes", () => {
      assert.equal(verify(signedData(leaf), "pkcs7"), "OK");
      assert.equal(verify(signedData(leaf, { content: message }), "pkcs7"), "OK");
      assert.equal(verify(signedData(leaf, { attributes: "none" }), "pkcs7"), "OK");
    });

    test("signed data about other content is refused, wherever the other content sits", () => {
      assert.equal(verify(signedData(leaf, { bytes: other }), "pkcs7"), "POSSESSION_CONTENT");
      assert.equal(verify(signedData(leaf, { bytes: other, content: other }), "pkcs7"), "POSSESSION_CONTENT");
      assert.equal(verify(signedData(leaf, { content: other }), "pkcs7"), "POSSESSION_CONTENT");
      assert.equal(verify(signedData(leaf, { bytes: other, content: message }), "pkcs7"), "POSSESSION_CONTENT");
      assert.equal(verify(signedData(leaf, { bytes: other, attributes: "none" }), "pkcs7"), "POSSESSION_SIGNATURE");
    });

    test("signed data by another certificate or key is refused", () => {
      assert.equal(verify(signedData(forgeLeaf(root, kind)), "pkcs7"), "POSSESSION_SIGNER");
      assert.equal(verify(signedData(leaf, { key: makeKey(kind) }), "pkcs7"), "POSSESSION_SIGNATURE");
    });

    test("several signers, doubled, missing or foreign attributes, and bytes after the end are refused", () => {
      const { hash } = hashOf(kind);
      const right = messageDigest(digest(hash, message));
      const malformed: Changes[] = [
        { signers: 2 },
        { attributes: [contentType(), right, messageDigest(digest(hash, other))] },
        { attributes: [right] },
        { attributes: [contentType()] },
        { attributes: [contentType("1.2.840.113549.1.9.16.1.4"), right] },
      ];
      for (const changes of malformed) {
        assert.equal(verify(signedData(leaf, changes), "pkcs7"), "POSSESSION_MALFORMED");
      }
      assert.equal(verify(Buffer.concat([signedData(leaf), Uint8Array.of(0)]), "pkcs7"), "POSSESSION_MALFORMED");
      assert.equal(verify(derSequence(derOid(DATA), der(0xa0, derNull())), "pkcs7"), "POSSESSION_MALFORMED");
      assert.equal(verify(new Uint8Array(200_000), "pkcs7"), "POSSESSION_MALFORMED");
    });

    test("a weak digest, or one that is not the signature's, is refused", () => {
      assert.equal(verify(signedData(leaf, { digestOid: "1.3.14.3.2.26" }), "pkcs7"), "POSSESSION_ALGORITHM");
      assert.equal(verify(signedData(leaf, { digestOid: "2.16.840.1.101.3.4.2.2" }), "pkcs7"), "POSSESSION_ALGORITHM");
    });
  });
}

test("a client that names only its key's algorithm is understood, but SM2 signs with SM3 alone", () => {
  const leaf = forgeLeaf(forgeRoot("sm2"), "sm2");
  const key = { ...leaf.key, algorithm: derSequence(derOid("1.2.156.10197.1.301.1")) };
  const certificate = parseCertificate(leaf.der);
  const verify = (changes: Changes) =>
    verifyPossession({ certificate, signedBytes: message, signature: signedData(leaf, changes), format: "pkcs7" });
  assert.deepEqual(verify({ key }), { ok: true });
  const attributes = [contentType(), messageDigest(digest("sha256", message))];
  assert.deepEqual(verify({ key, attributes, digestOid: "2.16.840.1.101.3.4.2.1" }), {
    ok: false,
    reason: "POSSESSION_ALGORITHM",
  });
});

test("an SM2 signature with another signer id does not prove possession", () => {
  const key = makeKey("sm2", "ALICE123@YAHOO.COM");
  const leaf = forgeLeaf(forgeRoot("sm2"), "sm2", { key });
  const certificate = parseCertificate(leaf.der);
  const result = verifyPossession({ certificate, signedBytes: message, signature: key.sign(message), format: "raw" });
  assert.deepEqual(result, { ok: false, reason: "POSSESSION_SIGNATURE" });
});

describe("the message to sign", () => {
  test("differs whenever any field differs, even where the concatenation does not", () => {
    const field = fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom("a", "b", "\0") });
    const challenge = fc.record({ purpose: field, origin: field, session: field });
    fc.assert(
      fc.property(challenge, challenge, (a, b) => {
        const same = a.purpose === b.purpose && a.origin === b.origin && a.session === b.session;
        const equal = Buffer.compare(possessionMessage({ ...a, nonce }), possessionMessage({ ...b, nonce })) === 0;
        return same === equal;
      }),
    );
  });

  test("is these bytes", () => {
    const text = possessionMessage({ purpose: "p", origin: "o", session: "s", nonce: Buffer.alloc(8, 0xab) });
    const tag = Buffer.from("fujie possession v1", "latin1").toString("hex");
    assert.equal(Buffer.from(text).toString("hex"), `0013${tag}000170${"00016f"}000173${"0008"}${"ab".repeat(8)}`);
    assert.equal(text[0] === TAG.set, false);
  });

  test("is not made from an empty, oversized or ill-formed field, or a short nonce", () => {
    const good = { purpose: "p", origin: "o", session: "s", nonce };
    const bad = [{ purpose: "" }, { origin: "x".repeat(1025) }, { session: "\ud800" }, { nonce: Buffer.alloc(7) }];
    for (const change of bad) assert.throws(() => possessionMessage({ ...good, ...change }), RangeError);
  });
});
