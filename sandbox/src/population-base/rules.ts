import { LONG_TERM } from "@fujie/identity";
import type { Check } from "../manners/check.ts";
import { requireCitizenId, requireDocumentDate, requirePersonName } from "../manners/elements.ts";
import { findings, readPersonCheck } from "../manners/person-check.ts";
import { guardianOf, type SyntheticPerson } from "../people/index.ts";

export type PersonResult = "MATCH" | "MISMATCH" | "NO_RECORD";
export type DocumentResult = "VALID" | "EXPIRED" | "LOST" | "CANCELLED" | "MISMATCH" | "NO_RECORD";
export type PopulationAnswer = {
  readonly bizSeq: string;
  readonly result: PersonResult | DocumentResult;
  readonly checkTime: string;
};

/** A two-element check (NI-28a). Throws FieldError. */
export function readPopulationCheck(value: unknown): Check<PopulationAnswer> {
  return readPersonCheck(value, {
    more: [],
    readMore: () => [],
    compare: (person, name) => findings(comparePerson(person, name)),
  });
}

/** Whether the document is valid (NI-3). Throws FieldError. */
export function readDocumentCheck(value: unknown): Check<PopulationAnswer> {
  return readPersonCheck(value, {
    more: ["expireDate"],
    readMore: (fields) => [requireDocumentDate(fields["expireDate"], "expireDate")],
    compare: (person, name, [expireDate = ""], { dayInChina }) =>
      findings(compareDocument(person, name, expireDate, dayInChina)),
  });
}

/** Whether the one is the other's guardian (NI-15). Throws FieldError. */
export function readGuardianCheck(value: unknown): Check<PopulationAnswer> {
  return readPersonCheck(value, {
    more: ["wardCitizenId", "wardName"],
    readMore: (fields) => [
      requireCitizenId(fields["wardCitizenId"], "wardCitizenId"),
      requirePersonName(fields["wardName"], "wardName"),
    ],
    compare: (person, name, [wardCitizenId = "", wardName = ""], { records }) =>
      findings(compareGuardian({ person, name }, { person: records.lookupPerson(wardCitizenId), name: wardName })),
  });
}

/** What a base finds for a name under a number. Undefined: the source fails for this person. */
export function comparePerson(person: SyntheticPerson | undefined, name: string): PersonResult | undefined {
  if (person?.outcome === "outage") return undefined;
  if (person?.nameInBase === undefined) return "NO_RECORD";
  // Bases compare character by character: a private-use spelling of the same name is a mismatch to them.
  return person.nameInBase === name ? "MATCH" : "MISMATCH";
}

/** What a base finds for a document. The state of a document of another name or date is nobody's business. */
export function compareDocument(
  person: SyntheticPerson | undefined,
  name: string,
  expireDate: string,
  today: string,
): DocumentResult | undefined {
  const found = comparePerson(person, name);
  if (found === undefined || person === undefined) return found && "NO_RECORD";
  if (found !== "MATCH") return found;
  const { status, validUntil } = person.document;
  if ((validUntil === "long-term" ? LONG_TERM : validUntil) !== expireDate) return "MISMATCH";
  if (status !== "valid") return status === "lost" ? "LOST" : "CANCELLED";
  return validUntil !== "long-term" && validUntil < today ? "EXPIRED" : "VALID";
}

type Named = { readonly person: SyntheticPerson | undefined; readonly name: string };

/** What a base finds for a guardian and a ward. */
export function compareGuardian(guardian: Named, ward: Named): PersonResult | undefined {
  const found = [guardian, ward].map(({ person, name }) => comparePerson(person, name));
  if (found.includes(undefined)) return undefined;
  if (found.includes("NO_RECORD")) return "NO_RECORD";
  const related = ward.person !== undefined && guardianOf(ward.person.citizenId) === guardian.person?.citizenId;
  return found.includes("MISMATCH") || !related ? "MISMATCH" : "MATCH";
}
