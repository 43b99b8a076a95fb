/**
 * The first of a verification's two transactions: everything that entitles to the question, the question itself, and
 * the bizSeq under which each source is going to be asked. Nothing was asked and nothing paid before it commits; what is
 * asked after it can be reconciled by whoever finds the row.
 *
 *   accept ──commit──▶ ask the sources ──▶ decide (settle.ts) ──commit──▶ decided
 *      │                     │
 *      └─ refused: nothing   └─ killed, or a source away: PENDING, the sweeper goes on (sweep.ts)
 */
import { randomBytes } from "node:crypto";
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { type Transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { Context } from "../context.ts";
import type { EvidencePolicy } from "../evidence/rules.ts";
import type { Grant } from "../grants/rules.ts";
import { useGrant } from "../grants/store.ts";
import { elementsAad, encodeElements, type Requester } from "./rules.ts";
import { addChecks, insertVerification, type PendingRow, type SourceCheck } from "./store.ts";

export interface Question {
  readonly requester: Requester;
  readonly claim: ClaimElements;
  readonly purpose: string;
  readonly plan: EvidencePolicy;
  readonly ground: { readonly code: string; readonly grant?: Grant };
  readonly traceId: string;
}

/** A verification that this process is going to ask the sources for. */
export interface Accepted {
  readonly row: PendingRow;
  readonly claim: ClaimElements;
  readonly checks: readonly SourceCheck[];
}

const NONCE_BYTES = 32;
const BIZ_SEQ_BYTES = 16;

/** Writes the question. Throws CONSENT_USED when its grant was used before; then nothing is kept and nothing consumed. */
export async function acceptQuestion(
  { ring, clock, periods }: Pick<Context, "ring" | "clock" | "periods">,
  tx: Transaction,
  question: Question,
): Promise<Accepted> {
  const { requester, claim, purpose, plan, ground, traceId } = question;
  const nowMs = clock.nowMs();
  const verificationId = uuidv7(nowMs);
  const elements = ring.hmac("blind-index", canonicalElements(claim));
  const row = {
    verificationId,
    applicationId: "applicationId" in requester ? requester.applicationId : undefined,
    reference: "reference" in requester ? requester.reference : undefined,
    purpose,
    accountId: ground.grant?.accountId,
    levelWanted: plan.level,
    sealedElements: ring.seal("payload", elementsAad(verificationId), encodeElements(claim)),
    traceId,
  };
  if (ground.grant !== undefined && !(await useGrant(tx, ground.grant, verificationId))) {
    throw new DomainError("CONSENT_USED");
  }
  await insertVerification(tx, {
    ...row,
    claimType: claim.type,
    ground: ground.code,
    elements,
    nowMs,
    leaseUntilMs: nowMs + periods.leaseMs,
  });
  const checks = newChecks(plan);
  await addChecks(tx, verificationId, checks, nowMs);
  return {
    row: { ...row, elementsDigest: elements.digest, attempts: 0 },
    claim,
    checks: checks.map((check) => ({ ...check, askedAtMs: nowMs })),
  };
}

/** A fresh bizSeq and nonce for each source of the plan. */
export function newChecks(plan: EvidencePolicy): Omit<SourceCheck, "askedAtMs">[] {
  return plan.sources.map(({ sourceId }) => ({
    sourceId,
    bizSeq: randomBytes(BIZ_SEQ_BYTES).toString("hex"),
    nonce: randomBytes(NONCE_BYTES),
  }));
}
