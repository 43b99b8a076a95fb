import type { HandlerContext } from "@connectrpc/connect";
import { DomainError, type Reason, reasons } from "@fujie/kit/errors";
import { recordRefusal } from "@fujie/kit/record";
import type { Context } from "./context.ts";

/** Codes by which a business rule says no. Malformed input and faults of ours are no acts worth the audit log. */
const REFUSING = new Set([
  "FAILED_PRECONDITION",
  "PERMISSION_DENIED",
  "ALREADY_EXISTS",
  "UNAUTHENTICATED",
  "NOT_FOUND",
]);
/** INVALID_ARGUMENT by code, yet a failed proof, or a read without a purpose. */
const FAILED_PROOFS: ReadonlySet<Reason> = new Set<Reason>([
  "DECISION_SIGNATURE_INVALID",
  "DOCUMENT_DIGEST_MISMATCH",
  "PURPOSE_REQUIRED",
]);

/** Wraps a handler, so that the audit log shows what was tried and refused, under the type of the act. */
export function recordingRefusals<Request, Reply>(
  context: Pick<Context, "db" | "ring" | "clock">,
  type: string,
  run: (request: Request, call: HandlerContext) => Promise<Reply>,
): (request: Request, call: HandlerContext) => Promise<Reply> {
  return async (request, call) => {
    try {
      return await run(request, call);
    } catch (error) {
      if (error instanceof DomainError && isRefusal(error.reason)) {
        await recordRefusal(context, call, { type, reason: error.reason });
      }
      throw error;
    }
  };
}

function isRefusal(reason: Reason): boolean {
  return FAILED_PROOFS.has(reason) || REFUSING.has(reasons[reason].code);
}
