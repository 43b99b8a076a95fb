/** What a password may be (NIST SP 800-63B-4 §3.1.1: length and a blocklist, no rules of composition). */
import { commonPasswords } from "./common-passwords.ts";

export type PasswordReason =
  /** Not 10 to 128 characters. */
  | "length"
  /** One that everybody tries first, or little more than one. */
  | "common"
  /** Only a few different characters, or a run through the alphabet, the digits or the keyboard. */
  | "predictable"
  /** Control characters or a lone surrogate: it could not be typed again elsewhere. */
  | "characters";

const LENGTH_MIN = 10;
const LENGTH_MAX = 128;
const DIFFERENT_MIN = 5;

/** The one spelling that is hashed: NFKC, so that every keyboard and input method gives the same bytes (RFC 8265 §4.2). */
export function normalisePassword(input: string): string {
  return input.normalize("NFKC");
}

/** Why a password is refused, or undefined. */
export function weaknessOf(input: string): PasswordReason | undefined {
  if (!input.isWellFormed() || /\p{Cc}/u.test(input)) return "characters";
  const password = normalisePassword(input);
  const length = [...password].length;
  if (length < LENGTH_MIN || length > LENGTH_MAX) return "length";
  const folded = password.toLowerCase();
  if (isCommon(folded)) return "common";
  return isPredictable(folded) ? "predictable" : undefined;
}

/** A common password stays one with digits or marks around it, doubled, or written with the usual look-alikes. */
function isCommon(folded: string): boolean {
  const plain = folded.replace(/[@4]/g, "a").replace(/[0]/g, "o").replace(/[3]/g, "e").replace(/[$5]/g, "s");
  return [folded, plain].some((text) => {
    const core = text.replace(/^[^\p{L}]+|[^\p{L}]+$/gu, "");
    const half = text.slice(0, text.length / 2);
    const doubled = text === half + half;
    return commonPasswords.has(text) || commonPasswords.has(core) || (doubled && commonPasswords.has(half));
  });
}

const RUNS = [
  "abcdefghijklmnopqrstuvwxyz",
  "01234567890123456789",
  "qwertyuiopasdfghjklzxcvbnm",
  "1qaz2wsx3edc4rfv5tgb",
];

function isPredictable(folded: string): boolean {
  if (new Set(folded).size < DIFFERENT_MIN) return true;
  return RUNS.some((run) => run.includes(folded) || [...run].reverse().join("").includes(folded));
}
