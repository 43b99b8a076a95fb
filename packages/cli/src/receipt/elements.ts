import { type ClaimElements, canonicalElements } from "@fujie/identity";

/**
 * The canonical text of the elements in a JSON file: a claim as the API has it, with identifiers as they were
 * normalised ("11010519491231002X", no spaces). Throws RangeError or TypeError for what is no claim.
 */
export function readElements(text: string): string {
  const value: unknown = JSON.parse(text);
  if (!isElements(value)) throw new TypeError("not the elements of a claim: an object of texts, with its type");
  return canonicalElements({ ...value, type: typeOf(value.type) } as ClaimElements);
}

const PREFIX = "CLAIM_TYPE_";

function typeOf(type: string): string {
  return type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type;
}

function isElements(value: unknown): value is Readonly<Record<string, string>> & { readonly type: string } {
  if (typeof value !== "object" || value === null) return false;
  return "type" in value && Object.values(value).every((each) => typeof each === "string");
}
