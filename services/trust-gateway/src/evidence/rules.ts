/**
 * The evidence algebra: from what sources said to what is believed. Pure.
 *
 *   evidence ──per source──▶ its word ──policy──▶ VERIFIED | REJECTED | PENDING
 *
 * A policy is judged on complete words (`judge`), and judge is monotone: a better word never gives a worse outcome. What
 * is known decides when it comes to the same whether those who are silent know nothing or agree, and everything else is
 * PENDING. So "one of" needs one source that is there, "all of" every one. The laws that the tests hold it to:
 *
 *   - only positive evidence raises an outcome: no answer, a stale one and one of too low a level count as none;
 *   - an authority's mismatch is not outvoted by weaker sources;
 *   - order and repetition of evidence do not matter;
 *   - a source's fault never rejects anybody.
 */

/** VARIANT: there is a record, and its name may be another spelling of the claim's. It verifies and rejects nobody. */
export type Verdict = "MATCH" | "MISMATCH" | "NO_RECORD" | "VARIANT" | "UNAVAILABLE" | "NOT_CHECKED";

export interface Evidence {
  readonly sourceId: string;
  readonly verdict: Verdict;
  /** At which level of assurance, 1 to 3. */
  readonly level: number;
  /** When the source looked. */
  readonly checkedAtMs: number;
}

/** Somebody whose word counts. A higher rank outweighs any number of lower ones. */
export interface Voice {
  /** Those that speak with this voice: one of them is enough. Empty while none of them may be asked. */
  readonly sourceIds: readonly string[];
  readonly rank: number;
}

export interface EvidencePolicy {
  /** At least one; a source has one voice at most. The word of any other source counts for nothing. */
  readonly voices: readonly Voice[];
  /** How many voices have to agree, 1 to all. */
  readonly needed: number;
  /** The level wanted, 1 to 3. */
  readonly level: number;
  /** Evidence from before this moment is stale. */
  readonly freshSinceMs?: number;
  /** Whether receipts carry an SM2 signature too. */
  readonly sm2Receipt?: boolean;
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

/**
 * What a voice said, taken together. CONFLICT: both match and mismatch, or a variant; UNSURE: a match, and once no record.
 */
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
  const checkedAtMs = policy.freshSinceMs ?? 0;
  const all = (verdict: Verdict): Evidence[] =>
    Array.from(outstanding, (sourceId) => ({ sourceId, verdict, level: LEVEL_MAX, checkedAtMs }));
  const worst = adjudicate(policy, [...evidence, ...all("MISMATCH")]);
  const best = adjudicate(policy, [...evidence, ...all("MATCH")]);
  return worst.outcome === best.outcome;
}

/**
 * Whether nobody needs to be waited for any more when some of the outstanding have fallen silent. These are what a source
 * is that did not answer: they hold up no decision that the others' words are enough for, and none is made for want of
 * theirs.
 */
export function isEnough(
  policy: EvidencePolicy,
  evidence: readonly Evidence[],
  outstanding: ReadonlySet<string>,
  silent: ReadonlySet<string>,
): boolean {
  if (isSettled(policy, evidence, outstanding)) return true;
  const isDecided = silent.size > 0 && adjudicate(policy, evidence).outcome !== "PENDING";
  return isDecided && isSettled(policy, evidence, without(outstanding, silent));
}

/** Those of a set that are not in the other. */
export function without(all: ReadonlySet<string>, some: ReadonlySet<string>): Set<string> {
  return new Set([...all].filter((each) => !some.has(each)));
}

function adjudicateAt(policy: EvidencePolicy, level: number, evidence: readonly Evidence[]): Judgement | "SOURCE_AWAY" {
  const known = policy.voices.map((voice) => ({
    rank: voice.rank,
    word: wordOf(evidence.filter((item) => speaksWith(voice, item) && counts(item, level, policy.freshSinceMs))),
  }));
  const complete = (silent: Word) => known.map(({ rank, word }) => ({ rank, word: word ?? silent }));
  const worst = judge(complete("NO_RECORD"), policy.needed);
  const best = judge(complete("MATCH"), policy.needed);
  return worst === best ? worst : "SOURCE_AWAY";
}

/** What the voice has said so far at this policy's level. */
export function standingOf(
  policy: EvidencePolicy,
  voice: Voice,
  evidence: readonly Evidence[],
): "SILENT" | "AGREES" | "OTHERWISE" {
  const heard = evidence.filter((item) => speaksWith(voice, item) && counts(item, policy.level, policy.freshSinceMs));
  const word = wordOf(heard);
  if (word === undefined) return "SILENT";
  return word === "MATCH" ? "AGREES" : "OTHERWISE";
}

function speaksWith({ sourceIds }: Voice, { sourceId }: Evidence): boolean {
  return sourceIds.includes(sourceId);
}

/** Whether a piece of evidence is an answer at all: fresh, and where it is positive, good enough. */
function counts({ verdict, level, checkedAtMs }: Evidence, wanted: number, freshSinceMs = 0): boolean {
  if (verdict === "UNAVAILABLE" || verdict === "NOT_CHECKED" || checkedAtMs < freshSinceMs) return false;
  return verdict !== "MATCH" || level >= wanted;
}

/** What a voice's answers come to; undefined when it gave none. */
function wordOf(answers: readonly Evidence[]): Word | undefined {
  const has = (verdict: Verdict) => answers.some((answer) => answer.verdict === verdict);
  if (has("MISMATCH")) return has("MATCH") ? "CONFLICT" : "MISMATCH";
  if (has("VARIANT")) return "CONFLICT";
  if (has("NO_RECORD")) return has("MATCH") ? "UNSURE" : "NO_RECORD";
  return has("MATCH") ? "MATCH" : undefined;
}

interface Spoken {
  readonly rank: number;
  readonly word: Word;
}

/** The outcome when everybody has spoken. A voice that is not of one mind speaks on both sides and fills no quorum. */
function judge(voices: readonly Spoken[], needed: number): Judgement {
  const highest = (...words: readonly Word[]) =>
    Math.max(Number.NEGATIVE_INFINITY, ...voices.filter(({ word }) => words.includes(word)).map(({ rank }) => rank));
  const match = highest("MATCH", "UNSURE", "CONFLICT");
  const mismatch = highest("MISMATCH", "CONFLICT");
  if (match === Number.NEGATIVE_INFINITY || mismatch > match) return "REJECTED";
  if (mismatch === match) return "REVIEW";
  return voices.filter(({ word }) => word === "MATCH").length >= needed ? "VERIFIED" : "REVIEW";
}

function requireSound({ voices, needed, level }: EvidencePolicy): void {
  if (voices.length === 0) throw new RangeError("an evidence policy has at least one voice");
  const sources = voices.flatMap(({ sourceIds }) => sourceIds);
  if (new Set(sources).size !== sources.length) throw new RangeError("a source has one voice");
  if (!Number.isInteger(needed) || needed < 1 || needed > voices.length) {
    throw new RangeError("an evidence policy needs 1 to n of its n voices");
  }
  if (!Number.isInteger(level) || level < 1 || level > LEVEL_MAX) throw new RangeError("a level is 1 to 3");
}
