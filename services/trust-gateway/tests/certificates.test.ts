import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { SignatureFormat, Verdict } from "@fujie/api/fujie/trust/v1/evidence";
import { certificatesFromPem } from "@fujie/certificates";
import type { CaId } from "@fujie/sandbox";
import { type IssuedCertificate, signPossession } from "@fujie/sandbox/ca";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { reasonOf, startWorld, type World } from "./world.ts";

let world: World;
const certificates = new Map<CaId, IssuedCertificate>();
const { person } = NAMED_PEOPLE.match;
const kinds = { "ca-ecdsa": "ecdsa", "ca-sm2": "sm2" } as const;
const caIds = ["ca-ecdsa", "ca-sm2"] as const;

before(async () => {
  world = await startWorld();
  for (const caId of caIds) certificates.set(caId, await issue(caId));
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  for (const caId of caIds) await world.control.reset(caId);
  await world.putPolicy();
});

const issue = (caId: CaId, days = 30) =>
  world.control.issueCertificate(caId, { kind: "person", name: person.name, identifier: person.citizenId, days });

function issuedBy(caId: CaId): IssuedCertificate {
  const found = certificates.get(caId);
  assert.ok(found !== undefined);
  return found;
}

function proof(caId: CaId, { keyPem, chainPem, certPem }: IssuedCertificate, format: "raw" | "pkcs7" = "raw") {
  const message = new Uint8Array(randomBytes(48));
  return {
    message,
    proof: {
      certificates: certificatesFromPem(chainPem).map((der) => Uint8Array.from(der)),
      signature: Uint8Array.from(signPossession({ keyPem, kind: kinds[caId], bytes: message, format, certPem })),
      format: format === "raw" ? SignatureFormat.RAW : SignatureFormat.PKCS7,
    },
  };
}

for (const caId of caIds) {
  for (const format of ["raw", "pkcs7"] as const) {
    test(`SZ-13.1, NI-35 a certificate of ${caId} with a ${format} signature names its holder`, async () => {
      const answer = await world.evidence.verifyCertificate(proof(caId, issuedBy(caId), format));
      assert.equal(answer.caId, caId);
      assert.deepEqual(answer.identifier, { case: "citizenId", value: person.citizenId });
      assert.equal(answer.name, person.name);
      assert.equal(answer.fingerprint.length, 32);
      assert.deepEqual([answer.evidence?.sourceId, answer.evidence?.verdict], [caId, Verdict.MATCH]);
    });
  }
}

test("an organisation's certificate gives its code", async () => {
  const { uscc, name } = NAMED_ORGANISATIONS.match.organisation;
  const issued = await world.control.issueCertificate("ca-sm2", { kind: "organisation", name, identifier: uscc });
  const { identifier } = await world.evidence.verifyCertificate(proof("ca-sm2", issued));
  assert.deepEqual(identifier, { case: "uscc", value: uscc });
});

test("SZ-13.1 another's signature, another message and a bare certificate prove nothing", async () => {
  const mine = proof("ca-ecdsa", issuedBy("ca-ecdsa"));
  const other = proof("ca-ecdsa", await issue("ca-ecdsa"));
  const ask = (change: object, message = mine.message) =>
    reasonOf(world.evidence.verifyCertificate({ message, proof: { ...mine.proof, ...change } }));
  assert.equal(await ask({ signature: other.proof.signature }), "SIGNATURE_INVALID");
  assert.equal(await ask({}, other.message), "SIGNATURE_INVALID");
  assert.equal(await ask({ signature: new Uint8Array(64) }), "SIGNATURE_INVALID");
  assert.equal(await ask({ format: SignatureFormat.PKCS7 }), "SIGNATURE_INVALID");
  assert.equal(await ask({ certificates: [new Uint8Array([1, 2, 3])] }), "CERTIFICATE_MALFORMED");
});

test("NI-35 one CA's chain never leads to another's anchor", async () => {
  const ecdsa = proof("ca-ecdsa", issuedBy("ca-ecdsa"));
  const sm2 = proof("ca-sm2", issuedBy("ca-sm2"));
  const [leaf = new Uint8Array()] = ecdsa.proof.certificates;
  const mixed = { ...ecdsa, proof: { ...ecdsa.proof, certificates: [leaf, ...sm2.proof.certificates.slice(1)] } };
  assert.equal((await world.evidence.verifyCertificate(mixed)).caId, "ca-ecdsa");
  const { sources } = world.policy;
  await world.putPolicy({ sources: sources.filter(({ sourceId }) => sourceId !== "ca-ecdsa") });
  assert.equal(await reasonOf(world.evidence.verifyCertificate(ecdsa)), "CERTIFICATE_UNTRUSTED");
  assert.equal(await reasonOf(world.evidence.verifyCertificate(mixed)), "CERTIFICATE_UNTRUSTED");
  await world.putPolicy({ sources });
});

test("SZ-13.1 a revoked certificate is refused at once", async () => {
  const issued = await issue("ca-sm2");
  assert.equal(await reasonOf(world.evidence.verifyCertificate(proof("ca-sm2", issued))), "accepted");
  await world.control.revoke("ca-sm2", issued.serial, "keyCompromise");
  assert.equal(await reasonOf(world.evidence.verifyCertificate(proof("ca-sm2", issued))), "CERTIFICATE_REVOKED");
});

test("SZ-13.1 a state that cannot be learned is a failure, and the gateway's memory of list numbers is durable", async () => {
  await world.restart();
  for (const fault of ["error", "maintenance", "drop"] as const) {
    await world.control.control("ca-ecdsa", { fault });
    const asked = world.evidence.verifyCertificate(proof("ca-ecdsa", issuedBy("ca-ecdsa")));
    assert.equal(await reasonOf(asked), "CERTIFICATE_STATUS_UNKNOWN", fault);
  }
  await world.control.reset("ca-ecdsa");
  await world.evidence.verifyCertificate(proof("ca-ecdsa", issuedBy("ca-ecdsa")));
  const { rows } = await world.db.query<{ n: number }>("SELECT count(*)::int AS n FROM trust.crl_number");
  assert.ok((rows[0]?.n ?? 0) >= 2);
  // Somebody has seen newer lists: those that the CA shows now are of yesterday, and its responder is away.
  await world.admin.query("UPDATE trust.crl_number SET number = number + 1000000");
  await world.restart();
  await world.control.control("ca-ecdsa", { failNext: 1 });
  const asked = world.evidence.verifyCertificate(proof("ca-ecdsa", issuedBy("ca-ecdsa")));
  assert.equal(await reasonOf(asked), "CERTIFICATE_STATUS_UNKNOWN");
  await world.admin.query("UPDATE trust.crl_number SET number = number - 1000000");
});

test("SZ-13.1 an expired certificate is refused", async () => {
  const issued = await issue("ca-ecdsa", 1);
  world.time.advance(2 * 86_400_000);
  await world.putPolicy();
  assert.equal(await reasonOf(world.evidence.verifyCertificate(proof("ca-ecdsa", issued))), "CERTIFICATE_EXPIRED");
});

test("refusals and verifications of certificates are recorded, without holder", async () => {
  const types = () => new Set(world.events.map(({ type }) => type));
  await world.until(() => types().has("certificate.verified") && types().has("certificate.refused"), "both recorded");
  assert.ok(!JSON.stringify(world.events.map(({ details }) => details)).includes(person.citizenId));
});
