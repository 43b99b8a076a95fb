import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  buildAndCheckPath,
  buildOcspRequest,
  type CaProfile,
  type Certificate,
  certificatesFromPem,
  checkCrl,
  checkOcspResponse,
  checkRevocation,
  parseCaProfile,
  parseCertificate,
  possessionMessage,
  readIdentity,
  verifyPossession,
} from "@fujie/certificates";
import { fieldsOf, readBitBytes, readDer, TAG, unwrap } from "@fujie/certificates/der";
import { createCa, type IssuedCertificate, signPossession } from "./index.ts";
import { runOpenssl } from "./openssl.ts";
import { type CaServer, startCaServer } from "./server.ts";

const START = new Date("2030-06-01T12:00:00Z");
const DISTID = "distid:1234567812345678";
const PERSON_ID = "11010519491231002X";
const USCC = "91320500PDY00001XE";

let now = START;
let directory: string;
let server: CaServer;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "fujie-ca-"));
  server = await startCaServer({ port: 0, dataDir: directory, clock: () => now });
});
after(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

const openssl = (...args: string[]): Promise<string> => runOpenssl(directory, args);

async function get(path: string): Promise<Uint8Array> {
  const response = await fetch(server.url + path);
  assert.equal(response.status, 200);
  return new Uint8Array(await response.arrayBuffer());
}

function post(path: string, body: unknown): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) });
}

