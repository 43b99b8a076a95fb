/**
 * Asks the sources of a plan in parallel, replaces whoever fails while somebody lawful is left, and stops when nobody's
 * answer can change the outcome any more. One that has fallen silent is replaced, too, before its time is up; its word
 * counts if it comes before the others' are enough. What has been sent by then may be paid: it is heard to its end, in the
 * background, so that it can be accounted for; what still waits for its turn is dropped.
 */
import { uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { Context } from "../context.ts";
import type { EvidenceRow } from "../evidence/mac.ts";
import { isEnough, type Verdict, without } from "../evidence/rules.ts";
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
  const silences = new Map<string, Promise<Silence>>();
  const silent = new Set<string>();
  const enough = new AbortController();

  for (let next = plan.first; ; next = await whoElse()) {
    await makeChecks(context, row.verificationId, next, checks);
    for (const sourceId of next) {
      asked.add(sourceId);
      const asking = { accepted, plan, check: checks.get(sourceId), mayBePaid: begun.has(sourceId) };
      outstanding.set(sourceId, askOne(context, sourceId, asking, enough.signal));
    }
    if (hasOthers(plan, asked)) next.forEach(listenForSilence);
    if (outstanding.size === 0 || isEnough(plan, evidence, new Set(outstanding.keys()), silent)) break;
    const heard = await Promise.race([...outstanding.values(), ...silences.values()]);
    silences.delete(heard.sourceId);
    if ("verdict" in heard) {
      outstanding.delete(heard.sourceId);
      evidence.push(heard);
    } else if (heard.isSilent) silent.add(heard.sourceId);
  }

  function listenForSilence(sourceId: string): void {
    silences.set(sourceId, silenceOf(context, sourceId, outstanding.get(sourceId), enough.signal));
  }

  async function whoElse(): Promise<readonly string[]> {
    const policy = await context.policy.current().catch(nobody);
    if (policy === undefined) return [];
    const candidates = candidatesAt(context, policy, { claimType: accepted.claim.type, timeMs: clock.nowMs() });
    const awaited = without(new Set(outstanding.keys()), silent);
    const progress = { evidence, outstanding: awaited, asked, begun };
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

/** Whether somebody lawful has not been asked. */
function hasOthers({ voices }: Plan, asked: ReadonlySet<string>): boolean {
  return voices.some(({ sourceIds }) => sourceIds.some((id) => !asked.has(id)));
}

interface Silence {
  readonly sourceId: string;
  readonly isSilent: boolean;
}

/** Whether another source may be asked in this one's place; told at the latest when it answers. */
async function silenceOf(
  { sources }: Pick<Context, "sources">,
  sourceId: string,
  answer: Promise<unknown> | undefined,
  enough: AbortSignal,
): Promise<Silence> {
  const answered = new AbortController();
  void answer?.then(() => answered.abort());
  const source = sources.claims.find(({ id }) => id === sourceId);
  const isSilent = await source?.fallsSilent(AbortSignal.any([enough, answered.signal]));
  return { sourceId, isSilent: isSilent === true };
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
      // Its message names what was wrong with the answer, and never an element.
      const problem = error instanceof SourceError ? error.message : undefined;
      const grave = error instanceof SourceError && error.fault === "REFUSED" ? "error" : "warn";
      log[grave](
        { source: sourceId, verification: row.verificationId, problem, err: error },
        "a source gave no answer",
      );
    }
    const nowMs = clock.nowMs();
    return { evidenceId: uuidv7(nowMs), ...about, verdict: "UNAVAILABLE", level: 0, checkedAtMs: nowMs };
  }
}

function verdictOf({ verdict, variant }: Answer): Verdict {
  return variant === true ? "VARIANT" : verdict;
}
