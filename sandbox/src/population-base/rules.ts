import { createHash } from "node:crypto";
import type { Check } from "../manners/check.ts";
import { BIZ_SEQ_FORM, PURPOSE_FORM, requireCitizenId, requirePersonName } from "../manners/elements.ts";
import { readFields, requireText } from "../manners/field-error.ts";
import type { SyntheticPerson } from "../people/index.ts";

export type PersonResult = "MATCH" | "MISMATCH" | "NO_RECORD";
export type PopulationAnswer = { readonly bizSeq: string; readonly result: PersonResult; readonly checkTime: string };

/** A two-element check (NI-28a). Throws FieldError. */
export function readPopulationCheck(
  value: unknown,
  lookup: (citizenId: string) => SyntheticPerson | undefined,
): Check<PopulationAnswer> {
  const fields = readFields(value, ["bizSeq", "citizenId", "name", "purpose"]);
  const bizSeq = requireText(fields["bizSeq"], "bizSeq", BIZ_SEQ_FORM);
  const citizenId = requireCitizenId(fields["citizenId"], "citizenId");
  const name = requirePersonName(fields["name"], "name");
  const purpose = requireText(fields["purpose"], "purpose", PURPOSE_FORM);
  return {
    bizSeq,
    fingerprint: createHash("sha256")
      .update(JSON.stringify([citizenId, name, purpose]))
      .digest("base64"),
    identifier: citizenId,
    lookUp(checkTimeMs) {
      const result = comparePerson(lookup(citizenId), name);
      return result && { bizSeq, result, checkTime: new Date(checkTimeMs).toISOString() };
    },
  };
}

/** What a base finds for a name under a number. Undefined: the source fails for this person. */
export function comparePerson(person: SyntheticPerson | undefined, name: string): PersonResult | undefined {
  if (person?.outcome === "outage") return undefined;
  if (person?.nameInBase === undefined) return "NO_RECORD";
  // Bases compare character by character: a private-use spelling of the same name is a mismatch to them.
  return person.nameInBase === name ? "MATCH" : "MISMATCH";
}
