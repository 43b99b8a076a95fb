/**
 * What this process knows of the calls that it made: the entries of the ledger before they are written. It stands
 * directly around each adapter, below retries, breakers and hedges, so that nothing leaves for a source unseen.
 */
import type { Clock } from "@fujie/kit/clock";
import { type Replica, type Source, SourceError } from "../sources/source.ts";

/** What is certain of a check that was sent from here: answered, taken by nobody, or neither. */
export interface Sent {
  readonly state: "ANSWERED" | "DECLINED" | "UNKNOWN";
  /** How many checks the source bills for it, where it is answered. */
  readonly billed: number;
}

export interface CallBook {
  /** The source, with its calls noted. */
  around(source: Source): Source;
  /** What became of the check, and forgets it. Undefined: it was not sent from here. */
  take(bizSeq: string): Sent | undefined;
}

interface Entry {
  /** Undefined while there is no answer. */
  billed: number | undefined;
  /** Sent at least once with an end that says nothing. */
  unknown: boolean;
  underWay: number;
  readonly sinceMs: number;
}

/** Longer than anybody goes on with a verification without counting as its second asker, to whom all is unknown. */
const KEEP_MS = 600_000;

export function createCallBook({ clock }: { readonly clock: Clock }): CallBook {
  // A Map iterates in the order of insertion: the first is the oldest.
  const entries = new Map<string, Entry>();

  function entryOf(bizSeq: string): Entry {
    const known = entries.get(bizSeq);
    if (known !== undefined) return known;
    const entry: Entry = { billed: undefined, unknown: false, underWay: 0, sinceMs: clock.nowMs() };
    entries.set(bizSeq, entry);
    forgetOld(entry.sinceMs);
    return entry;
  }

  /** Calls that were sent for others after their own verification was decided are never taken. */
  function forgetOld(nowMs: number): void {
    for (const [bizSeq, { sinceMs }] of entries) {
      if (sinceMs + KEEP_MS > nowMs) return;
      entries.delete(bizSeq);
    }
  }

  const around = (replica: Replica): Replica => ({
    check: async (check, signal) => {
      const entry = entryOf(check.bizSeq);
      entry.underWay += 1;
      try {
        const answer = await replica.check(check, signal);
        entry.billed = answer.billed ?? 1;
        return answer;
      } catch (error) {
        // Only who says that he did not take it certainly bills nothing. What is refused may be an answer of his.
        entry.unknown ||= !isDeclined(error);
        throw error;
      } finally {
        entry.underWay -= 1;
      }
    },
    findOutcome: async (check, signal) => {
      const entry = entryOf(check.bizSeq);
      // It was sent by whoever asked before; that it is not there yet does not say that it never arrives.
      entry.unknown = true;
      const answer = await replica.findOutcome(check, signal);
      if (answer !== undefined) entry.billed = answer.billed ?? 1;
      return answer;
    },
  });

  return {
    around: (source) => {
      const replicas = source.replicas?.map(around);
      return { ...source, ...around(source), ...(replicas === undefined ? {} : { replicas }) };
    },
    take: (bizSeq) => {
      const entry = entries.get(bizSeq);
      if (entry === undefined) return undefined;
      // What is still under way goes on without an entry: the source is asked later what became of it.
      entries.delete(bizSeq);
      if (entry.billed !== undefined) return { state: "ANSWERED", billed: entry.billed };
      return { state: entry.unknown || entry.underWay > 0 ? "UNKNOWN" : "DECLINED", billed: 0 };
    },
  };
}

function isDeclined(error: unknown): boolean {
  if (!(error instanceof SourceError) || error.partlyAnswered) return false;
  return error.fault === "AWAY" || error.fault === "LIMITED";
}
