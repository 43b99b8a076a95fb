import type { HandlerContext } from "@connectrpc/connect";
import { DomainError, reasons } from "@fujie/kit/errors";
import { recordRefusal } from "@fujie/kit/record";
import type { Context } from "./context.ts";

/** Codes by which a rule says no; malformed input and faults of ours are no acts worth the log. */
const REFUSING = new Set(["FAILED_PRECONDITION", "PERMISSION_DENIED", "NOT_FOUND"]);

/** Wraps a handler, so that the log shows what was tried and refused, under the type of the act. */
export function recordingRefusals<Request, Reply>(
  context: Pick<Context, "db" | "ring" | "clock">,
  type: string,
  run: (request: Request, call: HandlerContext) => Promise<Reply>,
): (request: Request, call: HandlerContext) => Promise<Reply> {
  return async (request, call) => {
    try {
      return await run(request, call);
    } catch (error) {
      const isRefusal = error instanceof DomainError && isWorthRecording(error);
      if (isRefusal) await recordRefusal(context, call, { type, reason: error.reason });
      throw error;
    }
  };
}

/** What a rule of assistance refuses is told even where the fault is in the input (NI-12). */
function isWorthRecording({ reason }: DomainError): boolean {
  return reason.startsWith("CASE_") || reason === "PURPOSE_REQUIRED" || REFUSING.has(reasons[reason].code);
}
