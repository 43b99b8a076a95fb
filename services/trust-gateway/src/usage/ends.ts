import type { EvidenceRow } from "../evidence/mac.ts";
import type { CallBook } from "./book.ts";
import { type CallEnd, endOf, type Standing } from "./rules.ts";

/**
 * How the calls of a verification ended, to be written with what became of it (`endCalls`). `checks` are all that there
 * are of it; `evidence` is what this attempt knows.
 */
export function callEnds(
  calls: Pick<CallBook, "take">,
  checks: readonly { readonly sourceId: string; readonly bizSeq: string }[],
  evidence: readonly Pick<EvidenceRow, "sourceId" | "verdict">[],
  attempt: Pick<Standing, "fresh" | "decided">,
): CallEnd[] {
  const ended = new Set(evidence.map(({ sourceId }) => sourceId));
  const answered = new Set(evidence.filter(({ verdict }) => verdict !== "UNAVAILABLE").map(({ sourceId }) => sourceId));
  return checks.flatMap(({ sourceId, bizSeq }) => {
    const sent = calls.take(bizSeq);
    const asking = !ended.has(sourceId);
    const end = endOf({ ...attempt, sent: sent?.state, answered: answered.has(sourceId), asking });
    return end === undefined ? [] : [{ bizSeq, end, billed: sent?.billed ?? 0 }];
  });
}
