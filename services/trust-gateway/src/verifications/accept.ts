/**
 * Questions, from the one who asks to the writer. A question is examined in memory; what entitles to it, the question
 * itself, and the bizSeq under which each source is going to be asked are then written in one transaction. Nothing was
 * asked and nothing paid before it commits; what is asked after it can be reconciled by whoever finds the row.
 *
 *   examine ──▶ all words at hand ──▶ write, decided ──commit──▶ answer
 *      │              │ no
 *      │              └──▶ write, pending ──commit──▶ ask the sources ──▶ decide (settle.ts) ──commit──▶ answer
 *      └─ refused: nothing                                │
 *                                                         └─ killed, or a source away: the sweeper goes on (sweep.ts)
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { ClaimElements } from "@fujie/identity";
import { describeClaim, type OnceOptions, replayRequest, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { takeRandomBytes } from "@fujie/kit/random";
import { describeEvent } from "@fujie/kit/record";
import { singleUseOf } from "../claims/possession.ts";
import type { Context } from "../context.ts";
import { adjudicate } from "../evidence/rules.ts";
import { reusedRows } from "../fan-out/reuse.ts";
import type { Grant } from "../grants/rules.ts";
import type { Priority } from "../sources/fair-queue.ts";
import { type Decided, prepareDecision } from "./decision.ts";
import type { Plan } from "./plan.ts";
import { elementsAad, encodeElements, type Requester } from "./rules.ts";
import type { NewVerification, PendingRow, SourceCheck } from "./store.ts";
import type { NewQuestion, Unwritten } from "./writer.ts";

export interface Question {
  readonly requester: Requester;
  readonly claim: ClaimElements;
  readonly purpose: string;
  readonly plan: Plan;
  readonly ground: { readonly code: string; readonly grant?: Grant };
  readonly priority: Priority;
  readonly traceId: string;
}

/** A verification that this process is going to ask the sources for. */
export interface Accepted {
  readonly row: PendingRow;
  readonly claim: ClaimElements;
  readonly checks: readonly SourceCheck[];
  readonly priority: Priority;
}

/** A request that may be repeated, with how its answer names the verification. */
export interface Repeatable<Request extends DescMessage, Response extends DescMessage>
  extends OnceOptions<Request, Response> {
  readonly answer: (verificationId: string) => MessageShape<Response>;
  readonly idOf: (response: MessageShape<Response>) => string;
}

/** What became of a request: a verification of its own, decided at once or not, or that of the first that it repeats. */
export type Asked =
  | { readonly kind: "decided"; readonly decided: Decided }
  | { readonly kind: "new"; readonly accepted: Accepted; readonly plan: Plan }
  | { readonly kind: "repeated"; readonly verificationId: string };

const NONCE_BYTES = 32;
const BIZ_SEQ_BYTES = 16;

/**
 * Examines a request and writes its question, once for its request_id: a repetition gets the first one's verification,
 * even where it would be refused by now.
 * @throws DomainError what `examine` refuses; CONSENT_USED, which keeps and consumes nothing; REQUEST_ID_REUSED
 */
export async function acceptQuestion<Request extends DescMessage, Response extends DescMessage>(
  context: Context,
  request: Repeatable<Request, Response>,
  call: HandlerContext,
  examine: () => Promise<Question>,
): Promise<Asked> {
  let question: Question;
  try {
    question = await examine();
  } catch (error) {
    const first = await replayRequest(context.db, request);
    if (first === undefined) throw error;
    return { kind: "repeated", verificationId: request.idOf(first) };
  }
  const begun = newVerification(context, question);
  const { verificationId } = begun;
  const decided = decideAtOnce(context, begun, question, call);
  const accepted = decided === undefined ? newAccepted(context, begun, question) : undefined;
  const written = await context.writer.ask({
    request: describeClaim(request, request.answer(verificationId)),
    spends: spentBy(question, context.clock.nowMs()),
    row: { ...begun, sealedElements: accepted?.row.sealedElements },
    checks: (accepted?.checks ?? []).map((check) => ({ ...check, verificationId })),
    decided,
    event: decided?.event ?? requestedEvent(context, begun, call),
  });
  if (written.kind === "spent") throw new DomainError(written.refusal);
  if (written.kind === "written" && accepted !== undefined) return { kind: "new", accepted, plan: question.plan };
  if (written.kind === "written" && decided !== undefined) {
    const verification = { ...begun, ...decided.decision, pendingReason: undefined };
    return { kind: "decided", decided: { verification, receipt: written.receipt } };
  }
  const first = await replayRequest(context.db, request);
  // Purged between the two statements.
  if (first === undefined) throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "request" });
  return { kind: "repeated", verificationId: request.idOf(first) };
}

