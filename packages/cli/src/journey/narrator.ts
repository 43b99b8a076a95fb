/** Tells the journey as a story: what is asked, who answered, which proof there is. */
export interface Narrator {
  chapter(title: string): void;
  /** What somebody asks of the platform. */
  asks(who: string, what: string): void;
  /** What came back. */
  answers(who: string, what: string): void;
  /** What proves it. */
  proof(what: string): void;
  /** A refusal that the rules demand. */
  refused(what: string, reason: string): void;
}

export function plainNarrator(write: (line: string) => void): Narrator {
  return {
    chapter: (title) => write(`\n${title}`),
    asks: (who, what) => write(`   ${who} → ${what}`),
    answers: (who, what) => write(`   ${who} ← ${what}`),
    proof: (what) => write(`   ∎ ${what}`),
    refused: (what, reason) => write(`   ⨯ ${what}: ${reason}`),
  };
}
