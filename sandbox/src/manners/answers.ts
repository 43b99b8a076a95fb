/** How long the outcome of a check can be asked for. */
export const ANSWER_LIFE_MS = 24 * 3_600_000;
export const ANSWERS_MAX = 250_000;

export type Kept<Answer> = {
  /** Of the elements: tells a repeat from another check under the same bizSeq. */
  readonly fingerprint: string;
  readonly atMs: number;
  /** Undefined when the check failed after all; then it is forgotten. */
  readonly answer: Promise<Answer | undefined>;
  /** The replica at which it came in. */
  readonly front: string;
  /** Does the check, unless it is done. */
  readonly finish: () => Promise<Answer | undefined>;
};

/**
 * Answers by bizSeq, in the order in which their checks arrived; those under way are there too, so that two equal
 * requests at once are one check. An answer is never forgotten early: a full store refuses new checks instead.
 */
export type Answers<Answer> = {
  find(bizSeq: string, nowMs: number): Kept<Answer> | undefined;
  /** Undefined when there is room, else how long until there is. */
  fullMs(nowMs: number): number | undefined;
  keep(bizSeq: string, kept: Kept<Answer>): void;
  forget(bizSeq: string): void;
};

export function createAnswers<Answer>(max: number = ANSWERS_MAX): Answers<Answer> {
  const all = new Map<string, Kept<Answer>>();
  function expire(nowMs: number): Kept<Answer> | undefined {
    for (const [bizSeq, kept] of all) {
      if (kept.atMs + ANSWER_LIFE_MS >= nowMs) return kept;
      all.delete(bizSeq);
    }
    return undefined;
  }
  return {
    find(bizSeq, nowMs) {
      expire(nowMs);
      return all.get(bizSeq);
    },
    fullMs(nowMs) {
      const oldest = expire(nowMs);
      return oldest === undefined || all.size < max ? undefined : oldest.atMs + ANSWER_LIFE_MS - nowMs + 1;
    },
    keep: (bizSeq, kept) => {
      all.set(bizSeq, kept);
    },
    forget: (bizSeq) => {
      all.delete(bizSeq);
    },
  };
}
