/** Goes on with verifications that are pending, or that a process left when it died: they complete by themselves. */

import type { ClaimElements } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { createNudge } from "@fujie/kit/timers";
import type { Context } from "../context.ts";
import { prepareDecision } from "./decision.ts";
import { decodeElements, elementsAad } from "./rules.ts";
import { resume } from "./settle.ts";
import { claimDueVerifications, claimExpiredVerifications, type PendingRow } from "./store.ts";

export interface SweepOptions {
  readonly everyMs: number;
  /** Verifications taken at once. */
  readonly batchMax: number;
}

export interface Sweeper extends AsyncDisposable {
  /** Looks now. */
  nudge(): void;
}

export function startSweeper(context: Context, { everyMs, batchMax }: SweepOptions): Sweeper {
  const stop = new AbortController();
  const nudge = createNudge();
  const running = (async () => {
    while (!stop.signal.aborted) {
      const full = await sweepOnce(context, batchMax).catch((error: unknown) => {
        // Without a fresh policy nobody is asked; that is reported by whoever asks.
        const expected = error instanceof DomainError && error.reason === "POLICY_STALE";
        if (!expected) context.log.warn({ err: error }, "a sweep failed");
        return false;
      });
      if (!full) await nudge.wait(everyMs, context.timers, stop.signal);
    }
  })();
  return {
    nudge: () => nudge.nudge(),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

/** Takes one batch and goes on with each. Returns whether there may be more that is due. */
export async function sweepOnce(context: Context, batchMax: number): Promise<boolean> {
  const { db, clock, periods } = context;
  const nowMs = clock.nowMs();
  const lease = { nowMs, leaseUntilMs: nowMs + periods.leaseMs };
  const since = { askedMs: nowMs - periods.pendingKeepMs, reviewMs: nowMs - periods.reviewKeepMs };
  const expired = await claimExpiredVerifications(db, lease, since, batchMax);
  await Promise.all(expired.map((row) => goOn(context, row, expire)));
  await context.policy.current();
  const due = await claimDueVerifications(db, lease, batchMax);
  await Promise.all(due.map((row) => goOn(context, row, resume)));
  return expired.length === batchMax || due.length === batchMax;
}

/** Nobody answered for as long as the question may be kept: its elements go, and who asked is told. */
async function expire(context: Context, row: PendingRow, claim: ClaimElements): Promise<void> {
  const nothing = { evidence: [], calls: [], shared: [] };
  const telling = { toldPending: true, sm2Receipt: false };
  const decision = prepareDecision(context, { row, claim }, { outcome: "EXPIRED" }, nothing, telling);
  await context.writer.decide(decision);
  context.decisions.wake(row.verificationId);
}

async function goOn(context: Context, row: PendingRow, work: typeof expire): Promise<void> {
  try {
    const sealed = context.ring.open("payload", elementsAad(row.verificationId), row.sealedElements);
    await work(context, row, decodeElements(sealed));
  } catch (error) {
    // Its lease ends by itself, and somebody tries again.
    context.log.error({ err: error, verification: row.verificationId }, "a pending verification could not go on");
  }
}
