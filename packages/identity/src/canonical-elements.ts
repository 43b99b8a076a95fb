import { canonicalIdentifier } from "./canonical-identifier.ts";
import { foldOrganisationName } from "./organisation-name.ts";
import { foldName } from "./person-name.ts";

/** The elements of a claim, each as its parser gave it: `CitizenId.number`, `Uscc.code`, the name in any spelling. */
export type ClaimElements =
  | { readonly type: "PERSON_TWO_ELEMENT"; readonly citizenId: string; readonly personName: string }
  | { readonly type: "LEGAL_PERSON"; readonly uscc: string; readonly organisationName: string }
  | {
      readonly type: "LEGAL_REPRESENTATIVE";
      readonly uscc: string;
      readonly organisationName: string;
      readonly citizenId: string;
    };

/**
 * The one text of a claim over which registry and trust-gateway make their shared digest (ConsentGrant.elements_hmac):
 *
 *   fujie-claim-elements-v1 LF type LF { name ":" length ":" value LF }
 *
 * with the length in UTF-8 bytes, so that no value can pass for the beginning of another. Names go in by the key on
 * which they are compared, so that every spelling of one name is one text. Never shown, never stored.
 * Throws RangeError when an identifier is not in canonical form.
 */
export function canonicalElements(claim: ClaimElements): string {
  const lines = elementsOf(claim).map(([name, value]) => `${name}:${Buffer.byteLength(value)}:${value}\n`);
  return `fujie-claim-elements-v1\n${claim.type}\n${lines.join("")}`;
}

function elementsOf(claim: ClaimElements): [name: string, value: string][] {
  if (claim.type === "PERSON_TWO_ELEMENT") {
    return [citizenIdOf(claim), ["person-name", foldName(claim.personName)]];
  }
  const organisation: [string, string][] = [
    ["uscc", canonicalIdentifier("uscc", claim.uscc)],
    ["organisation-name", foldOrganisationName(claim.organisationName)],
  ];
  return claim.type === "LEGAL_PERSON" ? organisation : [...organisation, citizenIdOf(claim)];
}

function citizenIdOf({ citizenId }: { readonly citizenId: string }): [string, string] {
  return ["citizen-id", canonicalIdentifier("citizen-id", citizenId)];
}
