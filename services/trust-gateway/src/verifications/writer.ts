/**
 * Writes questions and decisions in natural micro-batches: one transaction, one signature and one message to the audit
 * log for as many as came meanwhile. Nothing is acknowledged before its commit, and the conflict of one item (its
 * request ran before, its grant was used, somebody else decided first) is its own alone:
 *
 *   BEGIN                                                              and meanwhile sign the batch's receipts
 *     claim requests ──▶ use grants ──▶ questions (some decided at once) with their checks
 *     decide what is still pending
 *     evidence, ends of calls, feed events, audit events with the root of the receipts
 *   COMMIT ──▶ an answer for each
 *
 * The database is waited for where an answer decides what comes next: who was first, what was still to be spent or
 * decided. All the rest goes to it in one piece, with the commit: each wait costs a batch more than its statement does.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import { VerificationDecidedSchema } from "@fujie/api/fujie/trust/v1/evidence";
import { type Receipt, ReceiptSchema } from "@fujie/api/fujie/trust/v1/verification";
import type { Clock } from "@fujie/kit/clock";
import {
  claimRequests,
  type Database,
  type RequestClaim,
  releaseRequests,
  type Transaction,
  transaction,
} from "@fujie/kit/db";
import { DomainError, type Reason } from "@fujie/kit/errors";
import { publish } from "@fujie/kit/feed";
import type { KeyRing } from "@fujie/kit/keys";
import { describeEvent, recordEvents } from "@fujie/kit/record";
import type { EvidenceRow } from "../evidence/mac.ts";
import { putEvidence } from "../evidence/store.ts";
import { giveBack, type SingleUse, spendOnce } from "../grants/store.ts";
import { signReceipts } from "../receipts/batch.ts";
import type { CallEnd } from "../usage/rules.ts";
import { endCalls, shareCalls } from "../usage/store.ts";
import { type NaturalBatches, naturalBatches } from "./natural-batches.ts";
import { decisionEvent, describeDecision, type Requester, saltAad, topicOf } from "./rules.ts";
import {
  type Decision,
  decideVerifications,
  insertVerifications,
  type NewCheck,
  type NewVerification,
  sendChecks,
} from "./store.ts";

/** The topic of the registry's own questions. */
export const FEED_TOPIC = "trust.verifications";

/** A decision before its receipt is signed. */
export interface Unwritten {
  readonly requester: Requester;
  readonly decision: Omit<Decision, "receipt">;
  /** For applications. */
  readonly receipt: UnsignedReceipt | undefined;
  readonly evidence: readonly EvidenceRow[];
  /** How the calls to sources ended, and which sources' words were at hand. */
  readonly calls: readonly CallEnd[];
  readonly shared: readonly string[];
  /** Whether the application was told that it is pending, so that it is told the end of it. */
  readonly toldPending: boolean;
  /** "verification.decided" */
  readonly event: Event;
}

export interface UnsignedReceipt {
  readonly statement: Uint8Array;
  readonly salt: Uint8Array;
  readonly saltExpiresAtMs: number;
  readonly sm2: boolean;
}

export interface NewQuestion {
  readonly request: RequestClaim;
  /** What may be used once only: a grant, a challenge. With the reason that refuses a second use. */
  readonly spends: readonly (SingleUse & { readonly refusal: Reason })[];
  readonly row: NewVerification;
  readonly checks: readonly NewCheck[];
  /** Where every word is at hand: it is decided as it is written. */
  readonly decided: Unwritten | undefined;
  /** "verification.requested", or the decision's own where it is decided. */
  readonly event: Event;
}

/** What became of an item. */
export type Written =
  | { readonly kind: "written"; readonly receipt: Receipt | undefined }
  /** Another request has the request_id; or somebody else has decided. */
  | { readonly kind: "second" }
  /** What it spends was spent before. */
  | { readonly kind: "spent"; readonly refusal: Reason };

export interface Writer {
  ask(question: NewQuestion): Promise<Written>;
  /** Gives "second" where the verification is not pending any more. */
  decide(decision: Unwritten): Promise<Written>;
}

