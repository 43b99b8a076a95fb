/** Shows of a message only what its proto declares public; everything else, and everything undeclared, is hidden. */
import {
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  isMessage,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, durationMs, FieldMaskSchema, TimestampSchema, timestampDate } from "@bufbuild/protobuf/wkt";
import { DataClass, data } from "@fujie/api/fujie/options/v1/options";

export const REDACTED = "[redacted]";

/** JSON-like, ready for a log line. */
export type Loggable = string | number | boolean | readonly Loggable[] | { readonly [field: string]: Loggable };

export type LoggableMessage = { readonly [field: string]: Loggable };

/**
 * The set fields of `message` by their proto names; a field that is not DATA_CLASS_PUBLIC is "[redacted]", a public
 * message is shown field by field under the same rule. What cannot be judged (Any, Struct) is "[redacted]".
 */
export function redact<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): LoggableMessage {
  return showMessage(reflect(schema, message));
}

function showMessage(message: ReflectMessage): LoggableMessage {
  const set = message.fields.filter((field) => message.isSet(field));
  return Object.fromEntries(set.map((field) => [field.name, isPublic(field) ? showField(message, field) : REDACTED]));
}

const publicFields = new WeakMap<DescField, boolean>();

function isPublic(field: DescField): boolean {
  const known = publicFields.get(field);
  if (known !== undefined) return known;
  const declared = hasOption(field, data) && getOption(field, data) === DataClass.PUBLIC;
  publicFields.set(field, declared);
  return declared;
}

function showField(message: ReflectMessage, field: DescField): Loggable {
  switch (field.fieldKind) {
    case "scalar":
      return showScalar(message.get(field));
    case "enum":
      return showEnum(field, message.get(field));
    case "message":
      return showNested(message.get(field));
    case "list":
      return [...message.get(field)].map((item) => showItem(field, item));
    case "map": {
      const entries = [...message.get(field)];
      return Object.fromEntries(entries.map(([key, item]) => [String(key), showItem(field, item)]));
    }
  }
}

/** An element of a list, or a value of a map. */
function showItem(field: DescField, item: unknown): Loggable {
  if (isReflected(item)) return showNested(item);
  return field.enum === undefined ? showScalar(item) : showEnum(field, item);
}

function isReflected(item: unknown): item is ReflectMessage {
  return typeof item === "object" && item !== null && "desc" in item && "fields" in item;
}

function showScalar(value: unknown): Loggable {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "bigint") return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : REDACTED;
}

/** A number that the enum does not know stays a number. */
function showEnum(field: DescField, value: unknown): Loggable {
  if (typeof value !== "number") return REDACTED;
  return field.enum?.value[value]?.name ?? value;
}

function showNested(reflected: ReflectMessage): Loggable {
  const { desc, message } = reflected;
  if (!desc.typeName.startsWith("google.protobuf.")) return showMessage(reflected);
  if (isMessage(message, TimestampSchema)) return showTime(timestampDate(message));
  if (isMessage(message, DurationSchema)) return `${durationMs(message)} ms`;
  if (isMessage(message, FieldMaskSchema)) return message.paths.join(",");
  // Any, Struct and the like carry whatever somebody put in: nothing says how private that is.
  return REDACTED;
}

/** A Timestamp may hold years that no date has. */
function showTime(date: Date): Loggable {
  return Number.isNaN(date.getTime()) ? REDACTED : date.toISOString();
}
