import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import fc from "fast-check";
import {
  AT,
  authorityKeyId,
  CERT_AND_CRL_SIGNING,
  ca,
  days,
  ENCRYPTING,
  END_ENTITY,
  extendedKeyUsage,
  extension,
  forge,
  forgeCa,
  forgeLeaf,
  forgeRoot,
  type Kind,
  makeKey,
  name,
  type Party,
  SIGNING,
  subjectKeyId,
  utf8,
} from "../tests/forge.ts";
import { parseCertificate } from "./certificate.ts";
import { derNull, derOid, derSequence } from "./der.ts";
import { buildAndCheckPath, type PathResult } from "./path.ts";

for (const kind of ["ecdsa", "sm2", "rsa"] as const) {
  describe(`a path of ${kind} certificates`, () => pathSuite(kind));
}

function pathSuite(kind: Kind): void {
  let root: Party;
  let issuing: Party;
  let leaf: Party;
  before(() => {
    root = forgeRoot(kind);
    issuing = forgeCa(root, kind, "Issuing");
    leaf = forgeLeaf(issuing, kind);
  });

  function check(
    subject: Party,
    intermediates: Party[] = [issuing],
    more: { at?: Date; anchors?: Party[]; recognised?: string[] } = {},
  ): PathResult {
    return buildAndCheckPath({
      leaf: subject.der,
      intermediates: intermediates.map((party) => party.der),
      anchors: (more.anchors ?? [root]).map((party) => parseCertificate(party.der)),
      at: more.at ?? AT,
      purpose: "SUBJECT_SIGNATURE",
      recognisedExtensions: more.recognised ?? [],
    });
  }
  const reasonOf = (result: PathResult): string => (result.ok ? "OK" : result.reason);

  test("SZ-13.1 a leaf, its issuing CA and a configured anchor make a path, in whatever order they come", () => {
    const result = check(leaf, [root, issuing]);
    assert.ok(result.ok);
    assert.deepEqual(
      result.path.map(({ subject }) => subject.attributes[0]?.value),
      ["张三", "Issuing", "Root"],
    );
  });

  test("the last second of a period still belongs to it", () => {
    const last = forgeLeaf(issuing, kind, { notAfter: AT });
    assert.equal(reasonOf(check(last, [issuing], { at: new Date(AT.getTime() + 999) })), "OK");
    assert.equal(reasonOf(check(last, [issuing], { at: new Date(AT.getTime() + 1000) })), "CERTIFICATE_EXPIRED");
  });

  test("SZ-13.1 an expired leaf, intermediate or anchor is refused", () => {
    assert.equal(reasonOf(check(forgeLeaf(issuing, kind, { notAfter: days(-1) }))), "CERTIFICATE_EXPIRED");
    assert.equal(reasonOf(check(leaf, [issuing], { at: days(400) })), "CERTIFICATE_EXPIRED");
  });

  test("a certificate from the future is refused", () => {
    assert.equal(reasonOf(check(forgeLeaf(issuing, kind, { notBefore: days(1) }))), "CERTIFICATE_NOT_YET_VALID");
  });

  test("SZ-13.1 a foreign CA is refused, although its own chain is sound", () => {
    assert.equal(reasonOf(check(leaf, [issuing], { anchors: [forgeRoot(kind, "Other")] })), "CERTIFICATE_UNTRUSTED");
    assert.equal(reasonOf(check(leaf, [])), "CERTIFICATE_UNTRUSTED");
    assert.equal(reasonOf(check(leaf, [issuing], { anchors: [] })), "CERTIFICATE_UNTRUSTED");
  });

  test("an issuer of another name is refused, although its key signed", () => {
    const renamed = { ...issuing, name: name("Someone else") };
    assert.equal(reasonOf(check(forgeLeaf(renamed, kind))), "CERTIFICATE_UNTRUSTED");
  });

  test("a CA with the same name and another key is refused, with its key identifier told or hidden", () => {
    const twin = forgeRoot(kind);
    const forgedIssuing = forgeCa(twin, kind, "Issuing");
    assert.equal(reasonOf(check(forgeLeaf(forgedIssuing, kind), [forgedIssuing])), "CERTIFICATE_UNTRUSTED");
    const key = makeKey(kind);
    const quiet = forge({ key, name: name("Issuing"), issuer: twin, extensions: [ca(0), CERT_AND_CRL_SIGNING] });
    const leafOfQuiet = forge({
      key: makeKey(kind),
      name: name("x"),
      issuer: quiet,
      extensions: [END_ENTITY, SIGNING],
    });
    assert.equal(reasonOf(check(leafOfQuiet, [quiet])), "CERTIFICATE_UNTRUSTED");
  });

  test("a twin of the issuing CA beside the real one does not hide it", () => {
    const twin = forgeCa(forgeRoot(kind), kind, "Issuing");
    assert.equal(reasonOf(check(leaf, [twin, issuing])), "OK");
  });

  test("an issuer whose key differs from the key that the child names is refused", () => {
    const wrong = forgeLeaf(issuing, kind, { extensions: [END_ENTITY, SIGNING, authorityKeyId(makeKey(kind))] });
    assert.equal(reasonOf(check(wrong)), "CERTIFICATE_UNTRUSTED");
  });

  test("a person's certificate cannot issue another one", () => {
    const second = forgeLeaf(leaf, kind);
    assert.equal(reasonOf(check(second, [leaf, issuing])), "CERTIFICATE_NOT_A_CA");
  });

  test("a CA below a CA with pathLen 0 is refused", () => {
    const sub = forgeCa(issuing, kind, "Sub");
    assert.equal(reasonOf(check(forgeLeaf(sub, kind), [sub, issuing])), "CERTIFICATE_PATH_TOO_LONG");
    const roomy = forgeCa(root, kind, "Roomy", ca(1));
    const below = forgeCa(roomy, kind, "Below");
    assert.equal(reasonOf(check(forgeLeaf(below, kind), [below, roomy])), "OK");
  });

  test("more intermediates than any real chain has are refused unread", () => {
    assert.equal(reasonOf(check(leaf, new Array<Party>(9).fill(issuing))), "CERTIFICATE_PATH_TOO_LONG");
  });

  test("the encryption certificate of a pair, or one without key usage, does not sign", () => {
    assert.equal(reasonOf(check(forgeLeaf(issuing, kind, { usage: ENCRYPTING }))), "CERTIFICATE_KEY_USAGE");
    assert.equal(reasonOf(check(forgeLeaf(issuing, kind, { extensions: [END_ENTITY] }))), "CERTIFICATE_KEY_USAGE");
  });

  test("a CA that may not sign certificates, and a CA in the place of a person, are refused", () => {
    const key = makeKey(kind);
    const mute = forge({ key, name: name("Mute"), issuer: root, extensions: [ca(0), SIGNING, subjectKeyId(key)] });
    assert.equal(reasonOf(check(forgeLeaf(mute, kind), [mute])), "CERTIFICATE_KEY_USAGE");
    assert.equal(reasonOf(check(issuing, [])), "CERTIFICATE_KEY_USAGE");
    const signingCa = forge({ key, name: name("Both"), issuer: root, extensions: [ca(0), SIGNING] });
    assert.equal(reasonOf(check(signingCa, [])), "CERTIFICATE_KEY_USAGE");
  });

  test("a server's or responder's certificate is not its subject's signature; a client's is", () => {
    const withUse = (...uses: string[]) => forgeLeaf(issuing, kind, { extra: [extendedKeyUsage(...uses)] });
    assert.equal(reasonOf(check(withUse("1.3.6.1.5.5.7.3.1"))), "CERTIFICATE_KEY_USAGE");
    assert.equal(reasonOf(check(withUse("1.3.6.1.5.5.7.3.9"))), "CERTIFICATE_KEY_USAGE");
    assert.equal(reasonOf(check(withUse("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"))), "OK");
  });

  test("an unknown critical extension is refused, unless the caller reads it", () => {
    const oid = "1.2.156.10260.4.1.1";
    const critical = forgeLeaf(issuing, kind, { extra: [extension(oid, utf8("x"), true)] });
    assert.equal(reasonOf(check(critical)), "CERTIFICATE_CRITICAL_EXTENSION");
    assert.equal(reasonOf(check(critical, [issuing], { recognised: [oid] })), "OK");
  });

  test("name constraints are refused even when not critical, because they are not enforced here", () => {
    const key = makeKey(kind);
    const extensions = [ca(0), CERT_AND_CRL_SIGNING, subjectKeyId(key), extension("2.5.29.30", derSequence())];
    const bounded = forge({ key, name: name("Bounded"), issuer: root, extensions });
    assert.equal(reasonOf(check(forgeLeaf(bounded, kind), [bounded])), "CERTIFICATE_CRITICAL_EXTENSION");
  });

  test("a signature algorithm that differs inside and outside is refused", () => {
    const outerAlgorithm = derSequence(derOid("1.2.840.113549.1.1.12"), derNull());
    assert.equal(reasonOf(check(forgeLeaf(issuing, kind, { outerAlgorithm }))), "CERTIFICATE_ALGORITHM_MIXED");
  });

  test("SM2 does not mix with other algorithms in one chain", () => {
    const other = kind === "sm2" ? "ecdsa" : "sm2";
    assert.equal(reasonOf(check(forgeLeaf(issuing, other))), "CERTIFICATE_ALGORITHM_MIXED");
    const pretender = { ...makeKey(other), algorithm: issuing.key.algorithm };
    const sub = forge({
      key: pretender,
      name: name("P"),
      issuer: root,
      extensions: [ca(0), CERT_AND_CRL_SIGNING, subjectKeyId(pretender)],
    });
    assert.equal(reasonOf(check(forgeLeaf(sub, kind), [sub])), "CERTIFICATE_ALGORITHM_MIXED");
  });

  test("bytes after a certificate are refused", () => {
    const longer = { ...leaf, der: Buffer.concat([leaf.der, Uint8Array.of(0)]) };
    assert.equal(reasonOf(check(longer)), "CERTIFICATE_MALFORMED");
  });

  test("whatever byte of the leaf or its issuer is changed, the chain does not verify and nothing throws", () => {
    const chainLength = leaf.der.length + issuing.der.length;
    fc.assert(
      fc.property(fc.nat(chainLength - 1), fc.integer({ min: 1, max: 255 }), (position, change) => {
        const bytes = Buffer.concat([leaf.der, issuing.der]);
        bytes[position] = (bytes[position] ?? 0) ^ change;
        const changedLeaf = { ...leaf, der: bytes.subarray(0, leaf.der.length) };
        const changedIssuing = { ...issuing, der: bytes.subarray(leaf.der.length) };
        return !check(changedLeaf, [changedIssuing]).ok;
      }),
      { numRuns: kind === "sm2" ? 150 : 600 },
    );
  });
}

