import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AT,
  days,
  forgeCa,
  forgeCrl,
  forgeLeaf,
  forgeOcsp,
  forgeResponder,
  forgeRoot,
  REVOKED_STATUS,
} from "../tests/forge.ts";
import { parseCertificate } from "./certificate.ts";
import { checkRevocation, type RevocationInput } from "./revocation.ts";

const root = forgeRoot("ecdsa");
const issuing = forgeCa(root, "ecdsa", "Issuing");
const leaf = forgeLeaf(issuing, "ecdsa", { serial: 77n });
const responder = forgeResponder(issuing, "ecdsa");
const path = [leaf, issuing, root].map((party) => parseCertificate(party.der));
const issuingSerial = BigInt(`0x${path[1]?.serial}`);
const nonce = Buffer.alloc(16, 1);

const ocsp = (status?: Uint8Array) => ({
  nonce,
  response: forgeOcsp({
    certificate: leaf,
    issuer: issuing,
    signer: responder,
    nonce,
    certificates: [responder],
    ...(status === undefined ? {} : { status }),
  }),
});
const check = (more: Partial<RevocationInput>) =>
  checkRevocation({ path, at: AT, policy: { ocspAgeMaxMs: 300_000, crlAgeMaxMs: 7 * 86_400_000 }, crls: [], ...more });
const reasonOf = (more: Partial<RevocationInput>): string => {
  const result = check(more);
  return result.ok ? "OK" : result.reason;
};

test("SZ-13.1 lists of both issuers, or the responder and the root's list, clear a path", () => {
  const lists = check({ crls: [forgeCrl(root, { number: 3n }), forgeCrl(issuing, { number: 4n })] });
  assert.ok(lists.ok);
  assert.deepEqual([...lists.crlNumbers.values()], [4n, 3n]);
  assert.equal(reasonOf({ crls: [forgeCrl(root)], ocsp: ocsp() }), "OK");
});

test("SZ-13.1 a revoked leaf or issuing CA is refused, whatever the other source says", () => {
  const revoked = forgeCrl(issuing, { revoked: [{ serial: 77n, reason: 6 }] });
  const result = check({ crls: [forgeCrl(root), revoked], ocsp: ocsp() });
  assert.deepEqual(result, { ok: false, reason: "CERTIFICATE_REVOKED", revocation: "certificateHold", at: days(-2) });
  assert.equal(
    reasonOf({ crls: [forgeCrl(root), forgeCrl(issuing)], ocsp: ocsp(REVOKED_STATUS) }),
    "CERTIFICATE_REVOKED",
  );
  const rootList = forgeCrl(root, { revoked: [{ serial: issuingSerial }] });
  assert.equal(reasonOf({ crls: [rootList], ocsp: ocsp() }), "CERTIFICATE_REVOKED");
});

test("no evidence, stale evidence, or evidence for a part of the path is not good news", () => {
  assert.equal(reasonOf({}), "CERTIFICATE_STATUS_UNKNOWN");
  assert.equal(reasonOf({ crls: [forgeCrl(root)] }), "CERTIFICATE_STATUS_UNKNOWN");
  assert.equal(reasonOf({ ocsp: ocsp() }), "CERTIFICATE_STATUS_UNKNOWN");
  const stale = check({ crls: [forgeCrl(root), forgeCrl(issuing, { nextUpdate: days(-0.5) })] });
  assert.deepEqual(stale, { ok: false, reason: "CERTIFICATE_STATUS_UNKNOWN", causes: ["CRL_STALE"] });
});

test("an older list than the one seen before does not count", () => {
  const crlNumbers = new Map([[path[1]?.fingerprint ?? "", 5n]]);
  const crls = [forgeCrl(root), forgeCrl(issuing, { number: 4n })];
  assert.deepEqual(check({ crls, crlNumbers }), {
    ok: false,
    reason: "CERTIFICATE_STATUS_UNKNOWN",
    causes: ["CRL_ROLLED_BACK"],
  });
});