type Item = { readonly question: NewQuestion } | { readonly decision: Unwritten };
type Ended = Written | { readonly kind: "failed"; readonly error: unknown };

export interface WriterContext {
  readonly db: Database;
  readonly ring: KeyRing;
  readonly clock: Clock;
}

const BATCH_MAX = 256;
/** More than two transactions at once only wait for the same disk. */
const OUT_MAX = 2;
const WAITING_MAX = 10_000;

export function createWriter(context: WriterContext): Writer {
  const batches: NaturalBatches<Item, Ended> = naturalBatches({
    run: (items) => writeBatch(context, items),
    sizeMax: BATCH_MAX,
    outMax: OUT_MAX,
    waitingMax: WAITING_MAX,
  });
  const write = async (item: Item): Promise<Written> => {
    const ended = await batches.submit(item);
    if (ended.kind === "failed") throw ended.error;
    return ended;
  };
  return { ask: (question) => write({ question }), decide: (decision) => write({ decision }) };
}

/** A fault of one item fails its batch; then each goes alone, so that only the faulty one fails. */
async function writeBatch(context: WriterContext, items: readonly Item[]): Promise<readonly Ended[]> {
  try {
    return await writeTogether(context, items);
  } catch (error) {
    if (error instanceof DomainError || items.length === 1) throw error;
    return Promise.all(items.map((item) => writeAlone(context, item)));
  }
}

async function writeAlone(context: WriterContext, item: Item): Promise<Ended> {
  try {
    const [written] = await writeTogether(context, [item]);
    return written ?? { kind: "second" };
  } catch (error) {
    return { kind: "failed", error };
  }
}

async function writeTogether(context: WriterContext, items: readonly Item[]): Promise<readonly Written[]> {
  const signing = signBatch(
    context,
    items.flatMap((item) => decisionOf(item) ?? []),
  );
  // Whoever waits for it below hears of a failure; nobody does where the transaction fails before.
  signing.catch(ignore);
  return transaction(context.db, async (tx) => {
    const questions = items.flatMap((item) => ("question" in item ? item.question : []));
    const [refused, signed] = await Promise.all([claimQuestions(tx, questions), signing]);
    const asked = questions.filter((question) => !refused.has(question));
    insertVerifications(
      tx,
      asked.map(({ row, decided }) => ({ row, decision: decided && signed.complete(decided) })),
    );
    sendChecks(
      tx,
      asked.flatMap(({ checks }) => checks),
    );
    const settled = await settleDecisions(
      tx,
      items.flatMap((item) => ("decision" in item ? item.decision : [])),
      signed,
    );
    const decided = [...asked.flatMap((question) => question.decided ?? []), ...settled];
    keepWords(context, tx, decided);
    await publishDecisions(tx, decided);
    await recordEvents(context, tx, [
      ...asked.map(({ event }) => event),
      ...settled.map(({ event }) => event),
      ...signed.events,
    ]);
    const written = new Set<NewQuestion | Unwritten>([...asked, ...settled]);
    return items.map((item) => {
      const own = "question" in item ? item.question : item.decision;
      if (!written.has(own)) return ("question" in item && refused.get(item.question)) || { kind: "second" };
      return { kind: "written", receipt: signed.receipts.get(decisionOf(item)) };
    });
  });
}

function decisionOf(item: Item): Unwritten | undefined {
  return "question" in item ? item.question.decided : item.decision;
}

interface Signed {
  /** By decision, salt included. */
  readonly receipts: ReadonlyMap<Unwritten | undefined, Receipt>;
  complete(decided: Unwritten): Decision;
  /** The audit log's event that fixes the root, if there is one. */
  readonly events: readonly Event[];
}