type Begun = Omit<NewVerification, "sealedElements">;

function newVerification({ clock, periods }: Pick<Context, "clock" | "periods">, question: Question): Begun {
  const { requester, claim, purpose, plan, ground, traceId } = question;
  const nowMs = clock.nowMs();
  return {
    verificationId: uuidv7(nowMs),
    applicationId: "applicationId" in requester ? requester.applicationId : undefined,
    reference: "reference" in requester ? requester.reference : undefined,
    claimType: claim.type,
    purpose,
    ground: ground.code,
    accountId: ground.grant?.accountId,
    levelWanted: plan.level,
    elements: plan.elements,
    traceId,
    nowMs,
    leaseUntilMs: nowMs + periods.leaseMs,
  };
}

/** The decision where the words at hand are enough for one; nobody is asked then. */
function decideAtOnce(
  context: Context,
  begun: Begun,
  { claim, plan }: Question,
  call: HandlerContext,
): Unwritten | undefined {
  const { verificationId, elements, nowMs } = begun;
  const evidence = reusedRows(plan.known, { verificationId, elementsDigest: elements.digest }, nowMs);
  const result = adjudicate(plan, evidence);
  if (result.outcome === "PENDING") return undefined;
  const shared = evidence.map(({ sourceId }) => sourceId);
  const { sm2Receipt } = plan;
  // The only event of this question: it tells who asked, and on what ground, too.
  const telling = { toldPending: false, sm2Receipt, call, details: { ground: begun.ground } };
  const subject = { row: begun, claim, elements: plan.elements.text };
  return prepareDecision(context, subject, result, { evidence, calls: [], shared }, telling);
}

/** What is kept of a question until the sources have answered it. */
function newAccepted({ ring }: Pick<Context, "ring">, begun: Begun, { claim, plan, priority }: Question): Accepted {
  const { verificationId, nowMs, elements } = begun;
  const row = {
    ...begun,
    elementsDigest: elements.digest,
    sealedElements: ring.seal("payload", elementsAad(verificationId), encodeElements(claim)),
    attempts: 0,
    createdAtMs: nowMs,
  };
  const checks = newChecks(plan.first).map((check) => ({ ...check, askedAtMs: nowMs }));
  return { row, claim, checks, priority };
}

function requestedEvent(context: Pick<Context, "clock">, begun: Begun, call: HandlerContext) {
  const { verificationId, claimType, ground, accountId, purpose } = begun;
  return describeEvent(context, call, {
    type: "verification.requested",
    outcome: "PENDING",
    subject: accountId ?? "",
    purpose,
    details: { verification_id: verificationId, claim_type: claimType, ground },
  });
}

/** What the question uses up: the person's grant, or the challenge that a key was proven by. */
function spentBy({ ground: { grant }, claim }: Question, nowMs: number): NewQuestion["spends"] {
  const challenge =
    claim.type === "CERTIFICATE_POSSESSION"
      ? [{ ...singleUseOf(claim, nowMs), refusal: "CHALLENGE_INVALID" as const }]
      : [];
  if (grant === undefined) return challenge;
  return [...challenge, { key: grant.grantId, expiresAtMs: grant.expiresAtMs, refusal: "CONSENT_USED" as const }];
}

/** A fresh bizSeq and nonce for each source. */
export function newChecks(sourceIds: readonly string[]): Omit<SourceCheck, "askedAtMs">[] {
  return sourceIds.map((sourceId) => ({
    sourceId,
    bizSeq: takeRandomBytes(BIZ_SEQ_BYTES).toString("hex"),
    nonce: takeRandomBytes(NONCE_BYTES),
  }));
}
