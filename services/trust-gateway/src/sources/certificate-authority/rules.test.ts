import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type CaProfile, parseCaProfile } from "@fujie/certificates";
import { derNull, derOid, derSequence } from "@fujie/certificates/der";
import {
  AT,
  authorityKeyId,
  CERT_AND_CRL_SIGNING,
  ca,
  days,
  ENCRYPTING,
  END_ENTITY,
  extension,
  forge,
  forgeCa,
  forgeLeaf,
  forgeRoot,
  makeKey,
  name,
  type Party,
  SIGNING,
  subjectKeyId,
  utf8,
} from "@fujie/certificates/testing";
import { findPath, identify } from "./rules.ts";

const PERSON_ID = "1.2.156.10260.4.1.1";
const OTHER_ID = "1.2.86.11.7.1";
const CITIZEN = "11010519491231002X";

/** A CA's profile: where it writes a person's number is its own. */
function profileOf(id: string, root: Party, published: readonly Party[], oid = PERSON_ID): CaProfile {
  const base64 = ({ der }: Party) => Buffer.from(der).toString("base64");
  return parseCaProfile({
    id,
    name: id,
    anchors: [base64(root)],
    intermediates: published.map(base64),
    identity: { extensions: [{ oid, field: "personId" }], subject: [] },
    revocation: { crlUrls: ["https://ca.example.cn/list.crl"], ocspAgeMaxSeconds: 300, crlAgeMaxSeconds: 86_400 },
  });
}

const root = forgeRoot("ecdsa", "Root A");
const issuing = forgeCa(root, "ecdsa", "Issuing A");
const a = profileOf("ca-a", root, [issuing]);
const leaf = forgeLeaf(issuing, "ecdsa", { extra: [extension(PERSON_ID, utf8(CITIZEN))] });

function outcomeOf(chain: readonly Party[], profiles: readonly CaProfile[] = [a]): string {
  const found = findPath(
    chain.map(({ der }) => der),
    profiles,
    AT,
  );
  return found.ok ? found.profile.id : found.reason;
}

test("NI-35 an RSA, an ECDSA and an SM2 chain lead to their own CA's anchors, sent whole or as the leaf alone", () => {
  const profiles = (["ecdsa", "sm2", "rsa"] as const).map((kind) => {
    const own = forgeRoot(kind, `Root ${kind}`);
    const between = forgeCa(own, kind, `Issuing ${kind}`);
    return {
      id: `ca-${kind}`,
      profile: profileOf(`ca-${kind}`, own, [between]),
      between,
      held: forgeLeaf(between, kind),
    };
  });
  const all = profiles.map(({ profile }) => profile);
  for (const { id, between, held } of profiles) {
    assert.equal(outcomeOf([held], all), id);
    assert.equal(outcomeOf([held, between], all), id);
    const others = all.filter((profile) => profile.id !== id);
    assert.equal(outcomeOf([held, between], others), "CERTIFICATE_UNTRUSTED");
  }
});

