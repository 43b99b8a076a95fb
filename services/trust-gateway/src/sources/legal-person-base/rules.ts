/** What goes to a legal-person base and comes back: `POST /legal-person/v1/checks`. Pure. */
import { plainResults, readBaseAnswer, refused, unanswerable, verdictOf } from "../base-answer.ts";
import type { Dialect } from "../signed-http.ts";
import type { Answer, Check } from "../source.ts";

export const dialect: Dialect = { path: "/legal-person/v1", nounOf: () => "checks", writeCheck, readAnswer };

function writeCheck({ bizSeq, claim, purpose }: Check): unknown {
  if (claim.type !== "LEGAL_PERSON" && claim.type !== "LEGAL_REPRESENTATIVE") throw unanswerable();
  const representative = claim.type === "LEGAL_REPRESENTATIVE" ? { legalRepresentativeCitizenId: claim.citizenId } : {};
  return { bizSeq, uscc: claim.uscc, name: claim.organisationName, ...representative, purpose };
}

/**
 * A claim about the representative holds only where the base says so itself: a representative that was not checked is
 * never a match. Throws SourceError REFUSED.
 */
function readAnswer(json: unknown, check: Check, level: number, nowMs: number): Answer {
  const answer = readBaseAnswer(json, check, nowMs);
  const verdict = verdictOf(answer, plainResults);
  const { checkedAtMs, fields } = answer;
  if (check.claim.type !== "LEGAL_REPRESENTATIVE" || verdict !== "MATCH") return { verdict, checkedAtMs, level };
  const representative = fields["legalRepresentative"];
  if (representative !== "MATCH" && representative !== "MISMATCH") throw refused("leaves the representative open");
  return { verdict: representative, checkedAtMs, level };
}
