/**
 * What goes to a population base and comes back: names (NI-28a), documents (NI-3), guardians (NI-15), under
 * `/population/v1/`. Old bases hold rare characters of names under private-use code points: a name that has such
 * spellings is asked for under them, too, before it counts as another's. Pure.
 */
import { createHash } from "node:crypto";
import { type ClaimElements, nameVariants } from "@fujie/identity";
import { plainResults, readBaseAnswer, unanswerable, verdictOf } from "../base-answer.ts";
import type { Dialect } from "../signed-http.ts";
import type { Check } from "../source.ts";

const nouns: Readonly<Partial<Record<ClaimElements["type"], string>>> = {
  PERSON_TWO_ELEMENT: "checks",
  DOCUMENT_VALIDITY: "documents",
  GUARDIAN: "guardians",
};

/** A document that is over, lost or withdrawn is not the valid one that is claimed. */
const documentVerdicts = {
  VALID: "MATCH",
  EXPIRED: "MISMATCH",
  LOST: "MISMATCH",
  CANCELLED: "MISMATCH",
  MISMATCH: "MISMATCH",
  NO_RECORD: "NO_RECORD",
} as const;

export const dialect: Dialect = {
  path: "/population/v1",
  nounOf: ({ type }) => nouns[type] ?? "checks",
  writeCheck: ({ bizSeq, claim, purpose }) => {
    switch (claim.type) {
      case "PERSON_TWO_ELEMENT":
        return { bizSeq, citizenId: claim.citizenId, name: claim.personName, purpose };
      case "DOCUMENT_VALIDITY": {
        const { citizenId, personName: name, documentExpireDate: expireDate } = claim;
        return { bizSeq, citizenId, name, expireDate, purpose };
      }
      case "GUARDIAN": {
        const { citizenId, personName: name, wardCitizenId, wardName } = claim;
        return { bizSeq, citizenId, name, wardCitizenId, wardName, purpose };
      }
      default:
        throw unanswerable();
    }
  },
  readAnswer: (json, check, level, nowMs) => {
    const answer = readBaseAnswer(json, check, nowMs);
    const verdicts = check.claim.type === "DOCUMENT_VALIDITY" ? documentVerdicts : plainResults;
    return { verdict: verdictOf(answer, verdicts), checkedAtMs: answer.checkedAtMs, level };
  },
};

const VARIANTS_MAX = 3;

/** What the checks of other spellings are asked under, in the order in which they are asked. */
export function variantBizSeqs(bizSeq: string): readonly string[] {
  const derive = (i: number) => createHash("sha256").update(`${bizSeq}:variant:${i}`).digest("hex");
  return Array.from({ length: VARIANTS_MAX }, (_, i) => derive(i).slice(0, bizSeq.length));
}

/**
 * The checks under other spellings of the names, at most three, each under a bizSeq of its own that follows from the
 * first. Of a guardian and a ward the base may hold either name so, or both.
 */
export function variantChecks(check: Check): readonly Check[] {
  const { claim, bizSeq } = check;
  if (!("personName" in claim)) return [];
  return otherSpellings(claim)
    .slice(0, VARIANTS_MAX)
    .map((spelt, i) => ({ ...check, bizSeq: variantBizSeqs(bizSeq)[i] ?? "", claim: spelt }));
}

type Named = Extract<ClaimElements, { readonly personName: string }>;

/** Every one but the claim itself, those that are nearest to it first. */
function otherSpellings(claim: Named): readonly ClaimElements[] {
  const names = [claim.personName, ...nameVariants(claim.personName)];
  if (claim.type !== "GUARDIAN") return names.slice(1).map((personName) => ({ ...claim, personName }));
  const wardNames = [claim.wardName, ...nameVariants(claim.wardName)];
  const pairs = names.flatMap((personName, i) =>
    wardNames.map((wardName, j) => ({ distance: Math.hypot(i, j), spelt: { ...claim, personName, wardName } })),
  );
  const nearestFirst = pairs.toSorted((a, b) => a.distance - b.distance);
  return nearestFirst.slice(1).map(({ spelt }) => spelt);
}