for (const kind of ["ecdsa", "sm2"] as const) {
  const base = `/ca/sandbox-${kind}`;

  describe(`the ${kind} sandbox CA`, () => {
    let profile: CaProfile;
    let person: IssuedCertificate;
    let leaf: Certificate;
    let issuing: Certificate;
    const file = (name: string): string => join(directory, `${kind}-${name}`);

    before(async () => {
      profile = parseCaProfile(JSON.parse(Buffer.from(await get(`${base}/profile.json`)).toString("utf8")));
      person = await server.cas[kind].enrol({ kind: "person", name: "张三", identifier: PERSON_ID, days: 365 });
      leaf = parsePem(person.certPem);
      issuing = server.cas[kind].issuing;
      await writeFile(file("leaf.pem"), person.certPem);
      await writeFile(file("leaf.key"), person.keyPem);
      await writeFile(file("issuing.pem"), await openssl("x509", "-in", join(kind, "issuing", "certificate.pem")));
      await writeFile(file("root.pem"), await openssl("x509", "-in", join(kind, "root", "certificate.pem")));
    });

    const pathOf = (pem: string) =>
      buildAndCheckPath({
        leaf: certificatesFromPem(pem)[0] ?? new Uint8Array(),
        intermediates: profile.intermediates,
        anchors: profile.anchors,
        at: now,
        purpose: "SUBJECT_SIGNATURE",
      });

    async function askStatus(certificate: Certificate, nonce: Uint8Array): Promise<Uint8Array> {
      const body = Buffer.from(buildOcspRequest({ certificate, issuer: issuing, nonce }));
      const response = await fetch(`${server.url}${base}/ocsp`, { method: "POST", body });
      return new Uint8Array(await response.arrayBuffer());
    }

    test("SZ-13.1 registers a person end to end: path, status, possession, identity", async () => {
      const checked = pathOf(person.certPem);
      assert.ok(checked.ok);
      const nonce = randomBytes(16);
      const crls = await Promise.all([get(`${base}/crl`), get(`${base}/root-crl`)]);
      const ocsp = { response: await askStatus(leaf, nonce), nonce };
      const status = checkRevocation({ path: checked.path, at: now, policy: profile.revocation, crls, ocsp });
      assert.ok(status.ok);
      assert.equal(status.crlNumbers.size, 2);

      const bytes = possessionMessage({ purpose: "register", origin: "https://id.example", session: "s", nonce });
      for (const format of ["raw", "pkcs7"] as const) {
        for (const attached of [false, true]) {
          const { keyPem, chainPem: certPem } = person;
          const signature = signPossession({ keyPem, certPem, kind, bytes, format, attached });
          assert.deepEqual(verifyPossession({ certificate: leaf, signedBytes: bytes, signature, format }), {
            ok: true,
          });
        }
      }
      const identity = readIdentity(leaf, profile);
      assert.deepEqual(identity, {
        ok: true,
        identity: { name: "张三", organisation: undefined, fields: { personId: PERSON_ID } },
      });
    });

    test("OpenSSL verifies the chain", async () => {
      const attime = ["-attime", String(now.getTime() / 1000)];
      if (kind === "ecdsa") {
        const roots = ["-CAfile", file("root.pem"), "-untrusted", file("issuing.pem")];
        assert.match(await openssl("verify", "-x509_strict", ...attime, ...roots, file("leaf.pem")), /: OK/);
        return;
      }
      // The signer id reaches the last certificate only: each pair is checked by itself.
      const pairs = [
        ["root.pem", "issuing.pem"],
        ["issuing.pem", "leaf.pem"],
      ] as const;
      for (const [issuer, subject] of pairs) {
        const trust = ["-partial_chain", "-vfyopt", DISTID, "-trusted", file(issuer)];
        assert.match(await openssl("verify", ...attime, ...trust, file(subject)), /: OK/);
      }
    });

    test("OpenSSL verifies the revocation list", async () => {
      const crl = await get(`${base}/crl`);
      await writeFile(file("crl.der"), crl);
      if (kind === "ecdsa") {
        await openssl("crl", "-in", file("crl.der"), "-noout", "-CAfile", file("issuing.pem"));
        const pem = await openssl("crl", "-in", file("crl.der"));
        await writeFile(file("crl.pem"), pem);
        const options = ["-crl_check", "-CRLfile", file("crl.pem"), "-attime", String(now.getTime() / 1000)];
        const roots = ["-CAfile", file("root.pem"), "-untrusted", file("issuing.pem")];
        assert.match(await openssl("verify", ...options, ...roots, file("leaf.pem")), /: OK/);
        return;
      }
      const fields = fieldsOf(readDer(crl));
      const tbs = fields.take(TAG.sequence, "tbsCertList").raw;
      fields.take(TAG.sequence, "signatureAlgorithm");
      await verifySm2("issuing.pem", tbs, readBitBytes(fields.take(TAG.bitString, "signature")));
    });

    test("OpenSSL's client verifies the responder's answers, with a nonce", async () => {
      const skew = ["-validity_period", "1000000000"];
      const common = ["-issuer", file("issuing.pem"), "-cert", file("leaf.pem"), "-nonce", ...skew];
      const url = `${server.url}${base}/ocsp`;
      if (kind === "ecdsa") {
        const trust = ["-CAfile", file("root.pem"), "-verify_other", file("issuing.pem")];
        const attime = ["-attime", String(now.getTime() / 1000)];
        assert.match(await openssl("ocsp", ...common, ...trust, ...attime, "-url", url), /leaf\.pem: good/);
        return;
      }
      // The client cannot be told a signer id: it reads the answer, and the signature is verified on its own.
      const saved = ["-noverify", "-respout", file("ocsp.der")];
      assert.match(await openssl("ocsp", ...common, ...saved, "-url", url), /leaf\.pem: good/);
      const response = await askStatus(leaf, randomBytes(16));
      const { tbs, signature, certificate } = openResponse(response);
      await writeFile(file("responder.pem"), toPem(certificate));
      await verifySm2("responder.pem", tbs, signature);
    });

    async function verifySm2(certificate: string, signed: Uint8Array, signature: Uint8Array): Promise<void> {
      await writeFile(file("public.pem"), await openssl("x509", "-in", file(certificate), "-noout", "-pubkey"));
      await writeFile(file("signed"), signed);
      await writeFile(file("signature"), signature);
      const files = ["-inkey", file("public.pem"), "-in", file("signed"), "-sigfile", file("signature")];
      const options = ["-rawin", "-digest", "sm3", "-pkeyopt", DISTID];
      assert.match(await openssl("pkeyutl", "-verify", "-pubin", ...files, ...options), /Verified Successfully/);
    }

    test("SZ-13.1 a revoked certificate is revoked in the next list and the next answer", async () => {
      const lost = await server.cas[kind].enrol({ kind: "person", name: "李四", identifier: PERSON_ID, days: 30 });
      const before = await get(`${base}/crl`);
      assert.equal((await post(`${base}/revoke`, { serial: lost.serial, reason: "keyCompromise" })).status, 200);
      const checked = pathOf(lost.certPem);
      assert.ok(checked.ok);
      const crls = await Promise.all([get(`${base}/crl`), get(`${base}/root-crl`)]);
      const result = checkRevocation({ path: checked.path, at: now, policy: profile.revocation, crls });
      assert.deepEqual(result, { ok: false, reason: "CERTIFICATE_REVOKED", revocation: "keyCompromise", at: now });

      const nonce = randomBytes(16);
      const certificate = parsePem(lost.certPem);
      const asked = { certificate, issuer: issuing, nonce, at: now, ageMaxMs: 300_000 };
      const answer = checkOcspResponse({ ...asked, response: await askStatus(certificate, nonce) });
      assert.deepEqual(answer, { ok: true, revocation: { at: now, reason: "keyCompromise" }, thisUpdate: now });

      const numberOf = (crl: Uint8Array): bigint => {
        const list = checkCrl({ crl, issuer: issuing, at: now });
        assert.ok(list.ok);
        return list.crl.number;
      };
      assert.ok(numberOf(crls[0] ?? new Uint8Array()) > numberOf(before));
    });

    test("the responder does not vouch for a serial number that the CA never issued", async () => {
      const nonce = randomBytes(16);
      const never = { ...leaf, serial: "0badcafe" };
      const response = await askStatus(never, nonce);
      const result = checkOcspResponse({
        response,
        certificate: never,
        issuer: issuing,
        nonce,
        at: now,
        ageMaxMs: 300_000,
      });
      assert.deepEqual(result, { ok: false, reason: "OCSP_UNKNOWN" });
      const refused = await fetch(`${server.url}${base}/ocsp`, { method: "POST", body: "no request" });
      assert.equal(Buffer.from(await refused.arrayBuffer()).toString("hex"), "30030a0101");
    });

    test("lists are renewed before they end", async () => {
      try {
        now = new Date(START.getTime() + 30 * 86_400_000);
        assert.ok(checkCrl({ crl: await get(`${base}/crl`), issuer: issuing, at: now }).ok);
      } finally {
        now = START;
      }
    });

    test("the encryption half of a pair does not sign in", async () => {
      const input = { subject: { commonName: "张三" }, keyUsage: ["keyEncipherment"], days: 30 };
      const encryption = await server.cas[kind].issue(input);
      assert.deepEqual(pathOf(encryption.certPem), { ok: false, reason: "CERTIFICATE_KEY_USAGE" });
    });

    test("organisations carry their code; operators carry no identity", async () => {
      const response = await post(`${base}/issue`, { kind: "organisation", name: "示例/公司+分部", identifier: USCC });
      const organisation = readIdentity(parsePem(certPemOf(await response.json())), profile);
      assert.ok(organisation.ok);
      assert.deepEqual(organisation.identity, {
        name: "示例/公司+分部",
        organisation: "示例/公司+分部",
        fields: { uscc: USCC },
      });
      const operator = await post(`${base}/issue`, { kind: "operator", name: "王五", identifier: "op-1", days: 10 });
      const identity = readIdentity(parsePem(certPemOf(await operator.json())), profile);
      assert.deepEqual(identity, { ok: false, reason: "CERTIFICATE_IDENTITY_ABSENT" });
    });

    test("a second opening of the folder is the same CA", async () => {
      const again = await createCa(directory, kind, { clock: () => now });
      assert.equal(again.root.fingerprint, server.cas[kind].root.fingerprint);
      const nonce = randomBytes(16);
      const response = again.ocsp(buildOcspRequest({ certificate: leaf, issuer: issuing, nonce }));
      const asked = { response, certificate: leaf, issuer: issuing, nonce, at: now, ageMaxMs: 300_000 };
      assert.ok(checkOcspResponse(asked).ok);
    });

    test("private keys are for their owner's eyes", async () => {
      for (const authority of ["root", "issuing", "responder"]) {
        assert.equal((await stat(join(directory, kind, authority, "key.pem"))).mode & 0o077, 0);
      }
    });
  });
}

