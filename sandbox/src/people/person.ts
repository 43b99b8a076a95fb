import { citizenIdCheckCharacter, type IsoDate, luhnCheckDigit } from "@fujie/identity";
import { draw, drawFrom } from "./draw.ts";

/** What the sandbox sources answer for somebody. Faults of a source and of a subject are kept apart. */
export type PersonOutcome =
  | "match"
  /** The base holds another name under this number. */
  | "mismatch"
  /** The base has nobody under this number. */
  | "no-record"
  /** The source itself fails for this number. */
  | "outage"
  | "lost-document"
  | "expired-document"
  /** Withdrawn by the authority, as after death or naturalisation elsewhere. */
  | "cancelled-document"
  /** The base holds the name with a private-use code point. */
  | "name-variant"
  /** Under fourteen until 2036: the guardian applies (NI-15). */
  | "minor-under-14";

export type IdentityDocument = {
  status: "valid" | "lost" | "cancelled";
  validFrom: IsoDate;
  /** `long-term` on the cards of people who got theirs at 46 or later. */
  validUntil: IsoDate | "long-term";
};

export type SyntheticPerson = {
  citizenId: string;
  /** As the person writes it. */
  name: string;
  /** As the base holds it: absent for `no-record`. */
  nameInBase?: string;
  birthDate: IsoDate;
  sex: "female" | "male";
  /** Eleven digits that begin with 154, a prefix that no carrier has. */
  phone: string;
  /** Sixteen digits that begin with 9999: a national range of a country code that no country has. */
  bankCard: string;
  document: IdentityDocument;
  outcome: PersonOutcome;
};

export type PeopleOptions = { count?: number; seed?: number };

/** The seed of everything that the sandbox offers when none is asked for. Changing it changes every synthetic person. */
export const SANDBOX_SEED = 1;
export const PEOPLE_COUNT_DEFAULT = 10_000;
/** More would repeat numbers. */
export const PEOPLE_COUNT_MAX = 1_000_000;

/** The fictional district in which only the named people of `outcomes.ts` live. */
export const NAMED_DISTRICT = "440399";

// A prefecture each, with the ending 99 that GB/T 2260 has never given to a county.
const DISTRICTS = (
  "1101 1201 1301 1401 1501 2101 2201 2301 3101 3201 3205 3301 3401 3501 3601 3701 " +
  "4101 4201 4301 4401 4501 4601 5001 5101 5201 5301 5401 6101 6201 6301 6401 6501"
)
  .split(" ")
  .map((prefecture) => `${prefecture}99`);
const SEQUENCES = 999;
const BIRTHS_FROM = Date.UTC(1935, 0, 1);
const BIRTH_DAYS = daysBetween(BIRTHS_FROM, Date.UTC(2007, 0, 1));
// Births of one district and sequence number fall on different residues of the day, so that no number repeats.
const BIRTH_RESIDUES = Math.ceil(PEOPLE_COUNT_MAX / (DISTRICTS.length * SEQUENCES));

const FAMILY_NAMES = [
  ..."王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹",
  "欧阳",
  "司马",
  "上官",
  "诸葛",
];
const GIVEN_CHARACTERS = [
  ..."伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建文辉力宁浩宇轩梓涵欣怡佳子墨雨晨思睿嘉",
];
// Beyond the basic plane or of GB 18030-2022 level 3: what breaks systems that count UTF-16 units.
const RARE_CHARACTERS = [..."𠮷䶮𬱖𬭎𫍯㛃𫘜𬳵𬸣龑"];
const SEPARATED_FIRST = ["阿娜尔", "买买提", "古丽娜孜", "艾力", "巴特尔", "次仁", "热依汗", "吐尔逊江"];
const SEPARATED_LAST = ["阿不都热合曼", "买合木提", "玉素甫", "多吉", "孟和", "艾合买提", "吐尔逊", "伊敏"];
const LONGEST_NAME = "买买提阿不都热合曼·吐尔逊江艾合买提玉素甫买合木提";

/**
 * The synthetic person of an index, 0 … PEOPLE_COUNT_MAX − 1: an adult of a fictional district. Pure.
 * Throws RangeError outside the range.
 */
export function personAt(index: number, seed: number = SANDBOX_SEED): SyntheticPerson {
  if (!Number.isInteger(index) || index < 0 || index >= PEOPLE_COUNT_MAX) {
    throw new RangeError(`a person's index is 0 to ${PEOPLE_COUNT_MAX - 1}`);
  }
  const district = DISTRICTS[index % DISTRICTS.length] ?? "";
  const block = Math.floor(index / DISTRICTS.length);
  const birthDate = drawBirthDate(index, seed, Math.floor(block / SEQUENCES));
  const outcome = drawOutcome(index, seed);
  const name =
    outcome === "name-variant" ? `${drawFrom(seed, index, "family", FAMILY_NAMES)}䶮` : drawName(index, seed);
  return describePerson({ district, birthDate, sequence: 1 + (block % SEQUENCES), serial: index, name, outcome });
}

