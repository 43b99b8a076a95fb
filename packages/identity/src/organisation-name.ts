import { toHalfWidth } from "./identifier-text.ts";
import {
  collapseSpaces,
  countCodePoints,
  findForbiddenCharacter,
  type NameCharacterReason,
} from "./name-characters.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";

/** A name's length limit in code points. */
export const ORGANISATION_NAME_MAX = 120;

export type OrganisationNameReason = NameCharacterReason | "empty" | "too-long" | "characters";

export type OrganisationName = {
  /** As it was given. */
  raw: string;
  /** One spelling: full-width parentheses as certificates print them, half-width letters and digits, U+00B7. */
  name: string;
  /** Two names are the same if their keys are equal. Never shown. */
  key: string;
};

const NAME_CHARACTERS = /^[\p{L}\p{M}\p{N}\u{20000}-\u{2FFFD}\u{30000}-\u{3FFFD} （）\u00B7.,&'"“”、/+-]+$/u;
const LETTER_OR_DIGIT = /[\p{L}\p{N}\u{20000}-\u{2FFFD}\u{30000}-\u{3FFFD}]/u;
const RAW_UNITS_MAX = ORGANISATION_NAME_MAX * 4;

/** Reads an organisation's name: 1–120 code points, parentheses of either width alike. Never throws. */
export function parseOrganisationName(raw: string): Parsed<OrganisationName, OrganisationNameReason> {
  if (raw.length > RAW_UNITS_MAX) return refused("too-long");
  const forbidden = findForbiddenCharacter(raw);
  if (forbidden !== undefined) return refused(forbidden);
  const name = normaliseOrganisationName(raw);
  if (name === "") return refused("empty");
  if (countCodePoints(name) > ORGANISATION_NAME_MAX) return refused("too-long");
  if (!NAME_CHARACTERS.test(name) || !LETTER_OR_DIGIT.test(name)) return refused("characters");
  return accepted({ raw, name, key: foldOrganisationName(raw) });
}

/** One spelling of parentheses, spaces, dots and full-width letters. Idempotent. */
export function normaliseOrganisationName(raw: string): string {
  return collapseSpaces(toHalfWidth(raw))
    .replace(/[\u2022\u2027\u30FB\uFF65\u0387]/g, "\u00B7")
    .replace(/ ?\( ?/g, "（")
    .replace(/ ?\) ?/g, "）")
    .replace(/(?<=\p{Script=Han}) (?=\p{Script=Han})/gu, "");
}

/** The key on which organisations' names are compared: normalised and in lower case. Idempotent. */
export function foldOrganisationName(raw: string): string {
  return normaliseOrganisationName(raw).toLowerCase();
}