/** One signature for all receipts of the batch. Those of items that turn out to be second are given to nobody. */
async function signBatch(context: WriterContext, decisions: readonly Unwritten[]): Promise<Signed> {
  const { ring } = context;
  const unsigned = decisions.flatMap((decided) =>
    decided.receipt === undefined ? [] : [{ decided, ...decided.receipt }],
  );
  if (unsigned.length === 0) {
    return { receipts: new Map(), complete: ({ decision }) => ({ ...decision, receipt: undefined }), events: [] };
  }
  const { root, proofs } = await signReceipts(ring, unsigned);
  const event = describeEvent(
    context,
    { service: "trust-gateway" },
    {
      type: "receipts.signed",
      outcome: "SUCCESS",
      details: { receipts: String(unsigned.length), key: proofs[0]?.keyId ?? "" },
      digest: root,
    },
  );
  const receipts = new Map(
    unsigned.map(({ decided, statement, salt }, i) => [
      decided,
      create(ReceiptSchema, { ...proofs[i], statement, salt }),
    ]),
  );
  const complete = (decided: Unwritten): Decision => {
    const receipt = receipts.get(decided);
    if (receipt === undefined || decided.receipt === undefined) return { ...decided.decision, receipt: undefined };
    const { salt, saltExpiresAtMs } = decided.receipt;
    return {
      ...decided.decision,
      receipt: {
        bytes: toBinary(ReceiptSchema, { ...receipt, salt: new Uint8Array() }),
        eventId: event.eventId,
        sealedSalt: ring.seal("payload", saltAad(decided.decision.verificationId), salt),
        saltExpiresAtMs,
      },
    };
  };
  return { receipts, complete, events: [event] };
}

/** Claims what each question needs; tells which of them cannot have it. What those had claimed is given back. */
async function claimQuestions(
  tx: Transaction,
  questions: readonly NewQuestion[],
): Promise<ReadonlyMap<NewQuestion, Written>> {
  const first = await claimRequests(
    tx,
    questions.map(({ request }) => request),
  );
  const claimed = questions.filter(({ request }) => first.has(request));
  const uses = claimed.flatMap((question) =>
    question.spends.map((use) => ({ ...use, question, verificationId: question.row.verificationId })),
  );
  const spent = await spendOnce(tx, uses);
  const late = uses.filter((use) => !spent.has(use));
  const refused = new Map<NewQuestion, Written>([
    ...questions
      .filter(({ request }) => !first.has(request))
      .map((question) => [question, { kind: "second" }] as const),
    ...late.map(({ question, refusal }) => [question, { kind: "spent", refusal }] as const),
  ]);
  await giveBack(
    tx,
    late.map(({ verificationId }) => verificationId),
  );
  await releaseRequests(
    tx,
    late.map(({ question }) => question.request),
  );
  return refused;
}

/** Decides what is still pending, each verification once; returns those decisions that count. */
async function settleDecisions(
  tx: Transaction,
  decisions: readonly Unwritten[],
  signed: Signed,
): Promise<readonly Unwritten[]> {
  const byId = new Map(decisions.toReversed().map((decided) => [decided.decision.verificationId, decided]));
  const won = await decideVerifications(tx, [...byId.values()].map(signed.complete));
  return decisions.filter((decided) => {
    const { verificationId } = decided.decision;
    return won.has(verificationId) && byId.get(verificationId) === decided;
  });
}

/** Keeps what the sources said, and what of it was paid for. */
function keepWords({ ring, clock }: WriterContext, tx: Transaction, decided: readonly Unwritten[]): void {
  putEvidence(
    tx,
    ring,
    decided.flatMap(({ evidence }) => evidence),
  );
  const nowMs = clock.nowMs();
  endCalls(
    tx,
    decided.flatMap(({ calls }) => calls),
    nowMs,
  );
  shareCalls(
    tx,
    decided.flatMap(({ shared, decision: { verificationId } }) =>
      shared.map((sourceId) => ({ verificationId, sourceId })),
    ),
    nowMs,
  );
}

/** Tells the registry of its own, and applications of those that they know as pending. */
async function publishDecisions(tx: Transaction, decided: readonly Unwritten[]): Promise<void> {
  for (const { requester, decision, evidence, toldPending } of decided) {
    if ("reference" in requester) {
      const verification = { ...decision, ...requester, applicationId: undefined, pendingReason: undefined };
      const event = describeDecision(verification, evidence);
      await publish(tx, FEED_TOPIC, anyPack(VerificationDecidedSchema, event));
    } else if (toldPending) {
      await publish(tx, topicOf(requester.applicationId), decisionEvent(decision.verificationId));
    }
  }
}

function ignore(): void {}
