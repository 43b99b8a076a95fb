/** Reads one entry of the sources file field by field; what is wrong is told by the entry's and the field's name. */
import { readFileSync, statSync } from "node:fs";

/** Names the entry and the field that are wrong, e.g. `sources[2] (partner): target is missing`. Never the value. */
export class SourcesFileError extends Error {
  override readonly name = "SourcesFileError";
}

type JsonRecord = Readonly<Record<string, unknown>>;

export interface EntryReader {
  readonly where: string;
  text(field: string, pattern: RegExp): string;
  /** The text, or undefined when the field is absent. */
  optionalText(field: string, pattern: RegExp): string | undefined;
  whole(field: string, min: number, max: number): number;
  flag(field: string): boolean;
  list<Item>(field: string, read: (item: EntryReader) => Item): readonly Item[];
  texts(field: string): readonly string[];
  /** The texts, or undefined when the field is absent. */
  optionalTexts(field: string): readonly string[] | undefined;
  /** The contents of the file that the field names. */
  file(field: string, options?: { readonly secret?: boolean }): Buffer;
  fail(field: string, problem: string): never;
  /** Refuses fields that nobody asked for: a typing error is one. */
  done(): void;
}

export function entryReader(where: string, value: unknown): EntryReader {
  if (!isRecord(value)) throw new SourcesFileError(`${where}: is not an object`);
  const asked = new Set<string>();
  const get = (field: string): unknown => {
    asked.add(field);
    return value[field];
  };
  const fail = (field: string, problem: string): never => {
    throw new SourcesFileError(`${where}: ${field} ${problem}`);
  };
  const text = (field: string, pattern: RegExp): string => {
    const found = get(field);
    if (found === undefined) return fail(field, "is missing");
    return typeof found === "string" && pattern.test(found) ? found : fail(field, "is not of its form");
  };
  const list = (field: string): readonly unknown[] => {
    const found = get(field);
    return Array.isArray(found) ? found : fail(field, "is not a list");
  };
  const texts = (field: string): readonly string[] =>
    list(field).map((item) => (typeof item === "string" ? item : fail(field, "holds what is no text")));
  return {
    where,
    text,
    optionalText: (field, pattern) => (get(field) === undefined ? undefined : text(field, pattern)),
    whole: (field, min, max) => {
      const found = get(field);
      const fits = typeof found === "number" && Number.isInteger(found) && found >= min && found <= max;
      return fits ? found : fail(field, `is not a whole number from ${min} to ${max}`);
    },
    flag: (field) => {
      const found = get(field) ?? false;
      return typeof found === "boolean" ? found : fail(field, "is not true or false");
    },
    list: (field, read) =>
      list(field).map((item, i) => {
        const reader = entryReader(`${where}.${field}[${i}]`, item);
        const result = read(reader);
        reader.done();
        return result;
      }),
    texts,
    optionalTexts: (field) => (get(field) === undefined ? undefined : texts(field)),
    file: (field, { secret = false } = {}) => {
      const path = text(field, /^[^\0]{1,4096}$/);
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isFile() !== true) return fail(field, "names no file");
      if (secret && (found.mode & 0o007) !== 0) return fail(field, "names a secret that everybody can read");
      const contents = readFileSync(path);
      return contents.length === 0 ? fail(field, "names an empty file") : contents;
    },
    fail,
    done: () => {
      const unknown = Object.keys(value).find((field) => !asked.has(field));
      if (unknown !== undefined) fail(unknown, "is not a known field");
    },
  };
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
