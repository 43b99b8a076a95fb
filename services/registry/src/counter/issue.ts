import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type IssueEnrolmentRequest,
  IssueEnrolmentRequestSchema,
  IssueEnrolmentResponseSchema,
} from "@fujie/api/fujie/registry/v1/counter";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { lockAccount } from "../accounts/store.ts";
import type { Context } from "../context.ts";
import { issueEnrolment } from "../enrolments/issue.ts";
import { requireOperator } from "../operators/acting.ts";
import { lockRegistration } from "../registrations/store.ts";
import { findDecision } from "./store.ts";

/** How long after his decision an operator may hand out another code: the person is still there, or back the same day. */
const SAME_DAY_MS = 24 * 60 * 60_000;

/** See CounterService.IssueEnrolment. */
export async function issueAgain(context: Context, request: IssueEnrolmentRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { registrationId } = request;
  const { operatorId } = await requireOperator(context, call, "registry.counter");
  let enrolmentCode = "";
  await transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: IssueEnrolmentRequestSchema, responseSchema: IssueEnrolmentResponseSchema },
      async () => {
        const registration = await lockRegistration(tx, registrationId);
        if (registration === undefined) throw new DomainError("REGISTRATION_NOT_FOUND");
        const decision = await findDecision(tx, registrationId);
        const isHis = decision?.operatorId === operatorId && decision.decision === "CONFIRM";
        const isRecent = decision !== undefined && clock.nowMs() - decision.decidedAt.getTime() <= SAME_DAY_MS;
        const account = await lockAccount(tx, registration.accountId);
        if (!isHis || !isRecent || account?.state !== "ACTIVE") throw new DomainError("REGISTRATION_STATE_INVALID");
        enrolmentCode = await issueEnrolment(context, tx, { kind: "account", id: registration.accountId });
        await recordEvent(context, tx, call, {
          type: "enrolment.issued",
          outcome: "SUCCESS",
          subject: registration.accountId,
          details: { registration_id: registrationId },
        });
        return create(IssueEnrolmentResponseSchema);
      },
    ),
  );
  // The code is in the first answer only: a repetition goes without.
  return { enrolmentCode };
}
