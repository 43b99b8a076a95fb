import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ClaimSchema, ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { citizenIdCheckCharacter } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { narrowClaim } from "./rules.ts";

const options = { nowMs: Date.UTC(2026, 2, 2), allowFictional: true };
const person = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId: "11010519491231002X", personName: "张三" };
const uscc = "91350100M000100Y43";

function narrow(claim: MessageInitShape<typeof ClaimSchema>, allowFictional = true) {
  return narrowClaim(create(ClaimSchema, claim), { ...options, allowFictional });
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
