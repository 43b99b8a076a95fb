import { type ClaimElements, type ClaimTypeFacts, claimTypes, type ElementName } from "./claim-types.ts";

export type Answer = "MATCH" | "MISMATCH" | "NO_RECORD";
/** Test subjects of one claim type, by the answer that the source must give. */
export type Subjects = Readonly<Record<Answer, ClaimElements>>;

/** The file of test subjects is not what it must be. Names the place, never a value. */
export class SubjectsError extends Error {
  override readonly name = "SubjectsError";
}

const KEYS: readonly (readonly [Answer, string])[] = [
  ["MATCH", "match"],
  ["MISMATCH", "mismatch"],
  ["NO_RECORD", "noRecord"],
];

/**
 * Reads `{"claims": [{"type", "match", "mismatch", "noRecord"}]}`; each subject has exactly the elements of its type,
 * `faceImage` in base64 (docs/trust-source-access.md, §12). Throws SubjectsError.
 */
export function readSubjects(text: string): ReadonlyMap<string, Subjects> {
  const claims = recordIn(parse(text), "the file")["claims"];
  if (!Array.isArray(claims) || claims.length === 0) throw new SubjectsError("claims is not a list with entries");
  const entries = claims.map((value: unknown, i) => readEntry(recordIn(value, `claims[${i}]`), `claims[${i}]`));
  const subjects = new Map(entries);
  if (subjects.size !== entries.length) throw new SubjectsError("a claim type is given twice");
  return subjects;
}

type JsonRecord = Readonly<Record<string, unknown>>;

function readEntry(entry: JsonRecord, where: string): readonly [string, Subjects] {
  const facts = claimTypes.find(({ name }) => name === entry["type"]);
  if (facts === undefined) throw new SubjectsError(`${where}.type is no claim type`);
  const read = (key: string) => readElements(recordIn(entry[key], `${where}.${key}`), facts, `${where}.${key}`);
  const [match, mismatch, noRecord] = KEYS.map(([, key]) => read(key));
  if (match === undefined || mismatch === undefined || noRecord === undefined) throw new SubjectsError(where);
  return [facts.name, { MATCH: match, MISMATCH: mismatch, NO_RECORD: noRecord }];
}

function readElements(values: JsonRecord, { elements }: ClaimTypeFacts, where: string): ClaimElements {
  const surplus = Object.keys(values).find((key) => !elements.some((name) => name === key));
  if (surplus !== undefined) throw new SubjectsError(`${where}.${surplus} is not an element of its type`);
  const pairs = elements.map((name) => [name, readElement(name, values[name], `${where}.${name}`)] as const);
  return Object.fromEntries(pairs);
}

function readElement(name: ElementName, value: unknown, where: string): string | Uint8Array<ArrayBuffer> {
  if (typeof value !== "string" || value === "") throw new SubjectsError(`${where} is missing`);
  return name === "faceImage" ? new Uint8Array(Buffer.from(value, "base64")) : value;
}

function recordIn(value: unknown, where: string): JsonRecord {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SubjectsError(`${where} is not an object`);
  }
  return { ...value };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SubjectsError("the file is not JSON");
  }
}
