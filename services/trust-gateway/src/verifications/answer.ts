/** How long a caller waits, and what it then sees. */
import { fromBinary } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { type Receipt, ReceiptSchema } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError, type Reason } from "@fujie/kit/errors";
import { recordingRefusal } from "@fujie/kit/record";
import { deadlineOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import type { Accepted, Asked } from "./accept.ts";
import type { Decided } from "./decision.ts";
import type { Plan } from "./plan.ts";
import { saltAad } from "./rules.ts";
import { settleAccepted, type Waiter } from "./settle.ts";
import { type KeptVerification, readVerification } from "./store.ts";

/** Kept back of the caller's deadline, to answer in. */
const ANSWER_MS = 500;
const WAIT_MS_MAX = 30_000;
/** How soon a decision of another replica is seen. */
const LOOK_EVERY_MS = 1_000;

/**
 * Asks the sources, for as long as the caller can wait; the asking goes on when it cannot. Undefined: it is not decided
 * yet, or was not decided here.
 */
export async function settleForCaller(
  context: Context,
  accepted: Accepted,
  plan: Plan,
  call: HandlerContext,
): Promise<Decided | undefined> {
  const waiter: Waiter = { gone: false, writing: false };
  let decided: Decided | undefined;
  const asking = context.tasks.run("verification", async () => {
    decided = await settleAccepted(context, accepted, plan, waiter);
  });
  const answered = new AbortController();
  const patience = context.timers.sleep(budgetOf(call), AbortSignal.any([answered.signal, call.signal]));
  await Promise.race([asking, patience]);
  answered.abort();
  // A decision on its way into the database is waited for: the feed would not tell of it.
  if (waiter.writing) await asking;
  waiter.gone = true;
  return decided;
}

/** What the caller is told: what was decided here, or what the database has as soon as it has it. */
export async function describeForCaller(context: Context, asked: Asked, call: HandlerContext): Promise<Decided> {
  if (asked.kind === "decided") return asked.decided;
  const decided = asked.kind === "new" ? await settleForCaller(context, asked.accepted, asked.plan, call) : undefined;
  if (decided !== undefined) return decided;
  // A repetition waits for the first one's verification as that one does.
  const [verificationId, waitMs] =
    asked.kind === "new" ? [asked.accepted.row.verificationId, 0] : [asked.verificationId, undefined];
  const kept = await awaitDecision(context, verificationId, call, waitMs);
  return { verification: kept, receipt: receiptOf(context, kept) };
}

/** The verification as soon as it is decided, or as it stands after `waitMs` or shortly before the caller's deadline. */
export async function awaitDecision(
  context: Pick<Context, "db" | "clock" | "decisions">,
  verificationId: string,
  call: HandlerContext,
  waitMs: number = WAIT_MS_MAX,
): Promise<KeptVerification> {
  const untilMs = context.clock.nowMs() + Math.min(waitMs, budgetOf(call));
  using decision = context.decisions.follow(verificationId);
  for (;;) {
    const found = await readVerification(context.db, verificationId);
    if (found === undefined) throw new DomainError("OBJECT_FORBIDDEN");
    const leftMs = untilMs - context.clock.nowMs();
    if (found.state !== "PENDING" || leftMs <= 0 || call.signal.aborted) return found;
    await decision.wait(Math.min(leftMs, LOOK_EVERY_MS), call.signal);
  }
}

/** The receipt with its salt, for the caller whose verification it is; the salt is empty once it was erased. */
export function receiptOf(
  { ring }: Pick<Context, "ring">,
  { verificationId, receipt, sealedSalt }: KeptVerification,
): Receipt | undefined {
  if (receipt === undefined) return undefined;
  const message = fromBinary(ReceiptSchema, receipt);
  if (sealedSalt !== undefined)
    message.salt = new Uint8Array(ring.open("payload", saltAad(verificationId), sealedSalt));
  return message;
}

/** Faults of ours: nobody was refused. */
const faults: ReadonlySet<Reason> = new Set<Reason>(["DEPENDENCY_UNAVAILABLE", "OVERLOADED", "INTERNAL"]);

/** Runs the work of a handler; whatever it refuses is recorded before it leaves. */
export async function recordingRefusals<Result>(
  context: Pick<Context, "clock" | "ring" | "db">,
  call: HandlerContext,
  event: { readonly type: string; readonly purpose?: string },
  work: () => Promise<Result>,
): Promise<Result> {
  // Which cap, or which block rule.
  const refusedBy = (subject: string | undefined) => (subject === undefined ? {} : { refused_by: subject });
  return recordingRefusal(
    context,
    call,
    ({ reason, subject }) => (faults.has(reason) ? undefined : { ...event, details: refusedBy(subject) }),
    work,
  );
}

function budgetOf(call: HandlerContext): number {
  return Math.max(0, (deadlineOf(call) ?? WAIT_MS_MAX) - ANSWER_MS);
}
