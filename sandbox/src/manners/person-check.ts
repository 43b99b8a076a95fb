import { createHash } from "node:crypto";
import type { Records, SyntheticPerson } from "../people/index.ts";
import type { Check } from "./check.ts";
import { BIZ_SEQ_FORM, PURPOSE_FORM, requireCitizenId, requirePersonName } from "./elements.ts";
import { readFields, requireText } from "./field-error.ts";

/** What is known when a check is answered. */
export type Known = { readonly records: Records; readonly dayInChina: string };

type Answered<Findings> = Findings & { readonly bizSeq: string; readonly checkTime: string };

/** What all checks about a person have in common: `more` are the fields beyond number and name. Throws FieldError. */
export function readPersonCheck<Findings extends { readonly result: string }>(
  value: unknown,
  kind: {
    readonly more: readonly string[];
    readonly readMore: (fields: Readonly<Record<string, unknown>>) => readonly string[];
    /** Undefined: the source fails for this person. */
    readonly compare: (
      person: SyntheticPerson | undefined,
      name: string,
      more: readonly string[],
      known: Known,
    ) => Findings | undefined;
  },
): Check<Answered<Findings>> {
  const fields = readFields(value, ["bizSeq", "citizenId", "name", "purpose", ...kind.more]);
  const bizSeq = requireText(fields["bizSeq"], "bizSeq", BIZ_SEQ_FORM);
  const citizenId = requireCitizenId(fields["citizenId"], "citizenId");
  const name = requirePersonName(fields["name"], "name");
  const purpose = requireText(fields["purpose"], "purpose", PURPOSE_FORM);
  const more = kind.readMore(fields);
  const elements = JSON.stringify([citizenId, name, purpose, kind.more, more]);
  return {
    bizSeq,
    fingerprint: createHash("sha256").update(elements).digest("base64"),
    identifier: citizenId,
    lookUp(checkTimeMs, records) {
      const known = { records, dayInChina: dayInChina(checkTimeMs) };
      const found = kind.compare(records.lookupPerson(citizenId), name, more, known);
      return found && { bizSeq, ...found, checkTime: new Date(checkTimeMs).toISOString() };
    },
  };
}

/** A result alone. */
export function findings<Result extends string>(result: Result | undefined): { readonly result: Result } | undefined {
  return result && { result };
}

export function dayInChina(nowMs: number): string {
  return new Date(nowMs + 8 * 3_600_000).toISOString().slice(0, 10);
}
