import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import { Verdict } from "@fujie/api/fujie/trust/v1/evidence";
import { ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import { certificatesFromPem } from "@fujie/certificates";
import type { CaId } from "@fujie/sandbox";
import { type IssuedCertificate, signPossession } from "@fujie/sandbox/ca";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "@fujie/sandbox/people";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

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

/** A claim of possession of the first application's, at the moment of the call. */
function possession(caId: CaId, change: { citizenId?: string; nonce?: Uint8Array<ArrayBuffer>; keyPem?: string } = {}) {
  const issued = issuedBy(caId);
  const { citizenId = person.citizenId, nonce = new Uint8Array(randomBytes(16)), keyPem = issued.keyPem } = change;
  const nowMs = world.time.clock.nowMs();
  const text = `fujie-possession-v1\n${APPLICATION}\n${Buffer.from(nonce).toString("hex")}\n${nowMs}\n`;
  const signed = signPossession({ keyPem, kind: kinds[caId], bytes: Buffer.from(text), format: "raw" });
  const certificateProof = {
    certificates: certificatesFromPem(issued.chainPem).map((der) => Uint8Array.from(der)),
    signature: Uint8Array.from(signed),
    format: SignatureFormat.RAW,
  };
  return {
    type: ClaimType.CERTIFICATE_POSSESSION,
    citizenId,
    possession: { nonce, challengeTime: timestampFromMs(nowMs), proof: certificateProof },
  };
}

type PossessionClaim = ReturnType<typeof possession>;

const verify = async (claim: PossessionClaim, application?: string, requestId: string = randomUUID()) => {
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const asked = { requestId, claim, purpose: PURPOSE, ground };
  return (await world.verifications.verify(asked, world.as(application))).verification;
};

/** Lets the applications ask about possession, too. */
const allowPossession = () =>
  world.putPolicy({
    applications: [APPLICATION, "application-2"].map((applicationId) => ({
      applicationId,
      enabled: true,
      purposes: [{ purpose: PURPOSE, claimTypes: [ClaimType.CERTIFICATE_POSSESSION], legalBases: [LEGAL_BASIS] }],
      rateLimitPerSecond: 10_000,
    })),
  });

test("SZ-13.1, NI-35 an application learns whether a holder has his certificate's key now, on the word of its own CA", async () => {
  await allowPossession();
  for (const caId of caIds) {
    assert.equal((await verify(possession(caId)))?.outcome, Outcome.VERIFIED, caId);
    const other = possession(caId, { citizenId: NAMED_PEOPLE.mismatch.person.citizenId });
    assert.equal((await verify(other))?.outcome, Outcome.REJECTED);
    const stolen = possession(caId, { keyPem: (await issue(caId)).keyPem });
    assert.equal((await verify(stolen))?.outcome, Outcome.REJECTED);
    const { rows } = await world.db.query<{ source: string }>(
      "SELECT DISTINCT source_id AS source FROM trust.evidence e JOIN trust.verification v USING (verification_id) WHERE v.claim_type = 'CERTIFICATE_POSSESSION' AND e.verdict <> 'UNAVAILABLE'",
    );
    assert.ok(rows.some(({ source }) => source === caId));
  }
});

test("SZ-13.1 a challenge is honoured once, by its application alone, and a certificate that leads nowhere is told why", async () => {
  await allowPossession();
  const claim = possession("ca-ecdsa");
  const requestId = randomUUID();
  const first = await verify(claim, APPLICATION, requestId);
  assert.equal((await verify(claim, APPLICATION, requestId))?.verificationId, first?.verificationId);
  assert.equal(await reasonOf(verify(claim)), "CHALLENGE_INVALID");
  // Another application has nothing from it: the signature is over the first one's name.
  assert.equal((await verify(possession("ca-ecdsa"), "application-2"))?.outcome, Outcome.REJECTED);
  const { proof: sent } = claim.possession;
  const bent = (certificates: Uint8Array<ArrayBuffer>[]) => {
    const fresh = possession("ca-ecdsa");
    return verify({ ...fresh, possession: { ...fresh.possession, proof: { ...sent, certificates } } });
  };
  assert.equal(await reasonOf(bent([new Uint8Array([1, 2, 3])])), "CERTIFICATE_MALFORMED");
  assert.equal(await reasonOf(bent(sent.certificates.slice(1))), "CERTIFICATE_KEY_USAGE");
  const { sources } = world.policy;
  await world.putPolicy({ sources: sources.filter(({ sourceId }) => sourceId !== "ca-ecdsa") });
  assert.equal(await reasonOf(verify(possession("ca-ecdsa"))), "CERTIFICATE_UNTRUSTED");
  await world.putPolicy({ sources });
});

test("SZ-13.1 a revoked key proves nothing, and a state that cannot be learned is told and asked again by the same id", async () => {
  await allowPossession();
  const revoked = await issue("ca-sm2");
  const kept = issuedBy("ca-sm2");
  certificates.set("ca-sm2", revoked);
  assert.equal((await verify(possession("ca-sm2")))?.outcome, Outcome.VERIFIED);
  await world.control.revoke("ca-sm2", revoked.serial, "keyCompromise");
  assert.equal((await verify(possession("ca-sm2")))?.outcome, Outcome.REJECTED);
  certificates.set("ca-sm2", kept);

  await world.restart();
  await world.control.control("ca-ecdsa", { fault: "error" });
  const claim = possession("ca-ecdsa");
  const requestId = randomUUID();
  const asked = world.passing(verify(claim, APPLICATION, requestId));
  assert.equal(await reasonOf(asked), "CERTIFICATE_STATUS_UNKNOWN");
  await world.control.reset("ca-ecdsa");
  const again = await world.passing(verify(claim, APPLICATION, requestId));
  assert.equal(again?.outcome, Outcome.VERIFIED);
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
