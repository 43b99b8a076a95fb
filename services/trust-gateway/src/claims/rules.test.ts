import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import { ClaimSchema, ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { type ClaimElements, citizenIdCheckCharacter } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { singleUseOf } from "./possession.ts";
import { capsOf, claimTypeNames, isClaimElements, narrowClaim, requiresConsent } from "./rules.ts";

const options = { nowMs: Date.UTC(2026, 2, 2), allowFictional: true };
const person = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: "11010519491231002X", personName: "张三" };
const uscc = "91350100M000100Y43";

function narrow(claim: MessageInitShape<typeof ClaimSchema>, allowFictional = true) {
  return narrowClaim(create(ClaimSchema, claim), { ...options, allowFictional, applicationId: "application-1" });
}

function refuses(claim: MessageInitShape<typeof ClaimSchema>, reason: string, field: string) {
  assert.throws(
    () => narrow(claim),
    (error) => {
      assert.ok(error instanceof DomainError);
      assert.deepEqual([error.reason, error.violations[0]?.field], [reason, field]);
      assert.ok(!JSON.stringify(error.violations).includes("1101"));
      return true;
    },
  );
}

test("a claim is normalised before anybody is asked: spelling of number and name", () => {
  assert.deepEqual(narrow({ ...person, citizenId: " 11010519491231002x", personName: "阿娜尔•买买提" }), {
    type: "PERSON_TWO_ELEMENT",
    citizenId: "11010519491231002X",
    personName: "阿娜尔·买买提",
  });
  assert.deepEqual(
    narrow({
      type: ClaimType.LEGAL_REPRESENTATIVE,
      uscc: uscc.toLowerCase(),
      organisationName: "甲(乙)公司",
      citizenId: person.citizenId,
    }),
    { type: "LEGAL_REPRESENTATIVE", uscc, organisationName: "甲（乙）公司", citizenId: person.citizenId },
  );
});

test("SZ-3.2 a wrong check character is refused here, before any paid call", () => {
  refuses({ ...person, citizenId: "110105194912310021" }, "CITIZEN_ID_INVALID", "claim.citizen_id");
  refuses(
    { type: ClaimType.LEGAL_PERSON, uscc: "91350100M000100Y44", organisationName: "甲" },
    "USCC_INVALID",
    "claim.uscc",
  );
  refuses({ ...person, personName: "张\u202E三" }, "NAME_INVALID", "claim.person_name");
});

test("NI-9 exactly the needed elements: a missing one and a needless one are refused by name", () => {
  refuses({ ...person, personName: "" }, "CLAIM_INCOMPLETE", "claim.person_name");
  refuses(
    { type: ClaimType.LEGAL_REPRESENTATIVE, uscc, organisationName: "甲" },
    "CLAIM_INCOMPLETE",
    "claim.citizen_id",
  );
  refuses({ ...person, uscc }, "FIELD_INVALID", "claim.uscc");
  refuses(
    { type: ClaimType.LEGAL_PERSON, uscc, organisationName: "甲", citizenId: person.citizenId },
    "FIELD_INVALID",
    "claim.citizen_id",
  );
  refuses({ ...person, type: ClaimType.UNSPECIFIED }, "CLAIM_UNSUPPORTED", "claim.type");
});

test("fictional people exist in the sandbox only", () => {
  const fictional = { ...person, citizenId: `44039919900307001${citizenIdCheckCharacter("44039919900307001")}` };
  const reasonOf = (allowFictional: boolean) => {
    try {
      return narrow(fictional, allowFictional).type;
    } catch (error) {
      return error instanceof DomainError ? error.violations[0]?.description : "not a domain error";
    }
  };
  assert.equal(reasonOf(false), "fictional");
  assert.equal(reasonOf(true), "PERSON_TWO_ELEMENT");
});

const png = (width: number, height: number) => {
  const head = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
  const size = Buffer.alloc(8);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  return new Uint8Array(
    Buffer.concat([head, size, Buffer.from([8, 0]), Buffer.from("0000000049454e44ae426082", "hex")]),
  );
};
const jpeg = (width: number, height: number) => {
  const frame = Buffer.from("ffc0000b080000000001011100", "hex");
  frame.writeUInt16BE(height, 5);
  frame.writeUInt16BE(width, 7);
  return new Uint8Array(
    Buffer.concat([Buffer.from("ffd8ffe00004abcd", "hex"), frame, Buffer.from("ffda0002ffd9", "hex")]),
  );
};
/** Born on the day, in the fictional district. */
const numberOf = (birthDate: string) => {
  const first17 = `440399${birthDate.replaceAll("-", "")}001`;
  return first17 + citizenIdCheckCharacter(first17);
};

