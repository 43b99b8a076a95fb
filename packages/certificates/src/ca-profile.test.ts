import assert from "node:assert/strict";
import { test } from "node:test";
import { forgeLeaf, forgeRoot } from "../tests/forge.ts";
import { CaProfileError, parseCaProfile } from "./ca-profile.ts";

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const root = forgeRoot("ecdsa");

const GOOD = {
  id: "city-ca",
  name: "市级 CA",
  anchors: [base64(root.der)],
  identity: {
    extensions: [{ oid: "1.2.86.11.7.1", field: "personId", separator: "@", part: 1, skip: 7 }],
    subject: [{ oid: "2.5.4.5", field: "personId" }],
  },
  revocation: { ocspUrl: "https://ca.example/ocsp", ocspAgeMaxSeconds: 300, crlAgeMaxSeconds: 86_400 },
};

test("a profile is read into what the checks take", () => {
  const profile = parseCaProfile(GOOD);
  assert.equal(profile.anchors[0]?.subject.attributes[0]?.value, "Root");
  assert.equal(profile.revocation.ocspAgeMaxMs, 300_000);
  assert.equal(profile.revocation.ocspNonce, true);
  assert.equal(profile.identity.extensions[0]?.encoding, "DER_STRING");
});

test("a profile that is wrong names its field", () => {
  const leaf = base64(forgeLeaf(root, "ecdsa").der);
  const identity = (more: object) => ({ extensions: [{ oid: "1.2.86.11.7.1", field: "personId", ...more }] });
  const wrong: [field: string, json: unknown][] = [
    ["profile", []],
    ["profile.anchor", { ...GOOD, anchor: [] }],
    ["id", { ...GOOD, id: "Not An Id" }],
    ["anchors", { ...GOOD, anchors: [] }],
    ["anchors[0]", { ...GOOD, anchors: ["AAAA"] }],
    ["anchors[0]", { ...GOOD, anchors: [leaf] }],
    ["identity", { ...GOOD, identity: undefined }],
    ["identity.extensions", { ...GOOD, identity: { extensions: [] } }],
    ["identity.extensions[0].oid", { ...GOOD, identity: identity({ oid: "1.02" }) }],
    ["identity.extensions[0].field", { ...GOOD, identity: identity({ field: "passport" }) }],
    ["identity.extensions[0].skip", { ...GOOD, identity: identity({ skip: -1 }) }],
    ["identity.extensions[0].encoding", { ...GOOD, identity: identity({ encoding: "BER" }) }],
    ["revocation", { ...GOOD, revocation: { ...GOOD.revocation, ocspUrl: undefined } }],
    ["revocation.ocspUrl", { ...GOOD, revocation: { ...GOOD.revocation, ocspUrl: "file:///etc/passwd" } }],
    ["revocation.ocspNonce", { ...GOOD, revocation: { ...GOOD.revocation, ocspNonce: "no" } }],
    ["revocation.crlAgeMaxSeconds", { ...GOOD, revocation: { ...GOOD.revocation, crlAgeMaxSeconds: 1e9 } }],
  ];
  for (const [field, json] of wrong) {
    assert.throws(
      () => parseCaProfile(json),
      (error) => error instanceof CaProfileError && error.field === field,
      field,
    );
  }
});
