// Messages and enums as JSON Schema 2020-12, in protobuf's JSON mapping (protobuf.dev/programming-guides/json).
import { create, type DescEnum, type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { DataClass, data } from "../../../packages/api/src/gen/fujie/options/v1/options_pb.js";
import { commentOf } from "./contract.ts";
import { type Schema, schemaOfRules } from "./rules.ts";

export const schemaRef = (typeName: string): Schema => ({ $ref: `#/components/schemas/${typeName}` });

/**
 * The schemas of these messages and of all that they hold, by type name, sorted. What only requests hold refuses
 * unknown fields, as the servers do; what answers hold may grow.
 */
export function schemasFor(requests: readonly DescMessage[], answers: readonly DescMessage[]): Record<string, Schema> {
  const asked = reachable(requests);
  const answered = reachable(answers);
  const validator = createValidator();
  const all = [...new Map([...asked, ...answered])].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(
    all.map(([typeName, desc]) => [
      typeName,
      desc.kind === "enum" ? schemaOfEnum(desc) : schemaOfMessage(desc, !answered.has(typeName), validator),
    ]),
  );
}

function reachable(from: readonly DescMessage[]): Map<string, DescMessage | DescEnum> {
  const found = new Map<string, DescMessage | DescEnum>();
  const queue: (DescMessage | DescEnum)[] = [...from];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (found.has(next.typeName) || next.typeName in wellKnown) continue;
    found.set(next.typeName, next);
    if (next.kind === "message") {
      queue.push(...next.fields.flatMap((field) => [field.message, field.enum].filter((type) => type !== undefined)));
    }
  }
  return found;
}

function schemaOfEnum(desc: DescEnum): Schema {
  const values = desc.values.map((value) => `- \`${value.name}\`: ${commentOf(value)}`);
  return {
    type: "string",
    description: [commentOf(desc), "", ...values].join("\n"),
    enum: desc.values.map(({ name }) => name),
  };
}

function schemaOfMessage(desc: DescMessage, onlyAsked: boolean, validator: Validator): Schema {
  const missing = whatMayNotBeAbsent(desc, validator);
  const properties = desc.fields.map((field) => [field.jsonName, describeField(field)]);
  const groups = desc.oneofs.map((oneof) => oneof.fields.map(({ jsonName }) => jsonName));
  const choices = desc.oneofs.map((oneof, index) => chooseOne(groups[index] ?? [], missing.has(oneof.name)));
  const required = desc.fields.filter(({ name }) => missing.has(name)).map(({ jsonName }) => jsonName);
  return {
    type: "object",
    description: [
      commentOf(desc),
      ...desc.oneofs.map((oneof, index) => {
        const names = (groups[index] ?? []).map((name) => `\`${name}\``).join(", ");
        return `${missing.has(oneof.name) ? "Exactly" : "At most"} one of ${names}: ${commentOf(oneof)}`.trim();
      }),
    ].join("\n\n"),
    properties: Object.fromEntries(properties),
    ...(onlyAsked && required.length > 0 ? { required } : {}),
    ...(choices.length > 0 ? { allOf: choices } : {}),
    ...(onlyAsked ? { additionalProperties: false } : {}),
  };
}

/** The names of fields and oneofs that validation misses in an empty message. */
function whatMayNotBeAbsent(desc: DescMessage, validator: Validator): ReadonlySet<string> {
  const result = validator.validate(desc, create(desc));
  if (result.kind === "error") throw result.error;
  const names = (result.violations ?? []).map(({ field: [first] }) =>
    first?.kind === "field" || first?.kind === "oneof" ? first.name : "",
  );
  return new Set(names);
}

function chooseOne(names: readonly string[], required: boolean): Schema {
  const each = names.map((name) => ({ required: [name] }));
  return required ? { oneOf: each } : { oneOf: [...each, { not: { anyOf: each } }] };
}

function describeField(field: DescField): Schema {
  const dataClass = getOption(field, data);
  return {
    ...schemaOfField(field),
    description: commentOf(field),
    ...(dataClass === DataClass.UNSPECIFIED ? {} : { "x-data-class": DataClass[dataClass] ?? "" }),
  };
}

function schemaOfField(field: DescField): Schema {
  const rules = schemaOfRules(field);
  switch (field.fieldKind) {
    case "list": {
      const { items = {}, ...own } = rules;
      return { type: "array", items: join(schemaOfValue(field), items), ...own };
    }
    case "map":
      return { type: "object", additionalProperties: schemaOfValue(field), ...rules };
    default:
      return join(schemaOfValue(field), rules);
  }
}

function join(schema: Schema, more: Schema[string]): Schema {
  return typeof more === "object" && more !== null && !Array.isArray(more) ? { ...schema, ...more } : schema;
}

function schemaOfValue({ message, enum: enumeration, scalar }: DescField): Schema {
  if (message !== undefined) return wellKnown[message.typeName] ?? schemaRef(message.typeName);
  if (enumeration !== undefined) return schemaRef(enumeration.typeName);
  const schema = scalar === undefined ? undefined : scalars[scalar];
  if (schema === undefined) throw new Error(`no schema for scalar type ${scalar}`);
  return schema;
}

const int64 = { type: "string", format: "int64", pattern: "^-?[0-9]+$" };
const uint64 = { type: "string", format: "uint64", pattern: "^[0-9]+$" };
const int32 = { type: "integer", format: "int32", minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };
const uint32 = { type: "integer", format: "int64", minimum: 0, maximum: 2 ** 32 - 1 };

const scalars: Readonly<Partial<Record<ScalarType, Schema>>> = {
  [ScalarType.STRING]: { type: "string" },
  [ScalarType.BYTES]: { type: "string", contentEncoding: "base64" },
  [ScalarType.BOOL]: { type: "boolean" },
  [ScalarType.INT32]: int32,
  [ScalarType.UINT32]: uint32,
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
};

const wellKnown: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$" },
  "google.protobuf.FieldMask": { type: "string", pattern: "^[A-Za-z0-9]+(,[A-Za-z0-9]+)*$" },
};