test("NI-28b, NI-28c, NI-28d phone and card are normalised, and refused before any paid call", () => {
  const carrier = { ...person, type: ClaimType.PERSON_CARRIER };
  const card = { ...person, type: ClaimType.PERSON_BANK_CARD, bankCard: "6212 3456 7890 1232" };
  const narrowed = narrow({ ...card, type: ClaimType.PERSON_BANK_CARD_PHONE, phone: "+86 138-0013-8000" });
  assert.deepEqual(narrowed, {
    type: "PERSON_BANK_CARD_PHONE",
    citizenId: person.citizenId,
    personName: person.personName,
    bankCard: "6212345678901232",
    phone: "13800138000",
  });
  assert.ok(isClaimElements(JSON.parse(JSON.stringify(narrowed))));
  refuses({ ...carrier, phone: "12800138000" }, "PHONE_INVALID", "claim.phone");
  refuses(carrier, "CLAIM_INCOMPLETE", "claim.phone");
  refuses({ ...card, bankCard: "6212345678901233" }, "BANK_CARD_INVALID", "claim.bank_card");
  refuses({ ...card, phone: "13800138000" }, "FIELD_INVALID", "claim.phone");
  refuses({ ...person, wardName: "张小三" }, "FIELD_INVALID", "claim.ward_name");
  refuses({ ...person, faceImage: png(64, 64) }, "FIELD_INVALID", "claim.face_image");
});

test("NI-28e a face is a whole JPEG or PNG of a face's size, by content; only consent entitles to it (NI-14)", () => {
  const face = { ...person, type: ClaimType.PERSON_FACE };
  for (const faceImage of [png(32, 4_096), jpeg(480, 640)]) {
    const narrowed = narrow({ ...face, faceImage });
    assert.ok(narrowed.type === "PERSON_FACE" && Buffer.from(narrowed.faceImage, "base64").equals(faceImage));
  }
  const whole = png(64, 64);
  const bad = [
    png(31, 64),
    png(64, 4_097),
    jpeg(16, 16),
    whole.slice(0, -1),
    jpeg(64, 64).slice(0, -1),
    whole.slice(1),
  ];
  for (const faceImage of [...bad, new Uint8Array(Buffer.from("<svg/>")), new Uint8Array(512 * 1024 + 1)]) {
    refuses({ ...face, faceImage }, "FACE_IMAGE_INVALID", "claim.face_image");
  }
  refuses(face, "CLAIM_INCOMPLETE", "claim.face_image");
  assert.deepEqual(claimTypeNames.filter(requiresConsent), ["PERSON_FACE"]);
});

test("NI-3 a document that is over by its own date, or by none, is asked about nowhere", () => {
  const document = { ...person, type: ClaimType.DOCUMENT_VALIDITY };
  for (const documentExpireDate of ["2026-03-02", "2044-05-06", "LONG-TERM"]) {
    assert.equal(narrow({ ...document, documentExpireDate }).type, "DOCUMENT_VALIDITY");
  }
  const field = "claim.document_expire_date";
  refuses({ ...document, documentExpireDate: "2026-03-01" }, "DOCUMENT_EXPIRED", field);
  for (const documentExpireDate of ["2026-02-30", "20440506", "long-term"]) {
    refuses({ ...document, documentExpireDate }, "DOCUMENT_DATE_INVALID", field);
  }
});