test("SZ-13.1 one CA's certificate is foreign to the other", async () => {
  const { certPem } = await server.cas.ecdsa.enrol({ kind: "person", name: "张三", identifier: PERSON_ID, days: 1 });
  const [leaf = new Uint8Array()] = certificatesFromPem(certPem);
  const result = buildAndCheckPath({
    leaf,
    intermediates: [server.cas.ecdsa.issuing.der, server.cas.sm2.issuing.der],
    anchors: [server.cas.sm2.root],
    at: now,
    purpose: "SUBJECT_SIGNATURE",
  });
  assert.deepEqual(result, { ok: false, reason: "CERTIFICATE_UNTRUSTED" });
});

test("OpenSSL verifies our signed data, and we verify OpenSSL's", async () => {
  const { certPem, keyPem } = await server.cas.ecdsa.enrol({
    kind: "person",
    name: "张三",
    identifier: PERSON_ID,
    days: 1,
  });
  const bytes = Buffer.from("challenge", "latin1");
  const at = (name: string) => join(directory, name);
  await writeFile(at("cms.pem"), certPem);
  await writeFile(at("cms.key"), keyPem);
  await writeFile(at("cms.bin"), bytes);
  await writeFile(at("ours.der"), signPossession({ keyPem, certPem, kind: "ecdsa", bytes, format: "pkcs7" }));
  const read = ["-inform", "DER", "-in", at("ours.der"), "-content", at("cms.bin"), "-binary", "-noverify"];
  assert.equal(await openssl("cms", "-verify", ...read), "challenge");

  for (const options of [[], ["-nodetach"], ["-noattr"], ["-keyid"], ["-nosmimecap", "-nocerts"]]) {
    const files = ["-in", at("cms.bin"), "-signer", at("cms.pem"), "-inkey", at("cms.key"), "-out", at("theirs.der")];
    await openssl("cms", "-sign", "-binary", "-md", "sha256", "-outform", "DER", ...files, ...options);
    const signature = new Uint8Array(await readFile(at("theirs.der")));
    const certificate = parsePem(certPem);
    const result = verifyPossession({ certificate, signedBytes: bytes, signature, format: "pkcs7" });
    assert.deepEqual(result, { ok: true }, options.join(" "));
  }
});

