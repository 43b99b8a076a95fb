import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type AccountService,
  AccountState,
  type CancelAccountRequest,
  CancelAccountRequestSchema,
  CancelAccountResponseSchema,
  type GetAccountRequest,
  type GetOwnAccountRequest,
} from "@fujie/api/fujie/registry/v1/accounts";
import { maskCitizenId, maskPersonName } from "@fujie/identity";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { findMemberships } from "../delegation/memberships.ts";
import { findEvidence } from "../evidence/store.ts";
import { requireOperator } from "../operators/acting.ts";
import { recordingRefusals } from "../refusals.ts";
import { lockRegistrationOf, setRegistrationState } from "../registrations/store.ts";
import { openIdentity } from "../subjects/vault.ts";
import { endAccount } from "./end.ts";
import { findAccount, lockAccount } from "./store.ts";
import { resumeAccount, suspendAccount } from "./suspend.ts";

export function accountService(context: Context) {
  return {
    getOwnAccount: (_request: GetOwnAccountRequest, call: HandlerContext) => getOwnAccount(context, call),
    cancelAccount: recordingRefusals(context, "account.cancelled", (request, call) =>
      cancelAccount(context, request, call),
    ),
    suspendAccount: recordingRefusals(context, "account.suspended", (request, call) =>
      suspendAccount(context, request, call),
    ),
    resumeAccount: recordingRefusals(context, "account.resumed", (request, call) =>
      resumeAccount(context, request, call),
    ),
    getAccount: recordingRefusals(context, "account.read", (request, call) => getAccount(context, request, call)),
  } satisfies ServiceImpl<typeof AccountService>;
}

async function getOwnAccount(context: Context, call: HandlerContext) {
  const { db, ring } = context;
  const { kind, subject } = subjectOf(call);
  const account = kind === "person" ? await findAccount(db, subject) : undefined;
  if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
  const { accountId, state, level } = account;
  const identity = await openIdentity(db, ring, accountId);
  const evidence = await findEvidence(db, ring, accountId);
  return {
    accountId,
    state: AccountState[state],
    level,
    loginName: identity?.loginName ?? "",
    maskedName: maskPersonName(identity?.name ?? ""),
    maskedCitizenId: maskCitizenId(identity?.identifier ?? ""),
    evidence: evidence.map(({ evidenceId, sourceId, checkedAt }) => ({
      evidenceId,
      sourceId,
      checkTime: timestampFromDate(checkedAt),
    })),
    memberships: await findMemberships(context, accountId),
  };
}

async function cancelAccount(context: Context, request: CancelAccountRequest, call: HandlerContext) {
  const { db, clock, periods } = context;
  const { kind, subject } = subjectOf(call);
  if (kind !== "person") throw new DomainError("ACCOUNT_NOT_FOUND");
  if (!request.confirmed) throw new DomainError("CONFIRMATION_REQUIRED");
  return transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: CancelAccountRequestSchema, responseSchema: CancelAccountResponseSchema },
      async () => {
        const nowMs = clock.nowMs();
        // Before the account, as everywhere: whoever decides about the registration holds it first.
        const registration = await lockRegistrationOf(tx, subject);
        const account = await lockAccount(tx, subject);
        if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
        if (account.state !== "ACTIVE" && account.state !== "PENDING") throw new DomainError("ACCOUNT_STATE_INVALID");
        const isPending = account.state === "PENDING";
        if (isPending && registration !== undefined) {
          await setRegistrationState(tx, registration.registrationId, "EXPIRED");
        }
        // Of a person who never became real-name nothing has to be kept.
        await endAccount(context, tx, subject, new Date(isPending ? nowMs : nowMs + periods.archiveMs));
        await recordEvent(context, tx, call, { type: "account.cancelled", outcome: "SUCCESS", subject });
        return create(CancelAccountResponseSchema, { cancelTime: timestampFromMs(nowMs) });
      },
    ),
  );
}

async function getAccount(context: Context, { accountId }: GetAccountRequest, call: HandlerContext) {
  await requireOperator(context, call, "registry.accounts.read");
  const account = await findAccount(context.db, accountId);
  if (account === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
  await transaction(context.db, (tx) =>
    recordEvent(context, tx, call, { type: "account.read", outcome: "SUCCESS", subject: accountId }),
  );
  return { accountId, state: AccountState[account.state], level: account.level };
}
