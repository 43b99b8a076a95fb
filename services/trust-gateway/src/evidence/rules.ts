/**
 * The evidence algebra: from what sources said to what is believed. Pure.
 *
 *   evidence ──per source──▶ its word ──policy──▶ VERIFIED | REJECTED | PENDING
 *
 * A policy is judged on complete words (`judge`), and judge is monotone: a better word never gives a worse outcome. What
 * is known decides when it comes to the same whether those who are silent know nothing or agree, and everything else is
 * PENDING. So "any of" needs one source that is there, "all of" every one. The laws that the tests hold it to:
 *
 *   - only positive evidence raises an outcome: no answer, a stale one and one of too low a level count as none;
 *   - an authority's mismatch is not outvoted by weaker sources;
 *   - order and repetition of evidence do not matter;
 *   - a source's fault never rejects anybody.
 */

export type Verdict = "MATCH" | "MISMATCH" | "NO_RECORD" | "UNAVAILABLE" | "NOT_CHECKED";

export interface Evidence {
  readonly sourceId: string;
  readonly verdict: Verdict;
  /** At which level of assurance, 1 to 3. */
  readonly level: number;
  /** When the source looked. */
  readonly checkedAtMs: number;
}

/** Who is asked, and whose word weighs more: a higher rank outweighs any number of lower ones. */
export interface Authority {
  readonly sourceId: string;
  readonly rank: number;
}

export type Quorum = { readonly kind: "all-of" | "any-of" } | { readonly kind: "k-of-n"; readonly k: number };

export interface EvidencePolicy {
  /** Each source once, at least one. The word of any other source counts for nothing. */
  readonly sources: readonly Authority[];
  readonly quorum: Quorum;
  /** The level wanted, 1 to 3. */
  readonly level: number;
  /** Evidence from before this moment is stale. */
  readonly freshSinceMs?: number;
}

export type PendingReason =
  /** Somebody who is needed has not spoken. */
  | "SOURCE_AWAY"
  /** Sources disagree: a person decides. */
  | "REVIEW";

export type Adjudication =
  /** `level`: the highest at which the claim holds. */
  | { readonly outcome: "VERIFIED"; readonly level: number }
  | { readonly outcome: "REJECTED" }
  | { readonly outcome: "PENDING"; readonly reason: PendingReason };

/** A source's answers taken together. CONFLICT: both match and mismatch; UNSURE: a match, and once no record. */
type Word = "MISMATCH" | "CONFLICT" | "NO_RECORD" | "UNSURE" | "MATCH";
type Judgement = "REJECTED" | "REVIEW" | "VERIFIED";

const LEVEL_MAX = 3;

/** What the evidence comes to under the policy. Throws RangeError for a policy that nobody could meet. */
export function adjudicate(policy: EvidencePolicy, evidence: readonly Evidence[]): Adjudication {
  requireSound(policy);
  const outcome = adjudicateAt(policy, policy.level, evidence);
  if (outcome !== "VERIFIED") {
    return outcome === "REJECTED" ? { outcome } : { outcome: "PENDING", reason: outcome };
  }
  let level = policy.level;
  while (level < LEVEL_MAX && adjudicateAt(policy, level + 1, evidence) === "VERIFIED") level += 1;
  return { outcome, level };
}

/**
 * Whether no answer of the outstanding sources can change the outcome any more, so that nobody needs to wait for them.
 * They may answer anything or nothing; those who have spoken may speak again.
 */
export function isSettled(
  policy: EvidencePolicy,
  evidence: readonly Evidence[],
  outstanding: ReadonlySet<string>,
): boolean {
  const sources = policy.sources.filter(({ sourceId }) => outstanding.has(sourceId));
  const all = (verdict: Verdict): Evidence[] =>
    sources.map(({ sourceId }) => ({
      sourceId,
      verdict,
      level: LEVEL_MAX,
      checkedAtMs: policy.freshSinceMs ?? 0,
    }));
  const worst = adjudicate(policy, [...evidence, ...all("MISMATCH")]);
  const best = adjudicate(policy, [...evidence, ...all("MATCH")]);
  return worst.outcome === best.outcome;
}

function adjudicateAt(policy: EvidencePolicy, level: number, evidence: readonly Evidence[]): Judgement | "SOURCE_AWAY" {
  const known = policy.sources.map(({ sourceId, rank }) => ({
    rank,
    word: wordOf(evidence.filter((item) => item.sourceId === sourceId && counts(item, level, policy.freshSinceMs))),
  }));
  const complete = (silent: Word) => known.map(({ rank, word }) => ({ rank, word: word ?? silent }));
  const needed = neededOf(policy);
  const worst = judge(complete("NO_RECORD"), needed);
  const best = judge(complete("MATCH"), needed);
  return worst === best ? worst : "SOURCE_AWAY";
}

/** Whether a piece of evidence is an answer at all: fresh, and where it is positive, good enough. */
function counts({ verdict, level, checkedAtMs }: Evidence, wanted: number, freshSinceMs = 0): boolean {
  if (verdict === "UNAVAILABLE" || verdict === "NOT_CHECKED" || checkedAtMs < freshSinceMs) return false;
  return verdict !== "MATCH" || level >= wanted;
}

/** What one source's answers come to; undefined when it gave none. */
function wordOf(answers: readonly Evidence[]): Word | undefined {
  const has = (verdict: Verdict) => answers.some((answer) => answer.verdict === verdict);
  if (has("MISMATCH")) return has("MATCH") ? "CONFLICT" : "MISMATCH";
  if (has("NO_RECORD")) return has("MATCH") ? "UNSURE" : "NO_RECORD";
  return has("MATCH") ? "MATCH" : undefined;
}

interface Voice {
  readonly rank: number;
  readonly word: Word;
}

/** The outcome when everybody has spoken. A source that is not of one mind speaks on both sides and fills no quorum. */
function judge(voices: readonly Voice[], needed: number): Judgement {
  const highest = (...words: readonly Word[]) =>
    Math.max(Number.NEGATIVE_INFINITY, ...voices.filter(({ word }) => words.includes(word)).map(({ rank }) => rank));
  const match = highest("MATCH", "UNSURE", "CONFLICT");
  const mismatch = highest("MISMATCH", "CONFLICT");
  if (match === Number.NEGATIVE_INFINITY || mismatch > match) return "REJECTED";
  if (mismatch === match) return "REVIEW";
  return voices.filter(({ word }) => word === "MATCH").length >= needed ? "VERIFIED" : "REVIEW";
}

function neededOf({ quorum, sources }: EvidencePolicy): number {
  if (quorum.kind === "k-of-n") return quorum.k;
  return quorum.kind === "all-of" ? sources.length : 1;
}

function requireSound(policy: EvidencePolicy): void {
  const { sources, level } = policy;
  const needed = neededOf(policy);
  if (sources.length === 0) throw new RangeError("an evidence policy names at least one source");
  if (new Set(sources.map(({ sourceId }) => sourceId)).size !== sources.length) {
    throw new RangeError("an evidence policy names each source once");
  }
  if (!Number.isInteger(needed) || needed < 1 || needed > sources.length) {
    throw new RangeError("an evidence policy needs 1 to n of its n sources");
  }
  if (!Number.isInteger(level) || level < 1 || level > LEVEL_MAX) throw new RangeError("a level is 1 to 3");
}
