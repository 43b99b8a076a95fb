/** From an adjudication to what the writer needs: the decision, and for applications the receipt that binds it. */
import type { HandlerContext } from "@connectrpc/connect";
import type { Receipt } from "@fujie/api/fujie/trust/v1/verification";
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { takeRandomBytes } from "@fujie/kit/random";
import { describeEvent } from "@fujie/kit/record";
import { commitElements, encodeReceiptStatement, SALT_BYTES } from "@fujie/transparency";
import type { Context } from "../context.ts";
import type { EvidenceRow } from "../evidence/mac.ts";
import type { Adjudication } from "../evidence/rules.ts";
import type { CallEnd } from "../usage/rules.ts";
import type { Verification } from "./rules.ts";
import type { Decision, PendingRow } from "./store.ts";
import type { Unwritten } from "./writer.ts";

/** EXPIRED: nobody answered for as long as the question was kept. */
export type Result = Exclude<Adjudication, { outcome: "PENDING" }> | { readonly outcome: "EXPIRED" };

/** A verification as this process decided it. */
export interface Decided {
  readonly verification: Verification;
  /** With its salt. */
  readonly receipt: Receipt | undefined;
}

/** What was learnt on the way to the result. */
export interface Learnt {
  readonly evidence: readonly EvidenceRow[];
  readonly calls: readonly CallEnd[];
  /** Sources whose words were at hand, so that no call was needed. */
  readonly shared: readonly string[];
}

/** What of a verification a decision is about. */
export type Subject = Pick<
  PendingRow,
  "verificationId" | "applicationId" | "reference" | "purpose" | "accountId" | "traceId"
>;

export interface Decidable {
  readonly row: Subject;
  readonly claim: ClaimElements;
  /** Its canonical elements, where they are at hand. */
  readonly elements?: string;
}

export interface Telling {
  /** Whether the application was told that it is pending. */
  readonly toldPending: boolean;
  readonly sm2Receipt: boolean;
  /** The call that is answered at once; absent: the service works for itself. */
  readonly call?: HandlerContext;
  /** More for the audit log's event. */
  readonly details?: Readonly<Record<string, string>>;
}

export function prepareDecision(
  context: Pick<Context, "clock" | "periods">,
  { row, claim, elements }: Decidable,
  result: Result,
  { evidence, calls, shared }: Learnt,
  { toldPending, sm2Receipt, call, details }: Telling,
): Unwritten {
  const { verificationId, applicationId, reference, purpose, accountId } = row;
  const decidedAtMs = context.clock.nowMs();
  const decision = {
    verificationId,
    state: result.outcome,
    level: result.outcome === "VERIFIED" ? result.level : 0,
    decidedAtMs,
    expiresAtMs: decidedAtMs + context.periods.keepMs,
  };
  return {
    requester: applicationId === undefined ? { reference: reference ?? "" } : { applicationId },
    decision,
    receipt:
      applicationId === undefined
        ? undefined
        : bind(context, decision, {
            applicationId,
            purpose,
            elements: elements ?? canonicalElements(claim),
            sm2Receipt,
          }),
    evidence,
    calls,
    shared,
    toldPending,
    event: describeEvent(context, call ?? { service: "trust-gateway", traceId: row.traceId }, {
      type: "verification.decided",
      outcome: "SUCCESS",
      subject: accountId ?? "",
      applicationId: applicationId ?? "",
      purpose,
      details: {
        verification_id: verificationId,
        claim_type: claim.type,
        outcome: decision.state,
        level: String(decision.level),
        evidence: evidence.map(({ evidenceId, sourceId }) => `${sourceId}:${evidenceId}`).join(" "),
        ...details,
      },
    }),
  };
}

function bind(
  { periods }: Pick<Context, "periods">,
  { verificationId, state, level, decidedAtMs }: Omit<Decision, "receipt">,
  about: {
    readonly elements: string;
    readonly applicationId: string;
    readonly purpose: string;
    readonly sm2Receipt: boolean;
  },
) {
  const { applicationId, purpose, elements, sm2Receipt } = about;
  const salt = new Uint8Array(takeRandomBytes(SALT_BYTES));
  const commitment = commitElements(elements, salt);
  return {
    statement: encodeReceiptStatement({
      verificationId,
      applicationId,
      purpose,
      outcome: state,
      level,
      decidedAtMs,
      commitment,
      sm2: sm2Receipt,
    }),
    salt,
    saltExpiresAtMs: decidedAtMs + periods.saltKeepMs,
    sm2: sm2Receipt,
  };
}