/** The synthetic people 0 … count − 1, 10,000 when nothing else is asked for. */
export function* syntheticPeople(options: PeopleOptions = {}): Generator<SyntheticPerson, void, undefined> {
  const count = options.count ?? PEOPLE_COUNT_DEFAULT;
  for (let index = 0; index < count; index++) yield personAt(index, options.seed);
}

export type PersonFacts = {
  /** Six digits that end in 99. */
  district: string;
  birthDate: IsoDate;
  /** 1–999, odd for a man; unique within district and birth date. */
  sequence: number;
  /** 0–9,999,999: from it come phone and card, so that it is unique over all people. */
  serial: number;
  name: string;
  outcome: PersonOutcome;
};

/** Completes a person from the facts that make him who he is. Pure. */
export function describePerson(facts: PersonFacts): SyntheticPerson {
  const { district, birthDate, sequence, serial, name, outcome } = facts;
  const first17 = district + birthDate.replaceAll("-", "") + String(sequence).padStart(3, "0");
  const serialDigits = String(serial).padStart(7, "0");
  const cardBody = `99990000${serialDigits}`;
  const nameInBase = nameInBaseFor(name, outcome);
  return {
    citizenId: first17 + citizenIdCheckCharacter(first17),
    name,
    ...(nameInBase === undefined ? {} : { nameInBase }),
    birthDate,
    sex: sequence % 2 === 1 ? "male" : "female",
    phone: `1540${serialDigits}`,
    bankCard: cardBody + luhnCheckDigit(cardBody),
    document: documentFor(birthDate, outcome),
    outcome,
  };
}

function nameInBaseFor(name: string, outcome: PersonOutcome): string | undefined {
  if (outcome === "no-record") return undefined;
  if (outcome === "mismatch") return name.startsWith("王") ? "李代桃" : "王代桃";
  // U+E863 is where fonts of GBK kept 䶮 before Unicode had it.
  return outcome === "name-variant" ? name.replace("䶮", "\uE863") : name;
}

function documentFor(birthDate: IsoDate, outcome: PersonOutcome): IdentityDocument {
  const status = statusFor(outcome);
  if (outcome === "expired-document") return { status, validFrom: "2004-05-06", validUntil: "2014-05-06" };
  if (birthDate < "1974-01-01") return { status, validFrom: "2020-05-06", validUntil: "long-term" };
  return { status, validFrom: "2024-05-06", validUntil: "2044-05-06" };
}

function statusFor(outcome: PersonOutcome): IdentityDocument["status"] {
  if (outcome === "lost-document") return "lost";
  return outcome === "cancelled-document" ? "cancelled" : "valid";
}

function drawBirthDate(index: number, seed: number, residue: number): IsoDate {
  const strides = Math.floor(BIRTH_DAYS / BIRTH_RESIDUES);
  const days = draw(seed, index, "birth", strides) * BIRTH_RESIDUES + residue;
  return new Date(BIRTHS_FROM + days * 86_400_000).toISOString().slice(0, 10);
}

/** Nineteen in twenty match, so that a load test is not a test of failures. */
function drawOutcome(index: number, seed: number): PersonOutcome {
  const permille = draw(seed, index, "outcome", 1000);
  if (permille < 950) return "match";
  if (permille < 965) return "mismatch";
  if (permille < 980) return "no-record";
  if (permille < 985) return "outage";
  if (permille < 990) return "lost-document";
  return permille < 995 ? "expired-document" : "name-variant";
}

function drawName(index: number, seed: number): string {
  const percent = draw(seed, index, "name", 100);
  if (percent < 4) {
    return `${drawFrom(seed, index, "first", SEPARATED_FIRST)}·${drawFrom(seed, index, "last", SEPARATED_LAST)}`;
  }
  if (percent === 4) return LONGEST_NAME;
  const family = drawFrom(seed, index, "family", FAMILY_NAMES);
  if (percent < 8) return family + drawFrom(seed, index, "rare", RARE_CHARACTERS);
  const given = drawFrom(seed, index, "given-1", GIVEN_CHARACTERS);
  return percent < 40 ? family + given : family + given + drawFrom(seed, index, "given-2", GIVEN_CHARACTERS);
}

function daysBetween(from: number, to: number): number {
  return (to - from) / 86_400_000;
}
