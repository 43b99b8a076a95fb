/** What goes to a legal-person base and comes back: `POST /legal-person/v1/checks`. Pure. */
import { readBaseAnswer, refused } from "../base-answer.ts";
import type { Answer, Check } from "../source.ts";

export function writeCheck({ bizSeq, claim, purpose }: Check): unknown {
  if (claim.type === "PERSON_TWO_ELEMENT") throw refused("cannot be had for this claim type");
  const representative = claim.type === "LEGAL_REPRESENTATIVE" ? { legalRepresentativeCitizenId: claim.citizenId } : {};
  return { bizSeq, uscc: claim.uscc, name: claim.organisationName, ...representative, purpose };
}

/**
 * A claim about the representative holds only where the base says so itself: a representative that was not checked is
 * never a match. Throws SourceError REFUSED.
 */
export function readAnswer(json: unknown, check: Check, level: number, nowMs: number): Answer {
  const { verdict, checkedAtMs, fields } = readBaseAnswer(json, check, nowMs);
  if (check.claim.type !== "LEGAL_REPRESENTATIVE" || verdict !== "MATCH") return { verdict, checkedAtMs, level };
  const representative = fields["legalRepresentative"];
  if (representative !== "MATCH" && representative !== "MISMATCH") throw refused("leaves the representative open");
  return { verdict: representative, checkedAtMs, level };
}
