import { type IsoDate, isCalendarDate, requireCalendarDate } from "./date.ts";
import { IDENTIFIER_TEXT_MAX, normaliseIdentifierText } from "./identifier-text.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";
import { isFictionalRegion, isKnownProvince, lookupRegion } from "./region.ts";

/** The documents whose number identifies a natural person. */
export type CitizenIdKind =
  | "citizen-id"
  | "hong-kong-residence-permit"
  | "macao-residence-permit"
  | "taiwan-residence-permit"
  | "foreigner-card"
  | "foreigner-card-old";

export type CitizenIdReason =
  /** Neither 18 characters nor the 15 of an old foreigner's card. */
  | "length"
  | "characters"
  /** The 15-digit number of the first-generation card, which stopped being valid in 2013. */
  | "first-generation"
  | "check-character"
  /** No such day, before 1800, or after `today`. */
  | "birth-date"
  /** A fictional district where fictional people are not allowed. */
  | "fictional";

/** Doubts that a base settles and a format cannot: they never refuse by themselves. */
export type CitizenIdWarning = "region-unknown" | "region-abolished-before-birth";

export type CitizenId = {
  /** The canonical form: 18 characters, or 15 for the old foreigner's card. */
  number: string;
  kind: CitizenIdKind;
  /** Absent for the old foreigner's card: its year has two digits only, so that age needs other evidence. */
  birthDate?: IsoDate;
  /** Absent for the old foreigner's card. */
  sex?: "female" | "male";
  warnings: readonly CitizenIdWarning[];
};

export type CitizenIdOptions = {
  /** The day against which a birth date in the future is refused. */
  today: IsoDate;
  /** Accepts the fictional districts (ending 99). For tests and sandboxes only; refused when absent. */
  allowFictional?: boolean;
};

const BIRTH_YEAR_MIN = 1800;
const WEIGHTS = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK_CHARACTERS = "10X98765432";

const RESIDENCE_PERMITS: ReadonlyMap<string, CitizenIdKind> = new Map([
  ["810000", "hong-kong-residence-permit"],
  ["820000", "macao-residence-permit"],
  // 83, not the 71 that GB/T 2260 gives to Taiwan.
  ["830000", "taiwan-residence-permit"],
]);

/** The one spelling of a number: half-width, upper-case, without spaces and hyphens (SZ-3.2). Idempotent. */
export function normaliseCitizenId(input: string): string {
  return normaliseIdentifierText(input);
}

/**
 * Reads the number of a citizen (GB 11643-1999), of a residence permit for Hong Kong, Macao and Taiwan residents, or of
 * a foreigner's permanent-residence card: new (9 and 17 more, since 2023-12-01) or old (three letters, twelve digits).
 * A region that no table knows is a warning, because tables lag and abolished codes stay in numbers.
 * Never throws on input; throws RangeError when `today` is no date.
 */
export function parseCitizenId(input: string, options: CitizenIdOptions): Parsed<CitizenId, CitizenIdReason> {
  requireCalendarDate(options.today);
  if (input.length > IDENTIFIER_TEXT_MAX) return refused("length");
  const number = normaliseCitizenId(input);
  if (number.length === 15) return parseFifteen(number);
  if (number.length !== 18) return refused("length");
  if (!/^[1-9]\d{16}[\dX]$/.test(number)) return refused("characters");
  if (citizenIdCheckCharacter(number.slice(0, 17)) !== number.charAt(17)) return refused("check-character");

  const birthDate = `${number.slice(6, 10)}-${number.slice(10, 12)}-${number.slice(12, 14)}`;
  if (!isBirthDate(birthDate, options.today)) return refused("birth-date");
  const kind = kindOf(number);
  if (kind === "citizen-id" && isFictionalRegion(number.slice(0, 6)) && options.allowFictional !== true) {
    return refused("fictional");
  }
  return accepted({ number, kind, birthDate, sex: sexOf(number), warnings: regionWarnings(number, kind) });
}

/**
 * The check character of the first 17 digits: ISO 7064 MOD 11-2 (GB 11643-1999).
 * Throws RangeError unless given 17 digits.
 */
export function citizenIdCheckCharacter(first17: string): string {
  if (!/^\d{17}$/.test(first17)) throw new RangeError("the check character needs 17 digits");
  const sum = WEIGHTS.reduce((total, weight, i) => total + weight * Number(first17.charAt(i)), 0);
  return CHECK_CHARACTERS.charAt(sum % 11);
}

function parseFifteen(number: string): Parsed<CitizenId, CitizenIdReason> {
  if (/^\d{15}$/.test(number)) return refused("first-generation");
  if (!/^[A-Z]{3}\d{12}$/.test(number)) return refused("characters");
  return accepted({ number, kind: "foreigner-card-old", warnings: [] });
}

function kindOf(number: string): CitizenIdKind {
  if (number.startsWith("9")) return "foreigner-card";
  return RESIDENCE_PERMITS.get(number.slice(0, 6)) ?? "citizen-id";
}

function isBirthDate(date: IsoDate, today: IsoDate): boolean {
  return isCalendarDate(date) && Number(date.slice(0, 4)) >= BIRTH_YEAR_MIN && date <= today;
}

function sexOf(number: string): "female" | "male" {
  return Number(number.charAt(16)) % 2 === 1 ? "male" : "female";
}

function regionWarnings(number: string, kind: CitizenIdKind): CitizenIdWarning[] {
  if (kind === "foreigner-card") return isKnownProvince(number.slice(1, 3)) ? [] : ["region-unknown"];
  if (kind !== "citizen-id") return [];
  const region = lookupRegion(number.slice(0, 6));
  if (region.status === "unknown") return ["region-unknown"];
  // One year of grace: a code abolished during a year stands last in the table of the year before.
  const isTooOld = region.status === "abolished" && Number(number.slice(6, 10)) > region.abolishedAfterYear + 1;
  return isTooOld ? ["region-abolished-before-birth"] : [];
}
