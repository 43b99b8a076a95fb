/** What a report is made of. Numbers are whole. */
export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/**
 * The one text of a value (a subset of RFC 8785): keys in order of their UTF-16 code units, no white space, strings as
 * JSON.stringify writes them. Throws RangeError for a number that is not a safe integer and for a lone surrogate.
 */
export function canonicalJson(value: Json): string {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new RangeError("a text holds a lone surrogate");
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new RangeError("a number is not a safe integer");
    return String(value);
  }
  if (typeof value === "boolean") return String(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${canonicalJson(key)}:${canonicalJson(value[key] ?? "")}`).join(",")}}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
