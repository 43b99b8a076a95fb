/** GetReceipt: the receipt together with the audit log's proof of its batch. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { GetReceiptRequest, GetReceiptResponseSchema } from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import type { Context } from "../context.ts";
import { receiptOf } from "../verifications/answer.ts";
import { readVerification } from "../verifications/store.ts";

/** How soon the log is asked again while it has not sealed the batch. */
const LOOK_EVERY_MS = 100;

/** @throws DomainError OBJECT_FORBIDDEN, VERIFICATION_PENDING, RECEIPT_INCOMPLETE */
export async function getReceipt(
  context: Pick<Context, "db" | "ring" | "clock" | "timers" | "auditLog">,
  { verificationId, waitMs }: GetReceiptRequest,
  call: HandlerContext,
): Promise<MessageInitShape<typeof GetReceiptResponseSchema>> {
  const kept = await readVerification(context.db, verificationId);
  if (kept === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  const receipt = receiptOf(context, kept);
  if (receipt === undefined) throw new DomainError("VERIFICATION_PENDING");
  if (kept.receiptEventId === undefined) throw new DomainError("RECEIPT_INCOMPLETE");
  const { preimage, salt, proofBundle } = await awaitProof(context, kept.receiptEventId, waitMs, call);
  return { receipt, entryPreimage: preimage, entrySalt: salt, proofBundle };
}

async function awaitProof(
  { auditLog, clock, timers }: Pick<Context, "clock" | "timers" | "auditLog">,
  eventId: string,
  waitMs: number,
  call: HandlerContext,
) {
  const untilMs = clock.nowMs() + waitMs;
  for (;;) {
    try {
      return await auditLog.getEventProof({ eventId }, { signal: call.signal });
    } catch (error) {
      const isUnsealed = error instanceof DomainError && error.reason === "ENTRY_NOT_FOUND";
      if (!isUnsealed) throw error;
      if (call.signal.aborted || clock.nowMs() >= untilMs) throw new DomainError("RECEIPT_INCOMPLETE");
    }
    await timers.sleep(Math.min(LOOK_EVERY_MS, Math.max(1, untilMs - clock.nowMs())), call.signal);
  }
}