test("an SM2 signature made with another signer id does not verify", () => {
  const root = forgeRoot("sm2");
  const issuingKey = makeKey("sm2", "");
  const extensions = [ca(0), CERT_AND_CRL_SIGNING, subjectKeyId(issuingKey), authorityKeyId(root.key)];
  const issuing = forge({ key: issuingKey, name: name("Issuing"), issuer: root, extensions });
  const result = buildAndCheckPath({
    leaf: forgeLeaf(issuing, "sm2").der,
    intermediates: [issuing.der],
    anchors: [parseCertificate(root.der)],
    at: AT,
    purpose: "SUBJECT_SIGNATURE",
  });
  assert.deepEqual(result, { ok: false, reason: "CERTIFICATE_UNTRUSTED" });
});

test("a crowd of look-alike intermediates is bounded work", () => {
  const root = forgeRoot("ecdsa");
  const crowd = Array.from({ length: 8 }, () => {
    const key = makeKey("ecdsa");
    return forge({ key, name: name("Root"), extensions: [ca(), CERT_AND_CRL_SIGNING] });
  });
  const result = buildAndCheckPath({
    leaf: forgeLeaf(root, "ecdsa").der,
    intermediates: crowd.map((party) => party.der),
    anchors: [parseCertificate(root.der)],
    at: AT,
    purpose: "SUBJECT_SIGNATURE",
  });
  assert.ok(result.ok);
});
