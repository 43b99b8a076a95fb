/** Why the characters of a name are refused, before any rule of persons or organisations applies. */
export type NameCharacterReason =
  | "lone-surrogate"
  | "control-character"
  | "bidi-control"
  | "invisible-character"
  /** A code point without a public meaning. Old bases hold some (see compareNames); a person's input must not. */
  | "private-use";

// In the order in which they are tried: the invisible class would otherwise swallow the bidi controls.
const FORBIDDEN: readonly (readonly [NameCharacterReason, RegExp])[] = [
  ["lone-surrogate", /\p{Surrogate}/u],
  ["control-character", /[\p{Cc}\p{Zl}\p{Zp}]/u],
  ["bidi-control", /\p{Bidi_Control}/u],
  ["invisible-character", /[\p{Cf}\p{Default_Ignorable_Code_Point}]/u],
  ["private-use", /\p{Co}/u],
];

/** The first reason to refuse these characters in a name, or undefined. Never throws. */
export function findForbiddenCharacter(text: string): NameCharacterReason | undefined {
  return FORBIDDEN.find(([, pattern]) => pattern.test(text))?.[0];
}

/** Number of code points: 𠮷 is one character of a name, and two UTF-16 units. */
export function countCodePoints(text: string): number {
  return [...text].length;
}

/** Every kind of space becomes one ASCII space; none stays at the ends. Idempotent. */
export function collapseSpaces(text: string): string {
  return text.replace(/\p{Zs}+/gu, " ").replace(/^ | $/g, "");
}
