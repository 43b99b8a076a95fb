/**
 * Asks the sources of an accepted verification, outside any transaction, and then writes what came of it in one: the
 * decision, the evidence, the feed's and the audit log's event, and the erasing of the elements; or that it is pending.
 * It may run twice for one verification, after a crash or a lease that ran out: every question repeats its bizSeq, and
 * only the first decision counts.
 */
import { randomBytes } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { VerificationDecidedSchema } from "@fujie/api/fujie/trust/v1/evidence";
import { ReceiptSchema } from "@fujie/api/fujie/trust/v1/verification";
import { type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { publish } from "@fujie/kit/feed";
import { recordEvent } from "@fujie/kit/record";
import { backoffMs } from "@fujie/kit/timers";
import { SALT_BYTES } from "@fujie/transparency";
import type { Context } from "../context.ts";
import type { EvidenceRow } from "../evidence/mac.ts";
import { type Adjudication, adjudicate, type EvidencePolicy, isSettled } from "../evidence/rules.ts";
import { putEvidence, readEvidence, removeEvidence } from "../evidence/store.ts";
import { commitElements, encodeStatement } from "../receipts/rules.ts";
import { SourceError } from "../sources/source.ts";
import { type Accepted, newChecks } from "./accept.ts";
import { planNow } from "./plan.ts";
import { coalescingKey, describeDecision, type Requester, saltAad, type Verification } from "./rules.ts";
import {
  addChecks,
  type Decision,
  decideVerification,
  type PendingRow,
  postponeVerification,
  readChecks,
  type SourceCheck,
} from "./store.ts";

export const FEED_TOPIC = "trust.verifications";

/** Asks for a verification that was just accepted. Never throws: whatever fails leaves it pending, for the sweeper. */
export async function settleAccepted(context: Context, accepted: Accepted, plan: EvidencePolicy): Promise<void> {
  await settle(context, accepted, plan, { known: [], mayBePaid: false });
}

/**
 * Goes on with a verification that somebody has left, or that was pending: what was answered is kept, and where a source
 * was asked before, its outcome is asked for first.
 */
export async function resume(context: Context, row: PendingRow, claim: Accepted["claim"]): Promise<void> {
  const { db, ring, clock } = context;
  const policy = await context.policy.current();
  const before = await readChecks(db, row.verificationId);
  const { rows, forged } = await readEvidence(db, ring, row.verificationId);
  if (forged.length > 0) await discardForged(context, row, forged);
  const wanted = { type: claim.type, level: row.levelWanted };
  const plan = planNow(context, policy, wanted, new Set(before.map(({ sourceId }) => sourceId)));
  if (plan === undefined) {
    await transaction(db, (tx) => postpone(context, tx, row, "SOURCE_AWAY"));
    return;
  }
  await addChecks(db, row.verificationId, newChecks(plan), clock.nowMs());
  const checks = await readChecks(db, row.verificationId);
  await settle(context, { row, claim, checks }, plan, { known: rows, mayBePaid: true });
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

interface Before {
  readonly known: readonly EvidenceRow[];
  readonly mayBePaid: boolean;
}

async function settle(context: Context, accepted: Accepted, plan: EvidencePolicy, before: Before): Promise<void> {
  const evidence = await collect(context, accepted, plan, before);
  const result = adjudicate(plan, evidence);
  if (result.outcome === "PENDING") {
    await transaction(context.db, async (tx) => {
      for (const row of evidence) await putEvidence(tx, context.ring, row);
      await postpone(context, tx, accepted.row, result.reason);
    });
  } else {
    await decide(context, accepted, result, evidence);
  }
  context.decisions.wake(accepted.row.verificationId);
}

/** What the sources say, until no outstanding answer can change the outcome. */
async function collect(
  context: Context,
  accepted: Accepted,
  plan: EvidencePolicy,
  { known, mayBePaid }: Before,
): Promise<EvidenceRow[]> {
  const answered = new Set(known.filter(({ verdict }) => verdict !== "UNAVAILABLE").map(({ sourceId }) => sourceId));
  const evidence = known.filter(({ sourceId }) => answered.has(sourceId));
  const outstanding = new Map(
    plan.sources
      .filter(({ sourceId }) => !answered.has(sourceId))
      .map(({ sourceId }) => [sourceId, askOne(context, accepted, sourceId, mayBePaid)]),
  );
  while (outstanding.size > 0 && !isSettled(plan, evidence, new Set(outstanding.keys()))) {
    const row = await Promise.race(outstanding.values());
    outstanding.delete(row.sourceId);
    evidence.push(row);
  }
  return evidence;
}

/** One source's word as evidence. Never throws: no answer is UNAVAILABLE, the source's fault and not the subject's. */
async function askOne(
  context: Context,
  { row, claim, checks }: Accepted,
  sourceId: string,
  mayBePaid: boolean,
): Promise<EvidenceRow> {
  const { clock, log, ring, coalescer } = context;
  const about = { verificationId: row.verificationId, sourceId, subjectDigest: row.elementsDigest };
  const silent = () => ({ verdict: "UNAVAILABLE", level: 0, checkedAtMs: clock.nowMs() }) as const;
  const source = context.sources.claims.find(({ id }) => id === sourceId);
  const check = checks.find((candidate) => candidate.sourceId === sourceId);
  if (source === undefined || check === undefined) return { evidenceId: uuidv7(clock.nowMs()), ...about, ...silent() };
  const ask = () => source.ask({ ...bizOf(check), claim, purpose: row.purpose }, mayBePaid);
  const key = coalescingKey(
    { requester: requesterOf(row), sourceId, purpose: row.purpose },
    claim,
    (text) => ring.hmac("cache-key", text).digest,
  );
  try {
    // What may have been paid is asked for under its own bizSeq; only fresh questions are shared.
    const { verdict, level, checkedAtMs } = await (mayBePaid ? ask() : coalescer.share(key, ask));
    return { evidenceId: uuidv7(clock.nowMs()), ...about, verdict, level, checkedAtMs };
  } catch (error) {
    const fault = error instanceof SourceError ? error.fault : "UNKNOWN";
    const level = fault === "REFUSED" ? "error" : "warn";
    log[level]({ source: sourceId, verification: row.verificationId, err: error }, "a source gave no answer");
    return { evidenceId: uuidv7(clock.nowMs()), ...about, ...silent() };
  }
}

function bizOf({ bizSeq, nonce, askedAtMs }: SourceCheck) {
  return { bizSeq, nonce: new Uint8Array(nonce), askedAtMs };
}

function requesterOf({ applicationId, reference }: PendingRow): Requester {
  return applicationId === undefined ? { reference: reference ?? "" } : { applicationId };
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
  result: Exclude<Adjudication, { outcome: "PENDING" }>,
  evidence: readonly EvidenceRow[],
): Promise<void> {
  const { db, ring } = context;
  const { row, claim } = accepted;
  const decision = await completeDecision(context, accepted, result);
  const verification: Verification = { ...row, ...decision, pendingReason: undefined };
  await transaction(db, async (tx) => {
    if (!(await decideVerification(tx, decision))) return;
    for (const item of evidence) await putEvidence(tx, ring, item);
    if (row.reference !== undefined) {
      const event = describeDecision(verification, evidence);
      await publish(tx, FEED_TOPIC, anyPack(VerificationDecidedSchema, event));
    }
    await recordEvent(
      context,
      tx,
      { service: "trust-gateway", traceId: row.traceId },
      {
        type: "verification.decided",
        outcome: "SUCCESS",
        subject: row.accountId ?? "",
        applicationId: row.applicationId ?? "",
        purpose: row.purpose,
        details: {
          verification_id: row.verificationId,
          claim_type: claim.type,
          outcome: decision.state,
          level: String(decision.level),
          evidence: evidence.map(({ evidenceId, sourceId }) => `${sourceId}:${evidenceId}`).join(" "),
        },
      },
    );
  });
}

/** The decision with the receipt that binds it, for applications. */
async function completeDecision(
  { clock, ring, receipts, periods }: Pick<Context, "clock" | "ring" | "receipts" | "periods">,
  { row, claim }: Accepted,
  result: Exclude<Adjudication, { outcome: "PENDING" }>,
): Promise<Decision> {
  const { verificationId, applicationId, purpose } = row;
  const decidedAtMs = clock.nowMs();
  const level = result.outcome === "VERIFIED" ? result.level : 0;
  const decision = {
    verificationId,
    state: result.outcome,
    level,
    decidedAtMs,
    expiresAtMs: decidedAtMs + periods.keepMs,
  };
  if (applicationId === undefined) return decision;
  const salt = new Uint8Array(randomBytes(SALT_BYTES));
  const commitment = commitElements(claim, salt);
  const statement = encodeStatement({
    verificationId,
    applicationId,
    purpose,
    outcome: result.outcome,
    level,
    decidedAtMs,
    commitment,
  });
  const { path, ...proof } = await receipts.sign(statement);
  const receipt = create(ReceiptSchema, { statement, ...proof, path: [...path] });
  return {
    ...decision,
    receipt: {
      bytes: toBinary(ReceiptSchema, receipt),
      sealedSalt: ring.seal("payload", saltAad(verificationId), salt),
      saltExpiresAtMs: decidedAtMs + periods.saltKeepMs,
    },
  };
}
