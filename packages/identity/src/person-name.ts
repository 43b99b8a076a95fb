import { toHalfWidth } from "./identifier-text.ts";
import {
  collapseSpaces,
  countCodePoints,
  findForbiddenCharacter,
  type NameCharacterReason,
} from "./name-characters.ts";
import { accepted, type Parsed, refused } from "./parsed.ts";
import { toPrivateUse, toPublicCharacters } from "./private-use.ts";

/** A name's length limit in code points. */
export const PERSON_NAME_MAX = 50;

export type PersonNameReason =
  | NameCharacterReason
  | "empty"
  | "too-long"
  /** The separator U+00B7 leads, trails or is doubled. */
  | "separator"
  | "characters";

export type PersonName = {
  /** As it was given: what a form shows and an archive keeps. */
  raw: string;
  /** One spelling of dots, spaces and full-width letters; the characters themselves are as given. */
  name: string;
  /** Two names are the same if their keys are equal. Never shown. */
  key: string;
};

/**
 * `possible-variant` is for a person to judge, never a pass: the names differ only where one of them holds a
 * private-use code point or a compatibility form of the other's character, as old bases do.
 */
export type NameComparison = "same" | "possible-variant" | "different";

const SEPARATOR = "\u00B7";
// • ‧ ・ ･ . and the Greek · that NFC would turn into U+00B7 anyway. (．is half-width by then.)
const SEPARATOR_LOOKALIKES = /[\u2022\u2027\u30FB\uFF65\u002E\u0387]/g;
// Letters that are a dot: nobody writes his name with them, and whoever does would be another person.
const DOT_LETTERS = /[\uA78F\u1427\u318D\u119E]/;
// Letters and marks of any script, 〇, and the ideographic planes 2 and 3 as a whole: a Unicode table older than the
// newest extension must not refuse a person's name.
const NAME_CHARACTERS = /^[\p{L}\p{M}\u3007\u{20000}-\u{2FFFD}\u{30000}-\u{3FFFD}\u00B7' -]+$/u;
const LETTER = /[\p{L}\u3007\u{20000}-\u{2FFFD}\u{30000}-\u{3FFFD}]/u;
const RAW_UNITS_MAX = PERSON_NAME_MAX * 8;

/**
 * Reads a person's name: 1–50 code points of any script, parts separated by U+00B7 (GB/T 21023 writes names so; rare
 * characters of GB 18030-2022 level 3 are ordinary ones here). Never throws.
 */
export function parsePersonName(raw: string): Parsed<PersonName, PersonNameReason> {
  if (raw.length > RAW_UNITS_MAX) return refused("too-long");
  const forbidden = findForbiddenCharacter(raw);
  if (forbidden !== undefined) return refused(forbidden);
  const name = normalisePersonName(raw);
  if (name === "") return refused("empty");
  if (countCodePoints(name) > PERSON_NAME_MAX) return refused("too-long");
  if (name.startsWith(SEPARATOR) || name.endsWith(SEPARATOR) || name.includes(SEPARATOR + SEPARATOR)) {
    return refused("separator");
  }
  if (!NAME_CHARACTERS.test(name) || !LETTER.test(name) || DOT_LETTERS.test(name)) return refused("characters");
  return accepted({ raw, name, key: foldName(raw) });
}

/** One spelling of separators, spaces, apostrophes, hyphens and full-width letters. Idempotent. */
export function normalisePersonName(raw: string): string {
  return collapseSpaces(toHalfWidth(raw))
    .replace(SEPARATOR_LOOKALIKES, SEPARATOR)
    .replace(/ ?\u00B7 ?/g, SEPARATOR)
    .replace(/[\u2018\u2019\u02BC]/g, "'")
    .replace(/[\u2010\u2011]/g, "-")
    .replace(/(?<=\p{Script=Han}) (?=\p{Script=Han})/gu, "");
}

/**
 * The key on which names are compared: normalised, composed (NFC) and in lower case. Compatibility ideographs are kept
 * apart from the characters that NFC would make of them: whether they are the same name is for a person to judge.
 * Idempotent.
 */
export function foldName(raw: string): string {
  const key = composeExceptIdeographs(normalisePersonName(raw));
  return composeExceptIdeographs(key.toLowerCase());
}

/**
 * Compares two names, for instance a user's and a base's. Only equal keys without private-use code points are `same`.
 * Symmetric; an empty or unsafe name is `different` from everything, itself included. Never throws.
 */
export function compareNames(a: string, b: string): NameComparison {
  if (!isComparable(a) || !isComparable(b)) return "different";
  const [keyA, keyB] = [foldName(a), foldName(b)];
  if (keyA === keyB && !hasPrivateUse(keyA)) return "same";
  return isVariant(toVariantKey(keyA), toVariantKey(keyB)) ? "possible-variant" : "different";
}

/**
 * The other spellings under which an old base may hold a name, at most three: with private-use code points, with the
 * character that a compatibility form stands for, or with both. None is the name as `normalisePersonName` gives it, and
 * `compareNames` calls each a possible variant.
 */
export function nameVariants(raw: string): readonly string[] {
  const name = normalisePersonName(raw);
  const unified = name.replace(/[\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu, (character) => character.normalize("NFKC"));
  const spellings = new Set([toPrivateUse(name), unified, toPrivateUse(unified)]);
  spellings.delete(name);
  return [...spellings].filter((spelling) => compareNames(name, spelling) === "possible-variant");
}

function composeExceptIdeographs(text: string): string {
  return text
    .split(/([\uF900-\uFAFF\u{2F800}-\u{2FA1F}]+)/u)
    .map((part, i) => (i % 2 === 0 ? part.normalize("NFC") : part))
    .join("");
}

function isComparable(name: string): boolean {
  if (name.length > RAW_UNITS_MAX || collapseSpaces(name) === "") return false;
  const forbidden = findForbiddenCharacter(name);
  return forbidden === undefined || forbidden === "private-use";
}

function hasPrivateUse(text: string): boolean {
  return /\p{Co}/u.test(text);
}

function toVariantKey(key: string): string {
  return toPublicCharacters(key).normalize("NFKC");
}

/** Equal but for private-use code points that no table maps, and with at least one known character in common. */
function isVariant(a: string, b: string): boolean {
  if (a === b && !hasPrivateUse(a)) return true;
  const [charactersA, charactersB] = [[...a], [...b]];
  if (charactersA.length !== charactersB.length) return false;
  let equal = 0;
  for (const [i, character] of charactersA.entries()) {
    const other = charactersB[i] ?? "";
    if (hasPrivateUse(character) || hasPrivateUse(other)) continue;
    if (character !== other) return false;
    equal++;
  }
  return equal > 0;
}
