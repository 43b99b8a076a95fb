import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type DelegationService,
  type GrantRoleRequest,
  GrantRoleRequestSchema,
  GrantRoleResponseSchema,
  type ListRolesRequest,
  type RevokeRoleRequest,
  RevokeRoleRequestSchema,
  RevokeRoleResponseSchema,
  Role,
} from "@fujie/api/fujie/registry/v1/delegation";
import { maskPersonName, parseLoginName } from "@fujie/identity";
import { openPage, pageSize, signPage, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import { requireRealName } from "../accounts/acting.ts";
import { lockAccount } from "../accounts/store.ts";
import { publishMembership } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { findOrganisation } from "../organisations/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { findSubjectByDigest } from "../subjects/store.ts";
import { identifierDigests, openIdentities } from "../subjects/vault.ts";
import { endRoles } from "./end.ts";
import { delegationExpiry, mayDecideOn, mayListRoles, type RoleName } from "./rules.ts";
import {
  type Delegation,
  findDelegation,
  findExpiredHeld,
  findHeld,
  insertDelegation,
  lockHeldRole,
  pageDelegations,
} from "./store.ts";

const FIRST_ID = "00000000-0000-0000-0000-000000000000";

export function delegationService(context: Context) {
  return {
    grantRole: recordingRefusals(context, "role.granted", (request, call) => grantRole(context, request, call)),
    revokeRole: recordingRefusals(context, "role.revoked", (request, call) => revokeRole(context, request, call)),
    listRoles: (request, call) => listRoles(context, request, call),
  } satisfies ServiceImpl<typeof DelegationService>;
}

async function grantRole(context: Context, request: GrantRoleRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { organisationId } = request;
  const grantor = await requireRealName(context, call);
  const role: RoleName = request.role === Role.ADMINISTRATOR ? "ADMINISTRATOR" : "CLERK";
  const askedMs = request.expireTime === undefined ? undefined : timestampMs(request.expireTime);
  return transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: GrantRoleRequestSchema, responseSchema: GrantRoleResponseSchema },
      async () => {
        const own = await requireDecider(context, tx, organisationId, grantor.accountId, role);
        const accountId = await requireDelegate(context, tx, request.loginName);
        const now = new Date(clock.nowMs());
        await endRoles(context, tx, await findExpiredHeld(tx, organisationId, accountId, now));
        const expireAt = delegationExpiry(askedMs, now.getTime());
        const delegationId = uuidv7(now.getTime());
        const parentId = own.delegationId;
        await insertDelegation(tx, {
          delegationId,
          organisationId,
          accountId,
          role,
          expireAt,
          parentId,
          grantedAt: now,
        });
        await publishMembership(tx, accountId, organisationId, role);
        await recordEvent(context, tx, call, {
          type: "role.granted",
          outcome: "SUCCESS",
          subject: accountId,
          organisationId,
          details: { delegation_id: delegationId, role, expire_time: expireAt.toISOString() },
        });
        return create(GrantRoleResponseSchema, { delegationId });
      },
    ),
  );
}

async function revokeRole(context: Context, request: RevokeRoleRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { organisationId, delegationId } = request;
  const { accountId } = await requireRealName(context, call);
  return transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: RevokeRoleRequestSchema, responseSchema: RevokeRoleResponseSchema },
      async () => {
        const own = await lockHeldRole(tx, organisationId, accountId, new Date(clock.nowMs()));
        if (!mayListRoles(own?.role)) throw new DomainError("ROLE_FORBIDDEN");
        const target = await findDelegation(tx, organisationId, delegationId, new Date(clock.nowMs()));
        if (target === undefined) throw new DomainError("DELEGATION_NOT_FOUND");
        if (!mayDecideOn(own?.role, target.role)) throw new DomainError("ROLE_FORBIDDEN");
        const ended = await endRoles(context, tx, [delegationId]);
        for (const each of ended) {
          await recordEvent(context, tx, call, {
            type: "role.revoked",
            outcome: "SUCCESS",
            subject: each.accountId,
            organisationId,
            details: { delegation_id: each.delegationId, role: each.role, because_of: delegationId },
          });
        }
        return create(RevokeRoleResponseSchema, { revokedCount: ended.length });
      },
    ),
  );
}

/** The caller's own role as the registry has it, held while it is used, in an ACTIVE organisation. */
async function requireDecider(
  { clock }: Pick<Context, "clock">,
  tx: Transaction,
  organisationId: string,
  accountId: string,
  role: RoleName,
): Promise<Delegation> {
  const own = await lockHeldRole(tx, organisationId, accountId, new Date(clock.nowMs()));
  const organisation = await findOrganisation(tx, organisationId);
  if (own === undefined || organisation?.state !== "ACTIVE" || !mayDecideOn(own.role, role)) {
    throw new DomainError("ROLE_FORBIDDEN");
  }
  return own;
}

/** The account of a login name, if a real-name person's; held, so that it does not end meanwhile. */
async function requireDelegate({ ring }: Pick<Context, "ring">, tx: Transaction, loginName: string): Promise<string> {
  const parsed = parseLoginName(loginName);
  const digests = parsed.ok ? identifierDigests(ring, "login-name", parsed.value) : [];
  const accountId = await findSubjectByDigest(tx, "login-name", digests);
  if (accountId === undefined) throw new DomainError("ACCOUNT_NOT_FOUND");
  const account = await lockAccount(tx, accountId);
  if (account?.state !== "ACTIVE" || account.level < 2) throw new DomainError("DELEGATE_NOT_REAL_NAME");
  return accountId;
}

async function listRoles(context: Context, request: ListRolesRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  const { organisationId } = request;
  const now = new Date(clock.nowMs());
  const own = await findHeld(db, organisationId, subjectOf(call).subject, now);
  if (!mayListRoles(own?.role)) throw new DomainError("ROLE_FORBIDDEN");
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["roles", organisationId];
  const [after = FIRST_ID] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageDelegations(db, organisationId, now, String(after), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  const identities = await openIdentities(
    db,
    ring,
    page.map(({ accountId }) => accountId),
  );
  return {
    delegations: page.map(({ delegationId, accountId, role, expireAt }) => ({
      delegationId,
      accountId,
      maskedName: maskPersonName(identities.get(accountId)?.name ?? ""),
      role: Role[role],
      ...(expireAt === null ? {} : { expireTime: timestampFromDate(expireAt) }),
    })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.delegationId] }, ring),
  };
}
