import { COUNTER_SOURCE, type EvidenceRecord } from "../evidence/rules.ts";

export type AccountStateName = "PENDING" | "ACTIVE" | "SUSPENDED" | "CANCELLED";

export interface LevelGrounds {
  readonly state: AccountStateName;
  /** Whose MAC fits. */
  readonly evidence: readonly Pick<EvidenceRecord, "sourceId">[];
  /** Legal representative of an ACTIVE organisation, on the word of the legal-person base. */
  readonly representsOrganisation: boolean;
}

/**
 * The level of an account, from what is on file and nothing else (SU-7.1.1): 1 while it is not real-name; 2 for a
 * real-name person, whom a source and the counter know (SZ-14.4); 3 for one with an own enterprise.
 */
export function deriveLevel({ state, evidence, representsOrganisation }: LevelGrounds): 1 | 2 | 3 {
  if (state !== "ACTIVE" || !isRealName(evidence)) return 1;
  return representsOrganisation ? 3 : 2;
}

function isRealName(evidence: LevelGrounds["evidence"]): boolean {
  const sources = new Set(evidence.map(({ sourceId }) => sourceId));
  return sources.has(COUNTER_SOURCE) && sources.size > 1;
}
