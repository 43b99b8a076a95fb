/** What goes to a population base and comes back (NI-28a): `POST /population/v1/checks`. Pure. */
import { readBaseAnswer, refused } from "../base-answer.ts";
import type { Answer, Check } from "../source.ts";

export function writeCheck({ bizSeq, claim, purpose }: Check): unknown {
  if (claim.type !== "PERSON_TWO_ELEMENT") throw refused("cannot be had for this claim type");
  return { bizSeq, citizenId: claim.citizenId, name: claim.personName, purpose };
}

/** Throws SourceError REFUSED. */
export function readAnswer(json: unknown, check: Check, level: number, nowMs: number): Answer {
  const { verdict, checkedAtMs } = readBaseAnswer(json, check, nowMs);
  return { verdict, checkedAtMs, level };
}
