import { describeOrganisation, type OrganisationOutcome, type SyntheticOrganisation } from "./organisation.ts";
import { describePerson, NAMED_DISTRICT, type PersonOutcome, type SyntheticPerson } from "./person.ts";

/**
 * The people and organisations that developers try their applications with: one for every answer that the sandbox
 * sources can give. They never change; their district and their codes are fictional. The guide's table is made of this.
 */
export type NamedPerson = { person: SyntheticPerson; meaning: { en: string; zh: string } };
export type NamedOrganisation = { organisation: SyntheticOrganisation; meaning: { en: string; zh: string } };

// Bulk people have the serials below one million.
const NAMED_PERSON_SERIAL_FROM = 9_000_000;
const NAMED_ORGANISATION_SERIAL_FROM = 99_001;

export const NAMED_PEOPLE: Readonly<Record<PersonOutcome, NamedPerson>> = {
  match: namePerson(1, "match", "林知行", "1990-03-07", {
    en: "Number and name match, the document is valid.",
    zh: "号码与姓名一致，证件有效。",
  }),
  mismatch: namePerson(2, "mismatch", "陈明德", "1985-11-20", {
    en: "The base holds another name under this number.",
    zh: "基础库中该号码对应另一姓名。",
  }),
  "no-record": namePerson(3, "no-record", "周远山", "1978-06-01", {
    en: "The base has no record, as after a move or in military service.",
    zh: "库中无此号，如迁移或现役军人。",
  }),
  outage: namePerson(4, "outage", "吴云帆", "1993-09-09", {
    en: "The source fails: the verification stays pending and costs no attempt.",
    zh: "信任源故障：核验保持待定，不计次数。",
  }),
  "minor-under-14": namePerson(5, "minor-under-14", "许星河", "2022-02-28", {
    en: "Under fourteen until 28 February 2036: the guardian applies and consents.",
    zh: "2036年2月28日前未满十四周岁：由监护人申请并同意。",
  }),
  "lost-document": namePerson(6, "lost-document", "何青禾", "1988-12-12", {
    en: "The name matches, but the document is reported lost and is refused.",
    zh: "姓名一致，但证件已挂失，应拒绝。",
  }),
  "expired-document": namePerson(7, "expired-document", "高海棠", "1986-04-18", {
    en: "The name matches, but the document expired in 2014 and is refused.",
    zh: "姓名一致，但证件已于2014年到期，应拒绝。",
  }),
  "cancelled-document": namePerson(9, "cancelled-document", "郑晓岚", "1982-02-16", {
    en: "The name matches, but the document was withdrawn by the authority and is refused.",
    zh: "姓名一致，但证件已被注销，应拒绝。",
  }),
  "name-variant": namePerson(8, "name-variant", "刘䶮", "1995-05-25", {
    en: "The base holds the name with a private-use code point: a person reviews it.",
    zh: "基础库以造字区字符存有此名：转人工核验。",
  }),
};

export const NAMED_ORGANISATIONS: Readonly<Record<OrganisationOutcome, NamedOrganisation>> = {
  match: nameOrganisation(0, "match", "微光", { en: "Code and name match.", zh: "代码与名称一致。" }),
  mismatch: nameOrganisation(1, "mismatch", "星河", {
    en: "The base holds another name under this code.",
    zh: "基础库中该代码对应另一名称。",
  }),
  "no-record": nameOrganisation(2, "no-record", "远山", { en: "The base has no record.", zh: "库中无此代码。" }),
  outage: nameOrganisation(3, "outage", "云帆", {
    en: "The source fails: the verification stays pending and costs no attempt.",
    zh: "信任源故障：核验保持待定，不计次数。",
  }),
  deregistered: nameOrganisation(4, "deregistered", "青禾", {
    en: "The name matches, but the organisation is deregistered.",
    zh: "名称一致，但该单位已注销。",
  }),
  revoked: nameOrganisation(5, "revoked", "海棠", {
    en: "The name matches, but the licence is revoked.",
    zh: "名称一致，但营业执照已被吊销。",
  }),
};

function namePerson(
  sequence: number,
  outcome: PersonOutcome,
  name: string,
  birthDate: string,
  meaning: NamedPerson["meaning"],
): NamedPerson {
  const serial = NAMED_PERSON_SERIAL_FROM + sequence;
  return { person: describePerson({ district: NAMED_DISTRICT, birthDate, sequence, serial, name, outcome }), meaning };
}

// The person of the outcome "match" represents them all, so that only the organisation's own answer varies.
function nameOrganisation(
  offset: number,
  outcome: OrganisationOutcome,
  word: string,
  meaning: NamedOrganisation["meaning"],
): NamedOrganisation {
  const organisation = describeOrganisation({
    category: "91",
    district: NAMED_DISTRICT,
    serial: NAMED_ORGANISATION_SERIAL_FROM + offset,
    name: `深圳${word}示例有限公司`,
    type: "legal-person",
    legalRepresentativeCitizenId: NAMED_PEOPLE.match.person.citizenId,
    outcome,
  });
  return { organisation, meaning };
}
