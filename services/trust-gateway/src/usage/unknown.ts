/** How long the oldest call has been in the ledger without anybody knowing what became of it: somebody may pay for it. */
import type { Clock } from "@fujie/kit/clock";
import type { Database, SweepTask } from "@fujie/kit/db";
import { oldestUnknownCall } from "./store.ts";

export interface UnknownWatch {
  /** Looks again; every replica sees the same. */
  readonly look: SweepTask;
  /** Age of the oldest call of unknown outcome; 0 where there is none. */
  oldestSeconds(): number;
}

export function watchUnknownCalls({ db, clock }: { readonly db: Database; readonly clock: Clock }): UnknownWatch {
  let askedAtMs: number | undefined;
  return {
    look: async () => {
      askedAtMs = await oldestUnknownCall(db);
      return 0;
    },
    // By the clock of the moment: a database that is away does not stop the age from growing.
    oldestSeconds: () => (askedAtMs === undefined ? 0 : Math.max(0, Math.floor((clock.nowMs() - askedAtMs) / 1_000))),
  };
}
