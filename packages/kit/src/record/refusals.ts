import type { HandlerContext } from "@connectrpc/connect";
import type { Database } from "../db/index.ts";
import { DomainError, type Reason, reasons } from "../errors/index.ts";
import { type RecordedEvent, type Recorder, recordRefusal } from "./record-event.ts";

type Refusing = Recorder & { readonly db: Database };

/** Codes by which a rule says no. Malformed input and faults of ours are no acts worth the audit log. */
const REFUSING: ReadonlySet<string> = new Set([
  "FAILED_PRECONDITION",
  "PERMISSION_DENIED",
  "ALREADY_EXISTS",
  "UNAUTHENTICATED",
  "NOT_FOUND",
]);

/** Whether the reason is a rule's no. */
export function isRefusal(reason: Reason): boolean {
  return REFUSING.has(reasons[reason].code);
}

/** Runs the work of a handler; where `describe` has an event for what it was refused with, that is recorded first. */
export async function recordingRefusal<Result>(
  context: Refusing,
  call: HandlerContext,
  describe: (error: DomainError) => Omit<RecordedEvent, "outcome" | "reason"> | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const event = error instanceof DomainError ? describe(error) : undefined;
    if (error instanceof DomainError && event !== undefined) {
      await recordRefusal(context, call, { ...event, reason: error.reason });
    }
    throw error;
  }
}

/**
 * Makes the wrapper of a service's handlers, by which the audit log shows what was tried and refused, under the type of
 * the act. `isRecorded` tells which reasons are refusals there.
 */
export function refusalRecorder(isRecorded: (reason: Reason) => boolean) {
  return <Request, Reply>(
    context: Refusing,
    type: string,
    run: (request: Request, call: HandlerContext) => Promise<Reply>,
  ): ((request: Request, call: HandlerContext) => Promise<Reply>) =>
    (request, call) =>
      recordingRefusal(
        context,
        call,
        ({ reason }) => (isRecorded(reason) ? { type } : undefined),
        () => run(request, call),
      );
}
