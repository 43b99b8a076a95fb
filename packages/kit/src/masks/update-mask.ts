import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { DomainError } from "../errors/index.ts";

/**
 * The fields that an update changes, by their proto names: exactly those that its mask names, each once (AIP-134, but
 * without `*`: a client that knows fewer fields than the server must not clear the others).
 * @throws DomainError MASK_INVALID naming `update_mask`, with a violation for each bad path: an absent or empty mask, `*`,
 * a path into a field, a repeated one, and whatever is not `mutable`: unknown, immutable and output-only fields alike.
 */
export function readUpdateMask<const Field extends string>(
  mask: FieldMask | undefined,
  mutable: readonly Field[],
): ReadonlySet<Field> {
  const paths = mask?.paths ?? [];
  const fields = new Set<Field>();
  const wrong = paths.length === 0 ? ["names no field"] : [];
  for (const [i, path] of paths.entries()) {
    const field = mutable.find((name) => name === path);
    if (field === undefined) wrong.push(`paths[${i}] ${whyNot(path)}`);
    else if (fields.has(field)) wrong.push(`paths[${i}] repeats a field`);
    else fields.add(field);
  }
  if (wrong.length === 0) return fields;
  // Three tell enough: a mask of thousands does not become an answer of thousands.
  const violations = wrong.slice(0, 3).map((description) => ({ field: "update_mask", description }));
  throw new DomainError("MASK_INVALID", { violations });
}

function whyNot(path: string): string {
  if (path === "*") return "is a wildcard: name each field";
  if (path.includes(".")) return "leads into a field: name whole fields";
  return "is no field that an update changes";
}
