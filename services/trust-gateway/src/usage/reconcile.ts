/**
 * How calls are cleared up, in bounded batches: calls that nobody ended become unknown, unknown ones are cleared
 * up with their sources, and ended ones are added to their days. Every replica may do it at once.
 */
import { type SweepTask, transaction } from "@fujie/kit/db";
import type { Context } from "../context.ts";
import { variantBizSeqs } from "../sources/population-base/rules.ts";
import { LOOK_AFTER_MS, nextLookMs } from "./rules.ts";
import { claimUnknownCalls, closeLeftCalls, countCalls, type DueCall, endCalls, postponeLook } from "./store.ts";

/** Longer than one round of questions takes. */
const LEASE_MS = 60_000;
const LOOK_TIMEOUT_MS = 5_000;
/** Questions to sources at once; they have other work. */
const LOOKS_MAX = 16;

type Reconciling = Pick<Context, "db" | "clock" | "log" | "policy" | "sources">;

export function clearingTasks(context: Reconciling): Readonly<Record<string, SweepTask>> {
  const { db, clock } = context;
  return {
    "calls left open": (max) => closeLeftCalls(db, clock.nowMs(), max),
    "calls to clear up": (max) => clearUp(context, max),
    "calls to count": (max) => countCalls(db, max),
  };
}

/** Asks the sources what became of unknown calls. Returns 0 once no more are due. */
async function clearUp(context: Reconciling, batchMax: number): Promise<number> {
  const { db, clock } = context;
  const nowMs = clock.nowMs();
  const due = await claimUnknownCalls(db, { nowMs, leaseUntilMs: nowMs + LEASE_MS }, LOOKS_MAX);
  await Promise.all(due.map((call) => clearUpOne(context, call)));
  return due.length < LOOKS_MAX ? 0 : batchMax;
}

async function clearUpOne(context: Reconciling, call: DueCall): Promise<void> {
  const { db, clock, log } = context;
  const { bizSeq, sourceId, askedAtMs, looks, pending } = call;
  const again = () => postponeLook(db, bizSeq, nextLookMs(askedAtMs, looks, clock.nowMs()));
  // Whoever goes on with a pending verification asks himself, and may send the same check once more.
  if (pending) return postponeLook(db, bizSeq, clock.nowMs() + LOOK_AFTER_MS);
  try {
    const billed = await billedFor(context, call);
    if (billed === undefined) return await again();
    const end = billed > 0 ? "ANSWERED" : "NOT_BILLED";
    await transaction(db, async (tx) => endCalls(tx, [{ bizSeq, end, billed }], clock.nowMs()));
  } catch (error) {
    log.warn({ source: sourceId, bizSeq, err: error }, "what became of a call is not known yet");
    await again();
  }
}

/** How many checks the source bills; undefined while it may not be asked, or is not there. Throws SourceError. */
async function billedFor({ policy, sources }: Reconciling, { sourceId, bizSeq }: DueCall): Promise<number | undefined> {
  if (!(await policy.current()).enabledSources.has(sourceId)) return undefined;
  const source = sources.claims.find(({ id }) => id === sourceId);
  if (source === undefined) return undefined;
  const signal = AbortSignal.timeout(LOOK_TIMEOUT_MS);
  if (!(await source.wasAnswered(bizSeq, signal))) return 0;
  let billed = 1;
  // Other spellings of the name are asked one after another: the first that never arrived is the last.
  const parts = source.kind === "population-base" ? variantBizSeqs(bizSeq) : [];
  for (const part of parts) {
    if (!(await source.wasAnswered(part, signal))) break;
    billed += 1;
  }
  return billed;
}
