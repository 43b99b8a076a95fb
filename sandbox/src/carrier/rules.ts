import type { Check } from "../manners/check.ts";
import { requirePhone } from "../manners/elements.ts";
import { findings, readPersonCheck } from "../manners/person-check.ts";
import type { SyntheticPerson } from "../people/index.ts";
import { comparePerson, type PersonResult } from "../population-base/rules.ts";

export type CarrierAnswer = { readonly bizSeq: string; readonly result: PersonResult; readonly checkTime: string };

/** A three-element check (NI-28b): number, name, mobile number. Throws FieldError. */
export function readCarrierCheck(value: unknown): Check<CarrierAnswer> {
  return readPersonCheck(value, {
    more: ["phone"],
    readMore: (fields) => [requirePhone(fields["phone"], "phone")],
    compare: (person, name, [phone = ""]) => findings(comparePhone(person, name, phone)),
  });
}

/** What a carrier finds for a mobile number of a person. Undefined: the source fails for this person. */
export function comparePhone(
  person: SyntheticPerson | undefined,
  name: string,
  phone: string,
): PersonResult | undefined {
  const found = comparePerson(person, name);
  return found === "MATCH" && person?.phone !== phone ? "MISMATCH" : found;
}
