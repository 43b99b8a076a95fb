/** One source's word that a subject is who it says: only what was found to match is kept. */
export interface EvidenceRecord {
  readonly subjectId: string;
  readonly evidenceId: string;
  /** A trust source's id, or "counter". */
  readonly sourceId: string;
  readonly level: number;
  readonly checkedAt: Date;
}

export const COUNTER_SOURCE = "counter";

/** What the MAC of a row covers: all of it, unambiguous as JSON is. */
export function evidenceMacInput({ subjectId, evidenceId, sourceId, level, checkedAt }: EvidenceRecord): string {
  return JSON.stringify(["fujie-evidence-v1", subjectId, evidenceId, sourceId, level, checkedAt.getTime()]);
}
