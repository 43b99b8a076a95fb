import { organisationCodeCheckCharacter, usccCheckCharacter } from "@fujie/identity";
import { draw, drawFrom } from "./draw.ts";
import { PEOPLE_COUNT_DEFAULT, personAt, SANDBOX_SEED } from "./person.ts";

/** What the sandbox's legal-person base answers for an organisation. */
export type OrganisationOutcome = "match" | "mismatch" | "no-record" | "outage" | "deregistered" | "revoked";

export type SyntheticOrganisation = {
  uscc: string;
  /** As the organisation writes it. */
  name: string;
  /** As the base holds it: absent for `no-record`. */
  nameInBase?: string;
  type: "legal-person" | "unincorporated-organisation";
  /** A synthetic person's number: the legal representative, or the person in charge where there is none. */
  legalRepresentativeCitizenId: string;
  status: "active" | "revoked" | "deregistered";
  outcome: OrganisationOutcome;
};

export type OrganisationsOptions = { count?: number; seed?: number };

export const ORGANISATIONS_COUNT_DEFAULT = 2_000;
/** Serials 99,001–99,999 of the zone belong to the named organisations of `outcomes.ts`. */
export const ORGANISATIONS_COUNT_MAX = 99_000;

type Form = { category: string; type: SyntheticOrganisation["type"]; suffixes: readonly string[] };

const FORMS: readonly Form[] = [
  { category: "91", type: "legal-person", suffixes: ["有限公司", "股份有限公司", "（集团）有限公司"] },
  { category: "91", type: "unincorporated-organisation", suffixes: ["合伙企业（有限合伙）", "事务所（普通合伙）"] },
  { category: "93", type: "legal-person", suffixes: ["农民专业合作社"] },
  { category: "12", type: "legal-person", suffixes: ["研究院", "服务中心"] },
  { category: "52", type: "legal-person", suffixes: ["培训学校"] },
];
const PLACES = [
  ["110199", "北京"],
  ["310199", "上海"],
  ["320599", "苏州"],
  ["440199", "广州"],
  ["440399", "深圳"],
  ["510199", "成都"],
] as const;
const WORDS = [..."微光远山星河青禾云帆海棠知行明德瑞和正源"];
const TRADES = ["科技", "信息技术", "商贸", "文化", "环保", "医药", "建筑设计", "供应链"];

/**
 * The synthetic organisation of an index, 0 … ORGANISATIONS_COUNT_MAX − 1. Its organisation code comes from the
 * self-defined zone PDY00001–PDY99999 (GB 11714-1997), its district is fictional, and one of the 10,000 default people
 * of the same seed represents it. Pure. Throws RangeError outside the range.
 */
export function organisationAt(index: number, seed: number = SANDBOX_SEED): SyntheticOrganisation {
  if (!Number.isInteger(index) || index < 0 || index >= ORGANISATIONS_COUNT_MAX) {
    throw new RangeError(`an organisation's index is 0 to ${ORGANISATIONS_COUNT_MAX - 1}`);
  }
  const form = drawFrom(seed, index, "form", FORMS);
  const [district, place] = drawFrom(seed, index, "place", PLACES);
  const word = drawFrom(seed, index, "word-1", WORDS) + drawFrom(seed, index, "word-2", WORDS);
  const trade = drawFrom(seed, index, "trade", TRADES);
  return describeOrganisation({
    category: form.category,
    district,
    serial: index + 1,
    name: place + word + trade + drawFrom(seed, index, "suffix", form.suffixes),
    type: form.type,
    legalRepresentativeCitizenId: personAt(draw(seed, index, "representative", PEOPLE_COUNT_DEFAULT), seed).citizenId,
    outcome: drawOutcome(index, seed),
  });
}

/** The synthetic organisations 0 … count − 1, 2,000 when nothing else is asked for. */
export function* syntheticOrganisations(
  options: OrganisationsOptions = {},
): Generator<SyntheticOrganisation, void, undefined> {
  const count = options.count ?? ORGANISATIONS_COUNT_DEFAULT;
  for (let index = 0; index < count; index++) yield organisationAt(index, options.seed);
}

export type OrganisationFacts = {
  /** The first two characters of the code. */
  category: string;
  /** Six digits that end in 99. */
  district: string;
  /** 1–99,999: the number in the self-defined zone. */
  serial: number;
  name: string;
  type: SyntheticOrganisation["type"];
  legalRepresentativeCitizenId: string;
  outcome: OrganisationOutcome;
};

/** Completes an organisation from the facts that make it what it is. Pure. */
export function describeOrganisation(facts: OrganisationFacts): SyntheticOrganisation {
  const { category, district, serial, name, type, legalRepresentativeCitizenId, outcome } = facts;
  const first8 = `PDY${String(serial).padStart(5, "0")}`;
  const first17 = category + district + first8 + organisationCodeCheckCharacter(first8);
  const nameInBase = nameInBaseFor(name, outcome);
  return {
    uscc: first17 + usccCheckCharacter(first17),
    name,
    ...(nameInBase === undefined ? {} : { nameInBase }),
    type,
    legalRepresentativeCitizenId,
    status: outcome === "revoked" || outcome === "deregistered" ? outcome : "active",
    outcome,
  };
}

function nameInBaseFor(name: string, outcome: OrganisationOutcome): string | undefined {
  if (outcome === "no-record") return undefined;
  return outcome === "mismatch" ? `${name.slice(0, 2)}张冠李戴贸易有限公司` : name;
}

function drawOutcome(index: number, seed: number): OrganisationOutcome {
  const permille = draw(seed, index, "outcome", 1000);
  if (permille < 950) return "match";
  if (permille < 960) return "mismatch";
  if (permille < 970) return "no-record";
  if (permille < 975) return "outage";
  return permille < 990 ? "deregistered" : "revoked";
}
