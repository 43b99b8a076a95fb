// protovalidate's rules as JSON Schema, over values in protobuf's JSON mapping.
import { type DescField, getOption, hasOption, toJson } from "@bufbuild/protobuf";
import { FieldRulesSchema, field as fieldRules } from "../../../packages/api/src/gen/buf/validate/validate_pb.js";

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type Schema = { [name: string]: Json };

/**
 * What the rules of a field add to the schema of its value. Whether it may be absent is not told here.
 * @throws Error on a rule without a counterpart, so that none is left out in silence
 */
export function schemaOfRules(field: DescField): Schema {
  if (!hasOption(field, fieldRules)) return {};
  const rules = toJson(FieldRulesSchema, getOption(field, fieldRules));
  try {
    return translate(rules, field);
  } catch (error) {
    throw new Error(`${field.parent.typeName}.${field.name}: no schema for its rules`, { cause: error });
  }
}

function translate(rules: Json, field: DescField): Schema {
  return merge(entriesOf(rules).map(([kind, value]) => (kind === "required" ? {} : translateKind(kind, value, field))));
}

function translateKind(kind: string, value: Json, field: DescField): Schema {
  if (kind === "repeated" || kind === "map") {
    return merge(entriesOf(value).map(([name, bound]) => collectionRule(name, bound, field)));
  }
  const table = tables[kind];
  if (table === undefined) throw new Error(`rules for ${kind}`);
  return merge(
    entriesOf(value).map(([name, bound]) => {
      const rule = table[name];
      if (rule === undefined) throw new Error(`${kind}.${name}`);
      return rule(bound, field);
    }),
  );
}

function collectionRule(name: string, bound: Json, field: DescField): Schema {
  if (name === "items") return { items: translate(bound, field) };
  const keyword = { minItems: "minItems", maxItems: "maxItems", minPairs: "minProperties", maxPairs: "maxProperties" }[
    name
  ];
  if (keyword === undefined) throw new Error(`collection rule ${name}`);
  return { [keyword]: Number(bound) };
}

type Rule = (bound: Json, field: DescField) => Schema;

const tables: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  string: {
    len: (bound) => ({ minLength: Number(bound), maxLength: Number(bound) }),
    minLen: (bound) => ({ minLength: Number(bound) }),
    maxLen: (bound) => ({ maxLength: Number(bound) }),
    pattern: (bound) => ({ pattern: bound }),
    in: (bound) => ({ enum: bound }),
    uuid: () => ({ format: "uuid" }),
    uri: () => ({ format: "uri" }),
  },
  bytes: {
    len: (bound) => ({ minLength: base64Length(bound).least, maxLength: base64Length(bound).most }),
    minLen: (bound) => ({ minLength: base64Length(bound).least }),
    maxLen: (bound) => ({ maxLength: base64Length(bound).most }),
  },
  uint32: {
    lte: (bound) => ({ maximum: bound }),
    gte: (bound) => ({ minimum: bound }),
  },
  // As strings these have no ordering in JSON Schema: a pattern says what a bound of zero means.
  int64: {
    gte: (bound) => patternFromZero(bound, "^[0-9]+$"),
    gt: (bound) => patternFromZero(bound, "^0*[1-9][0-9]*$"),
  },
  enum: {
    definedOnly: () => ({}),
    in: (bound, field) => ({ enum: enumNames(bound, field) }),
    notIn: (bound, field) => ({ not: { enum: enumNames(bound, field) } }),
  },
};

/** Lengths of base64 without and with padding: both are read. */
function base64Length(bytes: Json): { least: number; most: number } {
  return { least: Math.ceil((Number(bytes) * 4) / 3), most: 4 * Math.ceil(Number(bytes) / 3) };
}

function patternFromZero(bound: Json, pattern: string): Schema {
  if (bound !== "0") throw new Error(`int64 bound ${bound}`);
  return { pattern };
}

function enumNames(numbers: Json, field: DescField): string[] {
  const values = field.enum?.values ?? [];
  return (Array.isArray(numbers) ? numbers : []).map((number) => {
    const name = values.find((value) => value.number === number)?.name;
    if (name === undefined) throw new Error(`no enum value ${number}`);
    return name;
  });
}

function entriesOf(value: Json): [string, Json][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("rules are no object");
  return Object.entries(value);
}

function merge(schemas: readonly Schema[]): Schema {
  return Object.assign({}, ...schemas);
}
