/** Which sources are asked for a claim: the cheapest lawful ones. Pure. */
import type { ClaimTypeName } from "../claims/rules.ts";
import type { EvidencePolicy } from "../evidence/rules.ts";
import type { SourceKind } from "../sources/source.ts";

/** Who may speak for a type of claim, and with what weight. */
export interface ClaimRule {
  /** Kinds of source, the most authoritative first. Of each kind one source is asked. */
  readonly kinds: readonly SourceKind[];
  /** Whether every kind has to agree, or any one suffices. */
  readonly quorum: "all-of" | "any-of";
}

export type ClaimRules = Readonly<Record<ClaimTypeName, ClaimRule>>;

/** The population base is authoritative for persons, the legal-person base for organisations; nobody stands in (NI-31). */
export const defaultClaimRules: ClaimRules = {
  PERSON_TWO_ELEMENT: { kinds: ["population-base"], quorum: "all-of" },
  LEGAL_PERSON: { kinds: ["legal-person-base"], quorum: "all-of" },
  LEGAL_REPRESENTATIVE: { kinds: ["legal-person-base"], quorum: "all-of" },
};

/** What the planner knows of a source now. */
export interface Candidate {
  readonly id: string;
  readonly kind: SourceKind;
  readonly claimTypes: readonly ClaimTypeName[];
  readonly level: number;
  readonly priceFen: number;
  /** Live, or the usual one while nothing was measured. */
  readonly latencyMs: number;
  readonly available: boolean;
}

/**
 * The policy under which a claim is judged, with the sources to ask. Of several sources of a kind it takes one that is
 * there, then the cheapest, then the fastest. `candidates` are those that the registry lets be asked.
 * Undefined when the rule cannot be met: a kind that has to agree has no source for this claim at this level.
 */
export function planEvidence(
  rule: ClaimRule,
  wanted: { readonly type: ClaimTypeName; readonly level: number },
  candidates: readonly Candidate[],
): EvidencePolicy | undefined {
  const lawful = candidates.filter(
    ({ claimTypes, level }) => claimTypes.includes(wanted.type) && level >= wanted.level,
  );
  const chosen = rule.kinds.flatMap((kind, place) => {
    const best = lawful.filter((candidate) => candidate.kind === kind).toSorted(byPreference)[0];
    return best === undefined ? [] : [{ sourceId: best.id, rank: rule.kinds.length - place }];
  });
  const enough = rule.quorum === "all-of" ? chosen.length === rule.kinds.length : chosen.length > 0;
  return enough ? { sources: chosen, quorum: { kind: rule.quorum }, level: wanted.level } : undefined;
}

function byPreference(a: Candidate, b: Candidate): number {
  return (
    Number(b.available) - Number(a.available) ||
    a.priceFen - b.priceFen ||
    a.latencyMs - b.latencyMs ||
    (a.id < b.id ? -1 : 1)
  );
}