test("OpenSSL verifies our SM2 signature, and we verify OpenSSL's", async () => {
  const { certPem, keyPem } = await server.cas.sm2.enrol({
    kind: "person",
    name: "张三",
    identifier: PERSON_ID,
    days: 1,
  });
  const bytes = Buffer.from("challenge", "latin1");
  const at = (name: string) => join(directory, name);
  await writeFile(at("sm2.key"), keyPem);
  await writeFile(at("sm2.bin"), bytes);
  await writeFile(at("sm2.sig"), signPossession({ keyPem, kind: "sm2", bytes, format: "raw" }));
  const common = ["-rawin", "-digest", "sm3", "-inkey", at("sm2.key"), "-in", at("sm2.bin")];
  const verified = await openssl("pkeyutl", "-verify", ...common, "-pkeyopt", DISTID, "-sigfile", at("sm2.sig"));
  assert.match(verified, /Verified Successfully/);

  const certificate = parsePem(certPem);
  const sign = async (id: string) => {
    await openssl("pkeyutl", "-sign", ...common, "-pkeyopt", id, "-out", at("theirs.sig"));
    const signature = new Uint8Array(await readFile(at("theirs.sig")));
    return verifyPossession({ certificate, signedBytes: bytes, signature, format: "raw" });
  };
  assert.deepEqual(await sign(DISTID), { ok: true });
  assert.deepEqual(await sign("distid:other"), { ok: false, reason: "POSSESSION_SIGNATURE" });
});

