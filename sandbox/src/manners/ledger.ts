/** Why a call was not answered with a result. */
export type Refusal =
  | "malformed"
  | "unauthenticated"
  | "conflict"
  | "limited"
  | "away"
  | "failed"
  | "hung"
  | "dropped"
  | "repeated";

export type Counters = {
  /** Checks that the platform sent, whatever became of them; questions for an outcome are not counted. */
  readonly received: number;
  /** Checks that cost their price. */
  readonly billed: number;
  /** Results found, each check once. */
  readonly byResult: Readonly<Record<string, number>>;
  /** Calls by why they gave no new result; `dropped` ones are billed, `repeated` ones got the first answer again. */
  readonly byRefusal: Readonly<Partial<Record<Refusal, number>>>;
};

/** The source's books. */
export type Ledger = {
  receive(): void;
  /** Counts a result and its price. */
  bill(result: string): void;
  /** Counts a result that is free. */
  give(result: string): void;
  refuse(refusal: Refusal): void;
  counters(): Counters;
  reset(): void;
};

export function createLedger(): Ledger {
  let received = 0;
  let billed = 0;
  const byResult = new Map<string, number>();
  const byRefusal = new Map<Refusal, number>();
  return {
    receive() {
      received += 1;
    },
    bill(result) {
      billed += 1;
      increment(byResult, result);
    },
    give: (result) => increment(byResult, result),
    refuse: (refusal) => increment(byRefusal, refusal),
    counters: () => ({
      received,
      billed,
      byResult: Object.fromEntries(byResult),
      byRefusal: Object.fromEntries(byRefusal),
    }),
    reset() {
      received = 0;
      billed = 0;
      byResult.clear();
      byRefusal.clear();
    },
  };
}

function increment<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
