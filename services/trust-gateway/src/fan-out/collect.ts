/**
 * Asks the sources of a plan in parallel, replaces whoever fails while somebody lawful is left, and stops when nobody's
 * answer can change the outcome any more. What has been sent by then may be paid: it is heard to its end, in the
 * background, so that it can be accounted for; what still waits for its turn is dropped.
 */
import { uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { Context } from "../context.ts";
import type { EvidenceRow } from "../evidence/mac.ts";
import { isSettled, type Verdict } from "../evidence/rules.ts";
import { nextToAsk } from "../plan/rules.ts";
import { type Answer, SourceError } from "../sources/source.ts";
import { type Accepted, newChecks } from "../verifications/accept.ts";
import { candidatesAt, type Plan, sharingKey } from "../verifications/plan.ts";
import { addChecks, readChecks, type SourceCheck } from "../verifications/store.ts";
import { keepWords, reusedRows } from "./reuse.ts";

/** What an earlier run left of a verification that somebody goes on with. */
export interface Before {
  readonly known: readonly EvidenceRow[];
  /** Sources that may have been asked, and paid, before: what became of that is asked for first. */
  readonly begun: ReadonlySet<string>;
}

export interface Heard {
  readonly evidence: readonly EvidenceRow[];
  /** Under what was asked; those of sources that were turned to in place of others included. */
  readonly checks: readonly SourceCheck[];
  /** Sources whose words were at hand, so that no call was needed. */
  readonly shared: readonly string[];
}

export async function collectWords(
  context: Context,
  accepted: Accepted,
  plan: Plan,
  { known, begun }: Before,
): Promise<Heard> {
  const { clock, tasks } = context;
  const { row } = accepted;
  const atHand = reusedRows(plan.known, row, clock.nowMs());
  const evidence = [...known.filter(({ verdict }) => verdict !== "UNAVAILABLE"), ...atHand];
  const checks = new Map(accepted.checks.map((check) => [check.sourceId, check]));
  const asked = new Set<string>();
  const outstanding = new Map<string, Promise<EvidenceRow>>();
  const enough = new AbortController();

  for (let next = plan.first; ; next = await whoElse()) {
    await makeChecks(context, row.verificationId, next, checks);
    for (const sourceId of next) {
      asked.add(sourceId);
      const asking = { accepted, plan, check: checks.get(sourceId), mayBePaid: begun.has(sourceId) };
      outstanding.set(sourceId, askOne(context, sourceId, asking, enough.signal));
    }
    if (outstanding.size === 0 || isSettled(plan, evidence, new Set(outstanding.keys()))) break;
    const heard = await Promise.race(outstanding.values());
    outstanding.delete(heard.sourceId);
    evidence.push(heard);
  }

  async function whoElse(): Promise<readonly string[]> {
    const policy = await context.policy.current().catch(nobody);
    if (policy === undefined) return [];
    const candidates = candidatesAt(context, policy, { claimType: accepted.claim.type, timeMs: clock.nowMs() });
    const progress = { evidence, outstanding: new Set(outstanding.keys()), asked, begun };
    return nextToAsk(plan, candidates, plan.deadlineMs, progress);
  }

  enough.abort();
  if (outstanding.size > 0) {
    void tasks.run("late answers", async () => {
      await Promise.all(outstanding.values());
    });
  }
  if (plan.reuseMs > 0 && evidence.length > atHand.length) {
    void tasks.run("words to use again", () => keepWords(context, plan.key, evidence, plan.reuseMs, clock.nowMs()));
  }
  return { evidence, checks: [...checks.values()], shared: atHand.map(({ sourceId }) => sourceId) };
}

/** Without a policy in force nobody else is asked. */
function nobody(error: unknown): undefined {
  if (error instanceof DomainError) return undefined;
  throw error;
}

/** What a source is asked under is in the database before it is asked. */
async function makeChecks(
  { db, clock }: Pick<Context, "db" | "clock">,
  verificationId: string,
  sourceIds: readonly string[],
  checks: Map<string, SourceCheck>,
): Promise<void> {
  const missing = sourceIds.filter((sourceId) => !checks.has(sourceId));
  if (missing.length === 0) return;
  const nowMs = clock.nowMs();
  await addChecks(
    db,
    newChecks(missing).map((check) => ({ ...check, verificationId, askedAtMs: nowMs })),
  );
  // Somebody else may have been faster: his is the one that counts.
  for (const check of await readChecks(db, verificationId)) checks.set(check.sourceId, check);
}

interface AskingOne {
  readonly accepted: Accepted;
  readonly plan: Plan;
  readonly check: SourceCheck | undefined;
  readonly mayBePaid: boolean;
}

/** One source's word as evidence. Never throws: no answer is UNAVAILABLE, the source's fault and not the subject's. */
async function askOne(
  context: Context,
  sourceId: string,
  { accepted: { row, claim }, plan, check, mayBePaid }: AskingOne,
  signal: AbortSignal,
): Promise<EvidenceRow> {
  const { clock, log, coalescer } = context;
  const about = { verificationId: row.verificationId, sourceId, subjectDigest: row.elementsDigest };
  try {
    const source = context.sources.claims.find(({ id }) => id === sourceId);
    if (source === undefined || check === undefined) throw new SourceError("AWAY", "not called: it is gone");
    const { bizSeq, nonce, askedAtMs } = check;
    const { faceThreshold } = plan;
    const question = { bizSeq, nonce: new Uint8Array(nonce), askedAtMs, claim, purpose: row.purpose, faceThreshold };
    const ask = (needed: AbortSignal) => source.ask(question, { ...plan.claimant, mayBePaid, signal: needed });
    // What may have been paid is asked for under its own bizSeq; only fresh questions are shared.
    const answer = await (mayBePaid ? ask(signal) : coalescer.share(sharingKey(plan, sourceId), ask, signal));
    const { level, checkedAtMs } = answer;
    return { evidenceId: uuidv7(clock.nowMs()), ...about, verdict: verdictOf(answer), level, checkedAtMs };
  } catch (error) {
    if (!signal.aborted) {
      const grave = error instanceof SourceError && error.fault === "REFUSED" ? "error" : "warn";
      log[grave]({ source: sourceId, verification: row.verificationId, err: error }, "a source gave no answer");
    }
    const nowMs = clock.nowMs();
    return { evidenceId: uuidv7(nowMs), ...about, verdict: "UNAVAILABLE", level: 0, checkedAtMs: nowMs };
  }
}

function verdictOf({ verdict, variant }: Answer): Verdict {
  return variant === true ? "VARIANT" : verdict;
}
