/*
 *   ACTIVE ──SuspendAccount──▶ SUSPENDED ──ResumeAccount──▶ ACTIVE
 *
 * A suspended account has no level and no session. Roles and evidence stay on file, so that resuming gives back what
 * still holds by then, and nothing that has ended meanwhile.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type ResumeAccountRequest,
  ResumeAccountRequestSchema,
  ResumeAccountResponseSchema,
  type SuspendAccountRequest,
  SuspendAccountRequestSchema,
  SuspendAccountResponseSchema,
  SuspensionReason,
} from "@fujie/api/fujie/registry/v1/accounts";
import { type Transaction, transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { publishAccount } from "../changes/publish.ts";
import { withdrawConsentsOf } from "../consents/store.ts";
import type { Context } from "../context.ts";
import { voidEnrolments } from "../enrolments/store.ts";
import { requireOperator } from "../operators/acting.ts";
import { bumpPolicy } from "../policy/store.ts";
import { refreshLevel } from "./level.ts";
import type { AccountStateName } from "./rules.ts";
import { activateAccount, lockAccount, setSuspended } from "./store.ts";

const SCOPE = "registry.accounts.suspend";

/** See AccountService.SuspendAccount. */
export async function suspendAccount(context: Context, request: SuspendAccountRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { accountId, reason } = request;
  await requireOperator(context, call, SCOPE);
  const schemas = { requestSchema: SuspendAccountRequestSchema, responseSchema: SuspendAccountResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      const now = new Date(clock.nowMs());
      await requireState(tx, accountId, "ACTIVE");
      await setSuspended(tx, accountId);
      await publishAccount(tx, { accountId, state: "SUSPENDED", level: 1 }, { wipeCredentials: false });
      // Whoever has somebody's credentials may have used them for these, too.
      if ((await withdrawConsentsOf(tx, accountId, now)) > 0) await bumpPolicy(tx);
      await voidEnrolments(tx, { kind: "account", id: accountId });
      await recordEvent(context, tx, call, {
        type: "account.suspended",
        outcome: "SUCCESS",
        subject: accountId,
        details: { reason: SuspensionReason[reason] },
      });
      return create(SuspendAccountResponseSchema, { suspendTime: timestampFromMs(now.getTime()) });
    }),
  );
}

/** See AccountService.ResumeAccount. */
export async function resumeAccount(context: Context, request: ResumeAccountRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { accountId } = request;
  await requireOperator(context, call, SCOPE);
  const schemas = { requestSchema: ResumeAccountRequestSchema, responseSchema: ResumeAccountResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      await requireState(tx, accountId, "SUSPENDED");
      await activateAccount(tx, accountId);
      await refreshLevel(context, tx, accountId);
      await recordEvent(context, tx, call, { type: "account.resumed", outcome: "SUCCESS", subject: accountId });
      return create(ResumeAccountResponseSchema, { resumeTime: timestampFromMs(clock.nowMs()) });
    }),
  );
}

/** Holds the account. Throws ACCOUNT_NOT_FOUND, ACCOUNT_STATE_INVALID. */
async function requireState(tx: Transaction, accountId: string, state: AccountStateName): Promise<void> {
  const account = await lockAccount(tx, accountId);
  if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
  if (account.state !== state) throw new DomainError("ACCOUNT_STATE_INVALID");
}
