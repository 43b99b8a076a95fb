import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type ClaimSchema, ClaimType, Outcome, PendingReason } from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import type { SourceId } from "@fujie/sandbox";
import { faceImageOf, NAMED_PEOPLE, personAt, type SyntheticPerson } from "@fujie/sandbox/people";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

type Claim = MessageInitShape<typeof ClaimSchema>;
/** Of a claim, as far as they are texts. */
type Elements = { readonly type?: ClaimType } & Readonly<Partial<Record<TextElement, string>>>;
type TextElement =
  | "citizenId"
  | "personName"
  | "phone"
  | "bankCard"
  | "documentExpireDate"
  | "wardCitizenId"
  | "wardName";

const { person } = NAMED_PEOPLE.match;
const ward = NAMED_PEOPLE["minor-under-14"].person;
const sources = ["population-base", "population-base-2", "carrier", "bank", "biometric"] as const;
let world: World;

before(async () => {
  world = await startWorld();
  const claimTypes = [1, 4, 5, 6, 7, 9, 10];
  const purposes = [{ purpose: PURPOSE, claimTypes, legalBases: [LEGAL_BASIS] }];
  await world.putPolicy({
    applications: [{ applicationId: APPLICATION, enabled: true, purposes, rateLimitPerSecond: 10_000 }],
  });
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await world.putPolicy();
  await world.heal(...sources);
});

const about = ({ citizenId, name: personName }: SyntheticPerson) => ({ citizenId, personName });
const faceOf = (who: SyntheticPerson, likeness?: number) => new Uint8Array(faceImageOf(who.citizenId, likeness));

type Ground =
  | { readonly case: "legalBasis"; readonly value: string }
  | { readonly case: "consentGrant"; readonly value: string };

async function verify(claim: Claim, ground: Ground = { case: "legalBasis", value: LEGAL_BASIS }) {
  const asked = { requestId: randomUUID(), claim, purpose: PURPOSE, ground };
  return (await world.verifications.verify(asked, world.as())).verification;
}
const outcomeOf = async (claim: Claim) => (await verify(claim))?.outcome;
const refusalOf = (claim: Claim, ground?: Ground) => reasonOf(verify(claim, ground));
async function received(): Promise<number> {
  const counters = await Promise.all(sources.map((source: SourceId) => world.control.counters(source)));
  return counters.reduce((sum, each) => sum + each.received, 0);
}

test("NI-28b, NI-28c, NI-28d, NI-3, NI-15 each claim of a person is answered by the kind of source that knows", async () => {
  const { phone, bankCard } = person;
  const who = about(person);
  const cases: [what: string, right: Elements, wrong: Elements][] = [
    ["carrier", { type: ClaimType.PERSON_CARRIER, ...who, phone }, { phone: ward.phone }],
    ["card", { type: ClaimType.PERSON_BANK_CARD, ...who, bankCard }, { bankCard: ward.bankCard }],
    ["card and phone", { type: ClaimType.PERSON_BANK_CARD_PHONE, ...who, bankCard, phone }, { phone: ward.phone }],
    [
      "document",
      { type: ClaimType.DOCUMENT_VALIDITY, ...who, documentExpireDate: "2044-05-06" },
      about(NAMED_PEOPLE["lost-document"].person),
    ],
    [
      "guardian",
      { type: ClaimType.GUARDIAN, ...who, wardCitizenId: ward.citizenId, wardName: ward.name },
      about(NAMED_PEOPLE["lost-document"].person),
    ],
  ];
  for (const [what, right, wrong] of cases) {
    assert.equal(await outcomeOf(right), Outcome.VERIFIED, what);
    assert.equal(await outcomeOf({ ...right, ...wrong }), Outcome.REJECTED, what);
  }
});

