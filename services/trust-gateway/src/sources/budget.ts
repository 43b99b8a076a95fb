/** A share of the calls that may be spent on something more: retries and hedges. Pure. */
export interface Budget {
  /** A call was made: its share is added. */
  earn(): void;
  /** Takes what is asked, or nothing. */
  spend(amount: number): boolean;
}

/** `kept`: what may be saved up, and is there at the beginning when `full`. */
export function createBudget(share: number, kept: number, full: boolean): Budget {
  let left = full ? kept : 0;
  return {
    earn: () => {
      left = Math.min(kept, left + share);
    },
    spend: (amount) => {
      // Sums of shares such as 0.05 are not exact.
      if (left + 1e-9 < amount) return false;
      left -= amount;
      return true;
    },
  };
}
