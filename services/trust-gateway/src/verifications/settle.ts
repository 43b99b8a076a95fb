/**
 * Asks the sources of an accepted verification, outside any transaction, and then writes what came of it in one: the
 * decision, the evidence, the feed's and the audit log's event, and the erasing of the elements; or that it is pending.
 * It may run twice for one verification, after a crash or a lease that ran out: every question repeats its bizSeq, and
 * only the first decision counts.
 */
import { type Transaction, transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { backoffMs } from "@fujie/kit/timers";
import type { Context } from "../context.ts";
import { type Adjudication, adjudicate } from "../evidence/rules.ts";
import { putEvidence, readEvidence, removeEvidence } from "../evidence/store.ts";
import { type Before, collectWords } from "../fan-out/collect.ts";
import { callEnds } from "../usage/ends.ts";
import { endCalls, shareCalls } from "../usage/store.ts";
import type { Accepted } from "./accept.ts";
import { type Decided, type Learnt, prepareDecision } from "./decision.ts";
import { type Plan, planAgain } from "./plan.ts";
import { type PendingRow, postponeVerification, readChecks } from "./store.ts";

/** The caller who waits for a verification. */
export interface Waiter {
  /** He was told that it is pending: he hears of the decision by the feed. */
  gone: boolean;
  /** The decision is being written: he is told that, soon, rather than that it is pending. */
  writing: boolean;
}

/** Asks for a verification that was just accepted. Undefined: it is pending, or somebody else has decided. */
export async function settleAccepted(
  context: Context,
  accepted: Accepted,
  plan: Plan,
  waiter: Waiter,
): Promise<Decided | undefined> {
  return settle(context, accepted, plan, { known: [], begun: new Set() }, waiter);
}

/**
 * Goes on with a verification that somebody has left, or that was pending: what was answered is kept, and where a source
 * was asked before, its outcome is asked for first.
 */
export async function resume(context: Context, row: PendingRow, claim: Accepted["claim"]): Promise<void> {
  const { db, ring } = context;
  const policy = await context.policy.current();
  const before = await readChecks(db, row.verificationId);
  const { rows, forged } = await readEvidence(db, ring, row.verificationId);
  if (forged.length > 0) await discardForged(context, row, forged);
  const { applicationId, reference = "", purpose, levelWanted, createdAtMs } = row;
  const requester = applicationId === undefined ? { reference } : { applicationId };
  // Whoever is asking now goes first.
  const asking = { requester, claim, purpose, level: levelWanted, priority: "batch" } as const;
  const begun = new Set(before.map(({ sourceId }) => sourceId));
  const plan = await planAgain(context, policy, asking, { askedAtMs: createdAtMs, evidence: rows, begun });
  if (plan === undefined) {
    await transaction(db, (tx) => postpone(context, tx, row, "SOURCE_AWAY"));
    return;
  }
  const waiter = { gone: true, writing: false };
  await settle(context, { row, claim, checks: before, priority: "batch" }, plan, { known: rows, begun }, waiter);
}

/** Somebody wrote evidence past the service: it counts for nothing, and the audit log is told. */
async function discardForged(context: Context, row: PendingRow, forged: readonly string[]): Promise<void> {
  context.log.error({ verification: row.verificationId, forged }, "evidence with a wrong MAC is discarded");
  await transaction(context.db, async (tx) => {
    await removeEvidence(tx, forged);
    await recordEvent(
      context,
      tx,
      { service: "trust-gateway", traceId: row.traceId },
      {
        type: "evidence.discarded",
        outcome: "FAILED",
        details: { verification_id: row.verificationId, evidence: forged.join(" ") },
      },
    );
  });
}

async function settle(
  context: Context,
  accepted: Accepted,
  plan: Plan,
  before: Before,
  waiter: Waiter,
): Promise<Decided | undefined> {
  const { evidence, checks, shared } = await collectWords(context, accepted, plan, before);
  const result = adjudicate(plan, evidence);
  const isDecided = result.outcome !== "PENDING";
  const fresh = before.begun.size === 0 && isOwn(context, accepted.row);
  const calls = callEnds(context.calls, checks, evidence, { fresh, decided: isDecided });
  const decided = isDecided
    ? await decide(context, accepted, plan, result, { evidence, calls, shared }, waiter)
    : await keepPending(context, accepted.row, result.reason, { evidence, calls, shared });
  context.decisions.wake(accepted.row.verificationId);
  return decided;
}

/** Whether nobody else can have gone on with it yet. */
function isOwn({ clock, periods }: Pick<Context, "clock" | "periods">, { createdAtMs }: PendingRow): boolean {
  return clock.nowMs() < createdAtMs + periods.leaseMs;
}

async function keepPending(
  context: Context,
  row: PendingRow,
  reason: "SOURCE_AWAY" | "REVIEW",
  { evidence, calls, shared }: Learnt,
): Promise<undefined> {
  const { verificationId } = row;
  const nowMs = context.clock.nowMs();
  await transaction(context.db, async (tx) => {
    putEvidence(tx, context.ring, evidence);
    endCalls(tx, calls, nowMs);
    shareCalls(
      tx,
      shared.map((sourceId) => ({ verificationId, sourceId })),
      nowMs,
    );
    await postpone(context, tx, row, reason);
  });
}

async function postpone(
  { clock, periods }: Pick<Context, "clock" | "periods">,
  tx: Transaction,
  row: PendingRow,
  reason: "SOURCE_AWAY" | "REVIEW",
): Promise<void> {
  const pauseMs = backoffMs(row.attempts + 1, { baseMs: periods.retryBaseMs, capMs: periods.retryCapMs });
  // Sources that disagree do not change their minds by being asked again: a person decides.
  const nextAttemptAtMs = reason === "REVIEW" ? undefined : clock.nowMs() + pauseMs;
  await postponeVerification(tx, row.verificationId, reason, nextAttemptAtMs);
}

async function decide(
  context: Context,
  accepted: Accepted,
  plan: Plan,
  result: Exclude<Adjudication, { outcome: "PENDING" }>,
  learnt: Learnt,
  waiter: Waiter,
): Promise<Decided | undefined> {
  const { sm2Receipt } = plan;
  const unwritten = prepareDecision(context, accepted, result, learnt, { toldPending: waiter.gone, sm2Receipt });
  waiter.writing = true;
  const written = await context.writer.decide(unwritten);
  if (written.kind !== "written") return undefined;
  const verification = { ...accepted.row, ...unwritten.decision, pendingReason: undefined };
  return { verification, receipt: written.receipt };
}
