import { createHash } from "node:crypto";
import type { Check } from "../manners/check.ts";
import {
  BIZ_SEQ_FORM,
  PURPOSE_FORM,
  requireCitizenId,
  requireOrganisationName,
  requireUscc,
} from "../manners/elements.ts";
import { readFields, requireText } from "../manners/field-error.ts";
import type { SyntheticOrganisation } from "../people/index.ts";

export type OrganisationFindings = {
  readonly result: "MATCH" | "MISMATCH" | "NO_RECORD";
  readonly legalRepresentative: "MATCH" | "MISMATCH" | "NOT_CHECKED";
};
export type LegalPersonAnswer = OrganisationFindings & { readonly bizSeq: string; readonly checkTime: string };

/** A check of code and name and, when it is given, of the legal representative. Throws FieldError. */
export function readLegalPersonCheck(value: unknown): Check<LegalPersonAnswer> {
  const fields = readFields(value, ["bizSeq", "uscc", "name", "legalRepresentativeCitizenId", "purpose"]);
  const bizSeq = requireText(fields["bizSeq"], "bizSeq", BIZ_SEQ_FORM);
  const uscc = requireUscc(fields["uscc"], "uscc");
  const name = requireOrganisationName(fields["name"], "name");
  const given = fields["legalRepresentativeCitizenId"];
  const citizenId = given === undefined ? undefined : requireCitizenId(given, "legalRepresentativeCitizenId");
  const purpose = requireText(fields["purpose"], "purpose", PURPOSE_FORM);
  const elements = JSON.stringify([uscc, name, citizenId ?? null, purpose]);
  return {
    bizSeq,
    fingerprint: createHash("sha256").update(elements).digest("base64"),
    identifier: uscc,
    lookUp(checkTimeMs, { lookupOrganisation }) {
      const findings = compareOrganisation(lookupOrganisation(uscc), name, citizenId);
      return findings && { bizSeq, ...findings, checkTime: new Date(checkTimeMs).toISOString() };
    },
  };
}

/**
 * What a base finds. The representative is compared only where code and name agree, so that nobody learns who
 * represents an organisation that he cannot name. Undefined: the source fails for this organisation.
 */
export function compareOrganisation(
  organisation: SyntheticOrganisation | undefined,
  name: string,
  legalRepresentativeCitizenId: string | undefined,
): OrganisationFindings | undefined {
  if (organisation?.outcome === "outage") return undefined;
  if (organisation?.nameInBase === undefined) return { result: "NO_RECORD", legalRepresentative: "NOT_CHECKED" };
  if (organisation.nameInBase !== name) return { result: "MISMATCH", legalRepresentative: "NOT_CHECKED" };
  if (legalRepresentativeCitizenId === undefined) return { result: "MATCH", legalRepresentative: "NOT_CHECKED" };
  const represents = organisation.legalRepresentativeCitizenId === legalRepresentativeCitizenId;
  return { result: "MATCH", legalRepresentative: represents ? "MATCH" : "MISMATCH" };
}