test("NI-14, NI-28e a face is compared on the person's own consent to that picture alone, and a legal basis does not do", async () => {
  const { citizenId, personName } = about(person);
  const faceImage = faceOf(person);
  const claim = { type: ClaimType.PERSON_FACE, citizenId, personName, faceImage };
  assert.equal(await refusalOf(claim), "CONSENT_REQUIRED");
  const elements = (image: Uint8Array): ClaimElements => ({
    type: "PERSON_FACE",
    citizenId,
    personName,
    faceImage: Buffer.from(image).toString("base64"),
  });
  const granted = async (image: Uint8Array) =>
    ({ case: "consentGrant", value: await world.grantFor(elements(image)) }) as const;
  assert.equal((await verify(claim, await granted(faceImage)))?.outcome, Outcome.VERIFIED);
  assert.equal(await refusalOf(claim, await granted(faceOf(ward))), "CONSENT_INVALID");
  const blurred = faceOf(person, 720);
  const face = { ...claim, faceImage: blurred };
  assert.equal((await verify(face, await granted(blurred)))?.outcome, Outcome.VERIFIED);

  // The policy asks for more than the source does.
  const startTime = { seconds: 1n, nanos: 0 };
  const voices = [{ source: { case: "kind", value: "biometric" } as const, rank: 1 }];
  const stricter = { policyId: "strict", claimType: ClaimType.PERSON_FACE, startTime, voices, faceThreshold: 900 };
  await world.putPolicy({ claimPolicies: [stricter] });
  assert.equal((await verify(face, await granted(blurred)))?.outcome, Outcome.REJECTED);
  assert.equal((await verify(claim, await granted(faceImage)))?.outcome, Outcome.VERIFIED);
  await world.putPolicy({ claimPolicies: [] });
});

test("a name that the base may hold under another spelling goes to a person, and is never refused", async () => {
  const verification = await verify({
    type: ClaimType.PERSON_TWO_ELEMENT,
    ...about(NAMED_PEOPLE["name-variant"].person),
  });
  assert.deepEqual([verification?.outcome, verification?.pendingReason], [Outcome.PENDING, PendingReason.REVIEW]);
});

test("NI-9, NI-28 what is malformed, needless or over costs no call and leaves nothing", async () => {
  const kept = async () => (await world.db.query("SELECT 1 FROM trust.verification")).rowCount;
  const before = await kept();
  const who = about(person);
  const cases: [reason: string, claim: Claim][] = [
    ["PHONE_INVALID", { type: ClaimType.PERSON_CARRIER, ...who, phone: "12345678901" }],
    ["BANK_CARD_INVALID", { type: ClaimType.PERSON_BANK_CARD, ...who, bankCard: "9999000090000014" }],
    ["FIELD_INVALID", { type: ClaimType.PERSON_BANK_CARD, ...who, bankCard: person.bankCard, phone: person.phone }],
    ["FACE_IMAGE_INVALID", { type: ClaimType.PERSON_FACE, ...who, faceImage: faceOf(person).slice(0, -1) }],
    ["DOCUMENT_EXPIRED", { type: ClaimType.DOCUMENT_VALIDITY, ...who, documentExpireDate: "2014-05-06" }],
    ["DOCUMENT_DATE_INVALID", { type: ClaimType.DOCUMENT_VALIDITY, ...who, documentExpireDate: "2044-05-32" }],
    [
      "GUARDIANSHIP_INVALID",
      { type: ClaimType.GUARDIAN, ...about(ward), wardCitizenId: person.citizenId, wardName: person.name },
    ],
    ["CLAIM_INCOMPLETE", { type: ClaimType.GUARDIAN, ...who, wardCitizenId: ward.citizenId }],
  ];
  for (const [reason, claim] of cases) assert.ok((await refusalOf(claim)).endsWith(reason), reason);
  assert.equal(await received(), 0);
  assert.equal(await kept(), before);
});

test("NI-28d one card is asked about four times a day, by whomever", async () => {
  const holder = NAMED_PEOPLE["lost-document"].person;
  const claim = (who: SyntheticPerson) => ({
    type: ClaimType.PERSON_BANK_CARD,
    ...about(who),
    bankCard: holder.bankCard,
  });
  for (let i = 0; i < 4; i += 1) assert.notEqual(await outcomeOf(claim(i % 2 === 0 ? holder : person)), undefined);
  assert.equal(await refusalOf(claim(NAMED_PEOPLE["cancelled-document"].person)), "QUOTA_EXCEEDED");
});

