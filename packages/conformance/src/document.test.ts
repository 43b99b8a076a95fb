// docs/trust-source-access.md never goes stale: its vectors are computed again and its list of cases is the suite's.
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { AssertionSchema, Verdict } from "@fujie/api/fujie/source/v1/source";
import { claimTypes, digestElements, EXTENDED_FROM } from "./claim-types.ts";
import { readSubjects } from "./subjects.ts";
import { suiteCases } from "./suite/index.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/trust-source-access.md"), "utf8");

interface DigestVector {
  readonly claim_type: string;
  readonly nonce: string;
  readonly elements: Readonly<Record<string, string>>;
  readonly elements_digest: string;
}

interface SigningVector {
  readonly public_key_pem: string;
  readonly assertion: string;
  readonly signed_sha256: string;
  readonly signature: string;
  readonly reads: Readonly<Record<string, string | number>>;
}

function vectorsAfter<Vectors>(mark: string): Vectors {
  const block = page.split(`<!-- ${mark} vector`)[1]?.split("```json\n")[1]?.split("\n```")[0];
  assert.ok(block, mark);
  return JSON.parse(block) as Vectors;
}

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

test("SZ-9 the digest vectors of the access specification are right, one per claim type", () => {
  const vectors = vectorsAfter<DigestVector[]>("digest");
  assert.deepEqual(
    vectors.map(({ claim_type }) => claim_type),
    claimTypes.map(({ name }) => name),
  );
  for (const { claim_type, nonce, elements, elements_digest } of vectors) {
    const facts = claimTypes.find(({ name }) => name === claim_type);
    assert.ok(facts);
    const given = Object.fromEntries(
      Object.entries(elements).map(([name, value]) => [
        camel(name),
        name === "face_image" ? new Uint8Array(Buffer.from(value, "hex")) : value,
      ]),
    );
    assert.deepEqual(Object.keys(given).sort(), [...facts.elements].sort(), claim_type);
    const digest = digestElements(Buffer.from(nonce, "hex"), facts.type, given);
    assert.equal(digest.toString("hex"), elements_digest, claim_type);
    // And once more without our own function, by the words of the page.
    const of = (name: string) => Buffer.from(elements[name] ?? "");
    const face = elements["face_image"];
    const faceDigest = face === undefined ? of("") : createHash("sha256").update(Buffer.from(face, "hex")).digest();
    const first = [of("citizen_id"), of("person_name"), of("uscc"), of("organisation_name")];
    const rest = [of("phone"), of("bank_card"), faceDigest, of("document_expire_date"), of("ward_citizen_id")];
    const all = facts.type >= EXTENDED_FROM ? [...first, ...rest, of("ward_name")] : first;
    const input = Buffer.concat(all.flatMap((part, i) => (i === 0 ? [part] : [Buffer.of(0), part])));
    const again = createHash("sha256").update(Buffer.from(nonce, "hex")).update(input).digest("hex");
    assert.equal(again, elements_digest, claim_type);
  }
});

test("SZ-9 the signing vector of the access specification verifies, and reads as it says", () => {
  const { public_key_pem, assertion, signed_sha256, signature, reads } = vectorsAfter<SigningVector>("signing");
  const bytes = Buffer.from(assertion, "hex");
  const signed = Buffer.concat([Buffer.from("fujie-source-assertion-v1\n"), bytes]);
  assert.equal(createHash("sha256").update(signed).digest("hex"), signed_sha256);
  const key = { key: createPublicKey(public_key_pem), dsaEncoding: "ieee-p1363" } as const;
  assert.ok(verify("sha256", signed, key, Buffer.from(signature, "hex")));
  const { sourceId, bizSeq, audience, nonce, elementsDigest, verdict, level, checkTime } = fromBinary(
    AssertionSchema,
    bytes,
  );
  assert.deepEqual(reads, {
    source_id: sourceId,
    biz_seq: bizSeq,
    audience,
    nonce: Buffer.from(nonce).toString("hex"),
    claim_type: "PERSON_TWO_ELEMENT",
    elements_digest: Buffer.from(elementsDigest).toString("hex"),
    verdict: Verdict[verdict],
    level,
    check_time: new Date(Number(checkTime?.seconds) * 1_000).toISOString(),
  });
  assert.equal(reads["elements_digest"], vectorsAfter<DigestVector[]>("digest")[0]?.elements_digest);
});

test("SZ-9 the access specification lists every case of the suite, and no other", () => {
  const listed = page.split("<!-- cases:")[1]?.split("-->\n")[1]?.split("<!-- end of cases")[0]?.trim();
  const rows = suiteCases.map(
    ({ id, title, requirement }) => `| \`${id}\` | ${title.en}<br>${title.zh} | ${requirement} |`,
  );
  assert.equal(listed, ["| case | what must hold | requirement |", "|---|---|---|", ...rows].join("\n"));
});

test("the test subjects that the access specification shows can be read", () => {
  const shown =
    page
      .split("```json\n")
      .find((block) => block.includes('"noRecord"'))
      ?.split("\n```")[0] ?? "";
  assert.deepEqual([...readSubjects(shown).keys()], ["PERSON_TWO_ELEMENT"]);
});
