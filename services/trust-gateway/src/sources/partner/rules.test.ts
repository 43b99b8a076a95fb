import { strict as assert } from "node:assert";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AssertionSchema, ClaimType, SignedAssertionSchema, Verdict } from "@fujie/api/fujie/source/v1/source";
import { type Check, SourceError } from "../source.ts";
import { digestElements, type Expectation, readAssertion } from "./rules.ts";

const NOW = Date.UTC(2026, 2, 2);
const registered = generateKeyPairSync("ec", { namedCurve: "P-256" });
const foreign = generateKeyPairSync("ec", { namedCurve: "P-256" });
const check: Check = {
  bizSeq: "0123456789abcdef0123456789abcdef",
  nonce: new Uint8Array(32).fill(7),
  claim: { type: "PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "张三" },
  purpose: "test",
  askedAtMs: NOW - 1_000,
};
const expected: Expectation = {
  sourceId: "bank",
  audience: "fujie",
  keys: new Map([["key-1", registered.publicKey]]),
  check,
  level: 2,
  nowMs: NOW,
  live: true,
};
const truth = {
  sourceId: "bank",
  bizSeq: check.bizSeq,
  audience: "fujie",
  nonce: check.nonce,
  claimType: ClaimType.PERSON_TWO_ELEMENT,
  elementsDigest: new Uint8Array(digestElements(check)),
  verdict: Verdict.MATCH,
  level: 2,
  checkTime: timestampFromMs(NOW),
};

function assertion(change: MessageInitShape<typeof AssertionSchema> = {}, key: KeyObject = registered.privateKey) {
  const bytes = toBinary(AssertionSchema, create(AssertionSchema, { ...truth, ...change }));
  const signed = Buffer.concat([Buffer.from("fujie-source-assertion-v1\n"), bytes]);
  const signature = new Uint8Array(sign("sha256", signed, { key, dsaEncoding: "ieee-p1363" }));
  return create(SignedAssertionSchema, { assertion: bytes, signature, keyId: "key-1" });
}

function refuses(signed: ReturnType<typeof assertion> | undefined, problem: RegExp, change: Partial<Expectation> = {}) {
  assert.throws(
    () => readAssertion(signed, { ...expected, ...change }),
    (error) => error instanceof SourceError && error.fault === "REFUSED" && problem.test(error.message),
  );
}

test("SZ-11.2 a signed assertion gives verdict, level and time", () => {
  assert.deepEqual(readAssertion(assertion(), expected), { verdict: "MATCH", level: 2, checkedAtMs: NOW });
  assert.equal(readAssertion(assertion({ level: 3 }), expected).level, 2);
  assert.equal(readAssertion(assertion({ level: 1 }), expected).level, 1);
});

test("SZ-3.4 an assertion by an unregistered key or of an unregistered source is refused", () => {
  refuses(assertion({}, foreign.privateKey), /not signed by the source/);
  refuses({ ...assertion(), keyId: "key-2" }, /unregistered key/);
  refuses(assertion({ sourceId: "shop" }), /another source's/);
});

test("SZ-13.2 an assertion that is replayed, stale, unsigned or for another audience is refused", () => {
  refuses(undefined, /missing/);
  refuses({ ...assertion(), signature: new Uint8Array(64) }, /not signed/);
  refuses({ ...assertion(), signature: new Uint8Array() }, /not signed/);
  refuses(assertion({ audience: "somebody" }), /another audience/);
  refuses(assertion({ bizSeq: "ffffffffffffffffffffffffffffffff" }), /another check/);
  refuses(assertion({ nonce: new Uint8Array(32) }), /another nonce/);
  refuses(assertion({ elementsDigest: new Uint8Array(32) }), /other elements/);
  refuses(assertion({ claimType: ClaimType.LEGAL_PERSON }), /another claim type/);
  refuses(assertion({ verdict: Verdict.UNSPECIFIED }), /no verdict/);
  refuses(assertion({ level: 0 }), /no level/);
  refuses(assertion({ checkTime: timestampFromMs(NOW + 120_000) }), /impossible time/);
  refuses(assertion({ checkTime: timestampFromMs(NOW - 120_000) }), /impossible time/);
  const old = timestampFromMs(NOW - 301_000);
  const asked = { ...check, askedAtMs: NOW - 400_000 };
  refuses(assertion({ checkTime: old }), /stale/, { check: asked });
  assert.equal(
    readAssertion(assertion({ checkTime: old }), { ...expected, check: asked, live: false }).verdict,
    "MATCH",
  );
});