test("NI-15 a guardian is an adult and a ward is not, to the day, and nobody is his own", () => {
  const adult = numberOf("2008-03-02");
  const minor = numberOf("2008-03-03");
  const claim = { ...person, type: ClaimType.GUARDIAN, wardName: "张小三" };
  assert.deepEqual(narrow({ ...claim, citizenId: adult, wardCitizenId: minor }), {
    type: "GUARDIAN",
    citizenId: adult,
    personName: person.personName,
    wardCitizenId: minor,
    wardName: "张小三",
  });
  const [guardian, ward] = ["claim.citizen_id", "claim.ward_citizen_id"];
  refuses({ ...claim, wardCitizenId: adult }, "GUARDIANSHIP_INVALID", ward);
  refuses({ ...claim, citizenId: minor, wardCitizenId: numberOf("2020-01-01") }, "GUARDIANSHIP_INVALID", guardian);
  refuses({ ...claim, wardCitizenId: claim.citizenId }, "GUARDIANSHIP_INVALID", ward);
  // An old foreigner's card tells no age.
  refuses({ ...claim, wardCitizenId: "USA110188010112" }, "GUARDIANSHIP_INVALID", ward);
  refuses({ ...claim, wardCitizenId: "440399200803030013" }, "CITIZEN_ID_INVALID", ward);
});

test("SZ-13.1 a possession is of the application that asks, of the last two minutes, and of one identifier", () => {
  const atMs = options.nowMs - 60_000;
  const possession = (challengedAtMs = atMs) => ({
    nonce: new Uint8Array(16).fill(7),
    challengeTime: timestampFromMs(challengedAtMs),
    proof: { certificates: [new Uint8Array([1])], signature: new Uint8Array([2]), format: SignatureFormat.RAW },
  });
  const claim = { type: ClaimType.CERTIFICATE_POSSESSION, citizenId: person.citizenId, possession: possession() };
  const narrowed = narrow(claim);
  assert.ok(narrowed.type === "CERTIFICATE_POSSESSION");
  assert.equal(narrowed.message, `fujie-possession-v1\napplication-1\n${"07".repeat(16)}\n${atMs}\n`);
  assert.deepEqual([narrowed.identifierKind, narrowed.identifier], ["citizen-id", person.citizenId]);
  assert.ok(isClaimElements(JSON.parse(JSON.stringify(narrowed))));
  const used = (applicationId: string) => {
    const other = narrowClaim(create(ClaimSchema, claim), { ...options, applicationId });
    return other.type === "CERTIFICATE_POSSESSION" ? singleUseOf(other, options.nowMs).key : "";
  };
  assert.equal(used("application-1"), used("application-1"));
  assert.notEqual(used("application-1"), used("application-2"));
  assert.equal(narrow({ ...claim, citizenId: "", uscc }).type, "CERTIFICATE_POSSESSION");
  refuses({ ...claim, uscc }, "FIELD_INVALID", "claim.uscc");
  refuses({ ...claim, citizenId: "" }, "CLAIM_INCOMPLETE", "claim.citizen_id");
  for (const challengedAtMs of [options.nowMs - 120_000, options.nowMs + 30_001]) {
    const late = { ...claim, possession: possession(challengedAtMs) };
    refuses(late, "CHALLENGE_INVALID", "claim.possession.challenge_time");
  }
  // The registry proves possession by a way of its own.
  assert.throws(() => narrowClaim(create(ClaimSchema, claim), options), { reason: "CLAIM_UNSUPPORTED" });
});

test("sealed elements open again as exactly what their type has", () => {
  const good = { type: "PERSON_CARRIER", citizenId: person.citizenId, personName: "张三", phone: "13800138000" };
  assert.ok(isClaimElements(good));
  const { phone: _, ...less } = good;
  for (const bad of [
    null,
    [],
    "text",
    less,
    { ...good, phone: 1 },
    { ...good, uscc },
    { ...good, type: "SHOE_SIZE" },
  ]) {
    assert.ok(!isClaimElements(bad));
  }
});

test("a claim counts against everybody and everything that it is about", () => {
  const kindsOf = (claim: ClaimElements) => capsOf(claim).map(({ kind, identifier }) => `${kind}:${identifier}`);
  const { citizenId, personName } = person;
  assert.deepEqual(kindsOf({ type: "PERSON_BANK_CARD", citizenId, personName, bankCard: "6212345678901232" }), [
    `identifier:${citizenId}`,
    "bank-card:6212345678901232",
  ]);
  const ward = { wardCitizenId: numberOf("2020-01-01"), wardName: "张小三" };
  assert.deepEqual(kindsOf({ type: "GUARDIAN", citizenId, personName, ...ward }), [
    `identifier:${citizenId}`,
    `identifier:${ward.wardCitizenId}`,
  ]);
});
