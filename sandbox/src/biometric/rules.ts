import type { Check } from "../manners/check.ts";
import { FieldError, requireText } from "../manners/field-error.ts";
import { readPersonCheck } from "../manners/person-check.ts";
import type { Cap } from "../manners/quota.ts";
import { type SyntheticPerson, similarityTo } from "../people/index.ts";
import { comparePerson, type PersonResult } from "../population-base/rules.ts";

export type FaceResult = PersonResult | "NO_PHOTO";
export type FaceFindings = {
  readonly result: FaceResult;
  /** In thousandths; 0 where nothing was compared. */
  readonly similarity: number;
};
export type BiometricAnswer = FaceFindings & { readonly bizSeq: string; readonly checkTime: string };

/** From which similarity on the source itself speaks of one person. */
export const SIMILARITY_MATCH = 700;
const IMAGE_BYTES_MAX = 512 * 1024;
const IMAGE_FORM = /^[A-Za-z0-9+/]{1,699052}={0,2}$/;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** A comparison of a face with the picture on file (NI-28e). Throws FieldError. */
export function readFaceCheck(value: unknown): Check<BiometricAnswer> {
  let image: Uint8Array = new Uint8Array();
  const check = readPersonCheck(value, {
    more: ["image"],
    readMore: (fields) => {
      const text = requireText(fields["image"], "image", IMAGE_FORM);
      image = requireImage(Buffer.from(text, "base64"), "image");
      return [text];
    },
    compare: (person, name) => compareFace(person, name, image),
  });
  return { ...check, caps: () => faceCaps(check.identifier) };
}

/** JPEG or PNG by its first bytes. Throws FieldError. */
export function requireImage(image: Uint8Array, field: string): Uint8Array {
  const bytes = Buffer.from(image);
  const isPicture = bytes.indexOf("89504e470d0a1a0a", 0, "hex") === 0 || bytes.indexOf("ffd8ff", 0, "hex") === 0;
  if (!isPicture || bytes.length > IMAGE_BYTES_MAX) throw new FieldError(field, "is no JPEG or PNG of at most 512 KiB");
  return image;
}

/** Fifteen a minute and thirty a day about one person. */
export function faceCaps(citizenId: string): readonly Cap[] {
  return [
    { key: `face-minute:${citizenId}`, max: 15, withinMs: MINUTE_MS },
    { key: `face-day:${citizenId}`, max: 30, withinMs: DAY_MS },
  ];
}

/** What the source finds. A minor has no picture on file. Undefined: the source fails for this person. */
export function compareFace(
  person: SyntheticPerson | undefined,
  name: string,
  image: Uint8Array,
): FaceFindings | undefined {
  const found = comparePerson(person, name);
  if (found === undefined || person === undefined) return found && { result: "NO_RECORD", similarity: 0 };
  if (found !== "MATCH") return { result: found, similarity: 0 };
  if (person.outcome === "minor-under-14") return { result: "NO_PHOTO", similarity: 0 };
  const similarity = similarityTo(person.citizenId, image);
  return { result: similarity >= SIMILARITY_MATCH ? "MATCH" : "MISMATCH", similarity };
}