test("no phone, card or face is in the log, in an event, or kept once the claim is decided", async () => {
  const kept = await world.admin.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM trust.verification WHERE state <> 'PENDING' AND sealed_elements IS NOT NULL",
  );
  assert.equal(kept.rows[0]?.n, 0);
  const told = world.logged.join("\n") + JSON.stringify(world.events.map(({ details, subject }) => [details, subject]));
  for (const personal of [person.phone, person.bankCard, person.citizenId, person.name, "iVBORw0KGgo"]) {
    assert.ok(!told.includes(personal));
  }
});

test("names with look-alike dots, hidden, private-use or broken characters are refused by reason, and nobody is asked", async () => {
  const { citizenId } = person;
  const hidden = [
    "张\u202E三",
    "张\u200B三",
    "张\uFEFF三",
    "张\uE863",
    "张\u{F0000}",
    "张\u0000三",
    "··",
    "阿\uA78F里",
  ];
  for (const personName of hidden) {
    const refusal = await refusalOf({ type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName });
    assert.equal(refusal, "NAME_INVALID", JSON.stringify(personName));
    const child = { type: ClaimType.GUARDIAN, ...about(person), wardCitizenId: ward.citizenId, wardName: personName };
    assert.equal(await refusalOf(child), "NAME_INVALID", `ward ${JSON.stringify(personName)}`);
  }
  for (const organisationName of ["甲\u202E公司", "甲\u200B公司", "甲\uE863公司", "甲\u0000公司"]) {
    const organisation = { type: ClaimType.LEGAL_PERSON, uscc: "91320500PDY00001XE", organisationName };
    assert.equal(await refusalOf(organisation), "NAME_INVALID", JSON.stringify(organisationName));
  }
  // Half a character cannot even be written: no text of the contract holds it. In JSON it can, and is refused there.
  const token = world.mintToken({ app: APPLICATION, scope: "trust.verify" });
  const response = await fetch(`http://127.0.0.1:${world.gateway.httpPort}/fujie.trust.v1.VerificationService/Verify`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({
      requestId: randomUUID(),
      claim: { type: "CLAIM_TYPE_PERSON_TWO_ELEMENT", citizenId, personName: "张\uD842" },
      purpose: PURPOSE,
      legalBasis: LEGAL_BASIS,
    }),
  });
  assert.equal(response.status, 400);
  const { details = [] }: { details?: { debug?: { reason?: string } }[] } = JSON.parse(await response.text());
  assert.ok(details.some(({ debug }) => debug?.reason === "REQUEST_MALFORMED"));
  assert.equal(await received(), 0);
});

test("every spelling of a number is the same person: one paid word, one count against his day, one refusal of the old form", async () => {
  const found = Array.from({ length: 400 }, (_, i) => personAt(i)).find(
    ({ citizenId, outcome }) => citizenId.endsWith("X") && outcome === "match",
  );
  assert.ok(found !== undefined);
  const { citizenId, name: personName } = found;
  const wide = [...citizenId].map((each) => String.fromCodePoint((each.codePointAt(0) ?? 0) + 0xfee0)).join("");
  const spellings = [citizenId, citizenId.toLowerCase(), wide, wide.toLowerCase(), ` ${citizenId} `];
  const base = { source: { case: "kind", value: "population-base" } as const, rank: 1 };
  const startTime = timestampFromMs(world.time.clock.nowMs());
  const type = ClaimType.PERSON_TWO_ELEMENT;
  const reuse = { policyId: "reuse", claimType: type, startTime, voices: [base], needed: 1, reuseSeconds: 3_600 };
  await world.putPolicy({ claimPolicies: [reuse], caps: { perIdentifierPerDay: spellings.length } });
  for (const spelling of spellings) {
    assert.equal(
      await outcomeOf({ type, citizenId: spelling, personName }),
      Outcome.VERIFIED,
      JSON.stringify(spelling),
    );
  }
  assert.equal(await received(), 1);
  assert.equal(await refusalOf({ type, citizenId, personName }), "QUOTA_EXCEEDED");
  const old = citizenId.slice(0, 6) + citizenId.slice(8, 17);
  assert.equal(await refusalOf({ type, citizenId: old, personName }), "CITIZEN_ID_INVALID");
  await world.putPolicy({ claimPolicies: [], caps: {} });
});