test("issuing many certificates at once works, and each is known to the responder", async () => {
  const ca = server.cas.sm2;
  const input = { kind: "person", name: "赵六", identifier: PERSON_ID, days: 1 } as const;
  const many = await Promise.all(Array.from({ length: 10 }, () => ca.enrol(input)));
  assert.equal(new Set(many.map(({ serial }) => serial)).size, 10);
});

test("a request that is wrong is refused by the name of its field", async () => {
  const base = "/ca/sandbox-sm2";
  const good = { kind: "person", name: "张三", identifier: PERSON_ID, days: 1 };
  const wrong: [status: number, field: string, path: string, body: unknown][] = [
    [404, "path", "/ca/other/issue", good],
    [404, "path", `${base}/profile.json`, good],
    [400, "body", `${base}/issue`, []],
    [400, "kind", `${base}/issue`, { ...good, kind: "ca" }],
    [400, "name", `${base}/issue`, { ...good, name: "a\nb" }],
    [400, "identifier", `${base}/issue`, { ...good, identifier: "1,CA:TRUE" }],
    [400, "days", `${base}/issue`, { ...good, days: 1e9 }],
    [413, "body", `${base}/issue`, { ...good, name: "x".repeat(20_000) }],
    [404, "serial", `${base}/revoke`, { serial: "01" }],
    [400, "serial", `${base}/revoke`, { serial: "../key" }],
    [400, "reason", `${base}/revoke`, { serial: "01", reason: "removeFromCRL" }],
  ];
  for (const [status, field, path, body] of wrong) {
    const response = await post(path, body);
    const reply: unknown = await response.json();
    assert.equal(response.status, status, path + field);
    assert.ok(typeof reply === "object" && reply !== null && "error" in reply);
    assert.equal(JSON.parse(JSON.stringify(reply.error)).field, field);
  }
});

test("an extension value cannot smuggle in another extension", async () => {
  const identity = [{ oid: "1.2.86.11.7.1", value: "x\nbasicConstraints = CA:TRUE" }];
  const input = { subject: { commonName: "x" }, identity, days: 1 };
  await assert.rejects(server.cas.ecdsa.issue(input), RangeError);
});

function parsePem(pem: string): Certificate {
  const [bytes] = certificatesFromPem(pem);
  assert.ok(bytes);
  return parseCertificate(bytes);
}

function certPemOf(json: unknown): string {
  assert.ok(typeof json === "object" && json !== null && "certPem" in json && typeof json.certPem === "string");
  return json.certPem;
}

function openResponse(bytes: Uint8Array) {
  const outer = fieldsOf(readDer(bytes));
  outer.take(TAG.enumerated, "status");
  const inner = fieldsOf(unwrap(outer.take(0xa0, "response")));
  inner.take(TAG.oid, "type");
  const basic = fieldsOf(readDer(inner.take(TAG.octetString, "body").content));
  const tbs = basic.take(TAG.sequence, "tbs").raw;
  basic.take(TAG.sequence, "algorithm");
  const signature = readBitBytes(basic.take(TAG.bitString, "signature"));
  const certificate = unwrap(unwrap(basic.take(0xa0, "certificates"))).raw;
  return { tbs, signature, certificate };
}

const toPem = (bytes: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
