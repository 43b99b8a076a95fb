import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { GrantConsentRequestSchema } from "@fujie/api/fujie/registry/v1/consents";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { canonicalElements, citizenIdCheckCharacter } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { type ConsentType, composeElements, consentTypeOf } from "./elements.ts";

type Init = MessageInitShape<typeof GrantConsentRequestSchema>;

const holder = { identifier: "11010519491231002X", name: "张三" };
const options = { today: "2026-03-02", allowFictional: true };
const compose = (type: ConsentType, request: Init = {}) =>
  composeElements(type, holder, create(GrantConsentRequestSchema, request), options);
const first17 = "44039920200101001";
const ward = { wardCitizenId: first17 + citizenIdCheckCharacter(first17), wardName: "张小三" };
const digest = createHash("sha256").update("a picture").digest();

test("NI-32 a grant is about exactly what the gateway will be asked: number and name on file, the rest as it is claimed", () => {
  const person = { citizenId: holder.identifier, personName: holder.name };
  const face = { faceImageDigest: new Uint8Array(digest) };
  assert.deepEqual(compose("PERSON_TWO_ELEMENT"), { type: "PERSON_TWO_ELEMENT", ...person });
  assert.deepEqual(compose("PERSON_BANK_CARD_PHONE", { bankCard: "6212 3456 7890 1232", phone: "+86 13800138000" }), {
    type: "PERSON_BANK_CARD_PHONE",
    ...person,
    bankCard: "6212345678901232",
    phone: "13800138000",
  });
  assert.deepEqual(compose("GUARDIAN", ward), { type: "GUARDIAN", ...person, ...ward });
  const faceImage = Buffer.from("a picture").toString("base64");
  assert.equal(
    canonicalElements(compose("PERSON_FACE", face)),
    canonicalElements({ type: "PERSON_FACE", ...person, faceImage }),
  );
});

test("NI-9 exactly the needed elements, each in order, or the field is named and nothing told", () => {
  const refusal = (type: ConsentType, request: Init) => {
    try {
      compose(type, request);
      return "accepted";
    } catch (error) {
      assert.ok(error instanceof DomainError);
      return `${error.reason} ${error.violations[0]?.field}`;
    }
  };
  const cases: [string, ConsentType, Init][] = [
    ["CLAIM_INCOMPLETE phone", "PERSON_CARRIER", {}],
    ["FIELD_INVALID phone", "PERSON_TWO_ELEMENT", { phone: "13800138000" }],
    ["PHONE_INVALID phone", "PERSON_CARRIER", { phone: "12800138000" }],
    ["BANK_CARD_INVALID bank_card", "PERSON_BANK_CARD", { bankCard: "6212345678901233" }],
    ["FIELD_INVALID face_image_digest", "PERSON_FACE", { faceImageDigest: new Uint8Array(31) }],
    ["DOCUMENT_DATE_INVALID document_expire_date", "DOCUMENT_VALIDITY", { documentExpireDate: "2030-02-30" }],
    ["CITIZEN_ID_INVALID ward_citizen_id", "GUARDIAN", { ...ward, wardCitizenId: "440399202001010010" }],
    ["NAME_INVALID ward_name", "GUARDIAN", { ...ward, wardName: "张\u202E三" }],
  ];
  for (const [expected, type, request] of cases) assert.equal(refusal(type, request), expected);
});

test("NI-13 no person's consent covers an organisation, or whose key a certificate's is", () => {
  const types = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((type) => consentTypeOf(type));
  assert.deepEqual(types, [
    "PERSON_TWO_ELEMENT",
    undefined,
    undefined,
    "PERSON_CARRIER",
    "PERSON_BANK_CARD",
    "PERSON_BANK_CARD_PHONE",
    "PERSON_FACE",
    undefined,
    "DOCUMENT_VALIDITY",
    "GUARDIAN",
  ]);
  assert.equal(consentTypeOf(ClaimType.UNSPECIFIED), undefined);
});
