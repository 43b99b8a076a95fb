// protovalidate's rules as JSON Schema, over values in protobuf's JSON mapping.
import { type DescField, getOption, hasOption, isFieldSet, type Message } from "@bufbuild/protobuf";
import {
  BytesRulesSchema,
  EnumRulesSchema,
  type FieldRules,
  Int64RulesSchema,
  MapRulesSchema,
  RepeatedRulesSchema,
  StringRulesSchema,
  UInt32RulesSchema,
  field as validation,
} from "../../../packages/api/src/gen/buf/validate/validate_pb.js";

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type Schema = { [name: string]: Json };

export function rulesOf(field: DescField): FieldRules | undefined {
  return hasOption(field, validation) ? getOption(field, validation) : undefined;
}

/**
 * What a value's rules add to its schema. Whether the value may be absent is not told here.
 * @throws Error on a rule without a counterpart, so that none is left out in silence
 */
export function schemaOfRules(rules: FieldRules | undefined, where: string): Schema {
  switch (rules?.type.case) {
    case undefined:
      return {};
    case "string":
      return translate(StringRulesSchema, rules.type.value, stringRules, where);
    case "bytes":
      return translate(BytesRulesSchema, rules.type.value, bytesRules, where);
    case "enum":
      return translate(EnumRulesSchema, rules.type.value, enumRules, where);
    case "uint32":
      return translate(UInt32RulesSchema, rules.type.value, numberRules, where);
    case "int64":
      return translate(Int64RulesSchema, rules.type.value, int64Rules, where);
    case "repeated":
      return translate(RepeatedRulesSchema, rules.type.value, repeatedRules, where);
    case "map":
      return translate(MapRulesSchema, rules.type.value, mapRules, where);
    default:
      throw new Error(`${where}: rules for ${rules.type.case} have no counterpart in the OpenAPI document yet`);
  }
}

type Translation<Rules> = { [Name in keyof Rules]?: (value: Exclude<Rules[Name], undefined>) => Schema };
type RulesSchema<Rules extends Message> = Parameters<typeof isFieldSet<import("@bufbuild/protobuf").DescMessage>>[1] & {
  $typeName?: Rules["$typeName"];
};
