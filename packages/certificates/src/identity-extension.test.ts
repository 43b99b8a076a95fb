import assert from "node:assert/strict";
import { test } from "node:test";
import { extension, forgeLeaf, forgeRoot, name, utf8 } from "../tests/forge.ts";
import { parseCaProfile } from "./ca-profile.ts";
import { parseCertificate } from "./certificate.ts";
import { readIdentity } from "./identity-extension.ts";

const PERSON = "1.2.156.10260.4.1.1";
const PERSON_OLD = "1.2.156.11.7.1";
const USCC = "1.2.156.10260.4.1.4";
const ID = "11010519491231002X";

const root = forgeRoot("ecdsa");
const profile = parseCaProfile({
  id: "city-ca",
  name: "City CA",
  anchors: [Buffer.from(root.der).toString("base64")],
  identity: {
    extensions: [
      { oid: PERSON, field: "personId", separator: "@", part: 1, skip: 7 },
      { oid: PERSON_OLD, field: "personId", encoding: "RAW" },
      { oid: USCC, field: "uscc" },
    ],
    subject: [{ oid: "2.5.4.5", field: "personId" }],
  },
  revocation: { crlUrls: ["https://ca.example/crl"], ocspAgeMaxSeconds: 300, crlAgeMaxSeconds: 86_400 },
});

function identityOf(extra: Uint8Array[], subject = name("张三")) {
  return readIdentity(parseCertificate(forgeLeaf(root, "ecdsa", { extra, name: subject }).der), profile);
}
const reasonOf = (...args: Parameters<typeof identityOf>): string => {
  const result = identityOf(...args);
  return result.ok ? "OK" : result.reason;
};

test("SZ-13.1 the identifier is taken out of its wrapping, by the rules of this CA", () => {
  const result = identityOf([extension(PERSON, utf8(`1@5009SF0${ID.toLowerCase()}`))]);
  assert.ok(result.ok);
  assert.deepEqual(result.identity, { name: "张三", organisation: undefined, fields: { personId: ID } });
});

test("an organisation's certificate gives its code and name", () => {
  const result = identityOf([extension(USCC, utf8("91320500PDY00001XE"))], name("示例公司", ["2.5.4.10", "示例公司"]));
  assert.ok(result.ok);
  assert.deepEqual(result.identity.fields, { uscc: "91320500PDY00001XE" });
  assert.equal(result.identity.organisation, "示例公司");
});

test("SZ-14.2 a certificate without an identity extension identifies nobody, whatever its subject says", () => {
  assert.equal(reasonOf([], name("张三", ["2.5.4.5", ID])), "CERTIFICATE_IDENTITY_ABSENT");
  assert.equal(reasonOf([extension("1.2.86.11.7.1", utf8(ID))]), "CERTIFICATE_IDENTITY_ABSENT");
});

test("a subject, or a second extension, that says otherwise is a conflict", () => {
  const wrapped = extension(PERSON, utf8(`1@5009SF0${ID}`));
  assert.equal(reasonOf([wrapped], name("张三", ["2.5.4.5", ID])), "OK");
  assert.equal(reasonOf([wrapped], name("张三", ["2.5.4.5", "440524188001010014"])), "CERTIFICATE_IDENTITY_CONFLICT");
  const other = extension(PERSON_OLD, Buffer.from("440524188001010014", "latin1"));
  assert.equal(reasonOf([wrapped, other]), "CERTIFICATE_IDENTITY_CONFLICT");
  assert.equal(reasonOf([wrapped, extension(PERSON_OLD, Buffer.from(ID, "latin1"))]), "OK");
});

test("a value that is not wrapped as configured, or no string, or a second common name, is malformed", () => {
  assert.equal(reasonOf([extension(PERSON, utf8(ID))]), "CERTIFICATE_IDENTITY_MALFORMED");
  assert.equal(reasonOf([extension(PERSON, Uint8Array.of(0xff))]), "CERTIFICATE_IDENTITY_MALFORMED");
  assert.equal(reasonOf([extension(USCC, utf8("91320500PDY00001"))]), "CERTIFICATE_IDENTITY_MALFORMED");
  const wrapped = extension(PERSON, utf8(`1@5009SF0${ID}`));
  assert.equal(reasonOf([wrapped], name("张三", ["2.5.4.3", "李四"])), "CERTIFICATE_IDENTITY_MALFORMED");
});