test("NI-35 each broken chain is refused for its own reason", () => {
  const below = (party: Party) => forgeLeaf(party, "ecdsa");
  const person = forgeLeaf(issuing, "ecdsa");
  const deep = forgeCa(issuing, "ecdsa", "Too deep");
  const twin = forgeCa(forgeRoot("ecdsa", "Root A"), "ecdsa", "Issuing A");
  const doubled = [END_ENTITY, SIGNING, subjectKeyId(leaf.key), SIGNING];
  const shifted = makeKey("sm2", "another-signer-id");
  const sm2 = forgeRoot("sm2", "Root S");
  const forgedSm2 = forge({
    key: makeKey("sm2"),
    name: name("张三"),
    issuer: { ...sm2, key: { ...shifted, bits: sm2.key.bits, spki: sm2.key.spki } },
    extensions: [END_ENTITY, SIGNING],
  });
  const cases: [what: string, reason: string, chain: readonly Party[], profiles?: readonly CaProfile[]][] = [
    ["a person's certificate issues", "CERTIFICATE_CHAIN_INVALID", [below(person), person, issuing]],
    ["a CA below pathLen 0", "CERTIFICATE_CHAIN_INVALID", [below(deep), deep, issuing]],
    ["a CA of the same name with another key", "CERTIFICATE_UNTRUSTED", [below(twin), twin]],
    ["an encryption certificate", "CERTIFICATE_KEY_USAGE", [forgeLeaf(issuing, "ecdsa", { usage: ENCRYPTING })]],
    [
      "another algorithm outside than inside",
      "CERTIFICATE_CHAIN_INVALID",
      [forgeLeaf(issuing, "ecdsa", { outerAlgorithm: derSequence(derOid("1.2.840.10045.4.3.3")) })],
    ],
    ["bytes after the certificate", "CERTIFICATE_MALFORMED", [{ ...leaf, der: Buffer.concat([leaf.der, derNull()]) }]],
    ["an extension twice", "CERTIFICATE_MALFORMED", [forgeLeaf(issuing, "ecdsa", { extensions: doubled })]],
    ["no certificate", "CERTIFICATE_MALFORMED", [{ ...leaf, der: new Uint8Array([1, 2, 3]) }]],
    ["a signature under another SM2 signer id", "CERTIFICATE_UNTRUSTED", [forgedSm2], [profileOf("ca-s", sm2, [])]],
    ["an expired one", "CERTIFICATE_EXPIRED", [forgeLeaf(issuing, "ecdsa", { notAfter: days(-1) })]],
    ["one of tomorrow", "CERTIFICATE_NOT_YET_VALID", [forgeLeaf(issuing, "ecdsa", { notBefore: days(1) })]],
    ["an SM2 leaf below an ECDSA CA", "CERTIFICATE_CHAIN_INVALID", [forgeLeaf(issuing, "sm2")]],
    ["nobody's", "CERTIFICATE_UNTRUSTED", [leaf], []],
  ];
  for (const [what, reason, chain, profiles] of cases) assert.equal(outcomeOf(chain, profiles), reason, what);
});

test("NI-35 a cross-signature does not make one CA's certificate another's, wherever that stands in the list", () => {
  const rootB = forgeRoot("ecdsa", "Root B");
  const issuingB = forgeCa(rootB, "ecdsa", "Issuing B");
  const b = profileOf("ca-b", rootB, [issuingB], OTHER_ID);
  // B has certified A's issuing key: a chain from A's leaf to B's anchor that holds link by link.
  const cross = forge({
    key: issuing.key,
    name: issuing.name,
    issuer: rootB,
    extensions: [ca(0), CERT_AND_CRL_SIGNING, subjectKeyId(issuing.key), authorityKeyId(rootB.key)],
  });
  for (const profiles of [
    [a, b],
    [b, a],
  ]) {
    assert.equal(outcomeOf([leaf, cross, issuing], profiles), "ca-a");
    assert.equal(outcomeOf([leaf, cross], profiles), "ca-a");
  }
  assert.equal(outcomeOf([leaf, cross], [b]), "CERTIFICATE_UNTRUSTED");
  // A CA that publishes no issuing certificates takes those that are sent.
  assert.equal(outcomeOf([leaf, cross], [profileOf("ca-b", rootB, [])]), "ca-b");
});

test("NI-35 an identity is its CA's word: the other CA's extension, with whatever number, says nothing", () => {
  const options = { nowMs: AT.getTime(), allowFictional: false };
  const asked = (profile: CaProfile, party: Party) => {
    const found = findPath([party.der], [profile], AT);
    const [certificate] = found.ok ? found.path : [];
    assert.ok(certificate !== undefined);
    const identified = identify(certificate, profile, options);
    return identified.ok ? identified.holder : identified.reason;
  };
  assert.deepEqual(asked(a, leaf), { case: "citizenId", value: CITIZEN });
  const foreign = forgeLeaf(issuing, "ecdsa", { extra: [extension(OTHER_ID, utf8(CITIZEN))] });
  assert.equal(asked(a, foreign), "CERTIFICATE_IDENTITY_ABSENT");
  const twice = [extension(PERSON_ID, utf8(CITIZEN)), extension(OTHER_ID, utf8("440524188001010014"))];
  assert.deepEqual(asked(a, forgeLeaf(issuing, "ecdsa", { extra: twice })), { case: "citizenId", value: CITIZEN });
  const wrong = forgeLeaf(issuing, "ecdsa", { extra: [extension(PERSON_ID, utf8("110105194912310021"))] });
  assert.equal(asked(a, wrong), "CERTIFICATE_IDENTITY_ABSENT");
});
