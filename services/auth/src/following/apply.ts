/**
 * What the registry's changes mean for credentials, sessions and clients. Everything that follows from one event happens
 * in the transaction that moves the follower's position: nothing is lost, and nothing happens twice.
 */
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import {
  type AccountChanged,
  AccountChangedSchema,
  type ApplicationChanged,
  ApplicationChangedSchema,
  MembershipChangedSchema,
  OperatorChangedSchema,
} from "@fujie/api/fujie/registry/v1/events";
import { isUuid, type Transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { readApplication } from "../clients/rules.ts";
import { putClient } from "../clients/store.ts";
import type { Context } from "../context.ts";
import { removePassword } from "../credentials/store.ts";
import { publishRevoked } from "../revocations/publish.ts";
import { endSessionsOf } from "../sessions/end.ts";
import { listSessions, lowerSessionLevel } from "../sessions/store.ts";

export const CHANGES_TOPIC = "registry.changes";

type FollowingContext = Pick<Context, "clock" | "ring" | "sessionLimits">;

/** Applies one event, written at `atMs`. Events of kinds that auth does not know are none of its business. */
export async function applyChange(context: FollowingContext, tx: Transaction, event: Any, atMs: number): Promise<void> {
  const account = anyUnpack(event, AccountChangedSchema);
  if (account !== undefined) return applyAccount(context, tx, account, atMs);
  const application = anyUnpack(event, ApplicationChangedSchema);
  if (application !== undefined) return applyApplication(context, tx, application);
  const operator = anyUnpack(event, OperatorChangedSchema);
  if (operator !== undefined) return endAll(context, tx, operator.operatorId, "operator changed", atMs);
  const membership = anyUnpack(event, MembershipChangedSchema);
  if (membership?.role === Role.UNSPECIFIED) await withdrawTokens(context, tx, membership.accountId);
}

/**
 * Cancelled and suspended accounts lose their sessions and tokens at once (SZ-18.2); cancelled ones their credentials
 * for good. `wipe_credentials` voids what was bound before the event, and no more: who confirmed in person may have bound
 * a new password before this event was applied.
 */
async function applyAccount(
  context: FollowingContext,
  tx: Transaction,
  { accountId, state, level, wipeCredentials }: AccountChanged,
  atMs: number,
): Promise<void> {
  if (!isUuid(accountId)) return;
  const cancelled = state === AccountState.CANCELLED;
  if (cancelled || wipeCredentials) {
    const removed = await removePassword(tx, accountId, cancelled ? Number.MAX_SAFE_INTEGER : atMs);
    if (removed) await record(context, tx, "password.removed", accountId, cancelled ? "account cancelled" : "wiped");
  }
  if (state !== AccountState.ACTIVE && state !== AccountState.PENDING) {
    await endAll(context, tx, accountId, cancelled ? "account cancelled" : "account suspended");
    return publishRevoked(tx, context.clock.nowMs(), { kind: "subject", id: accountId });
  }
  if (wipeCredentials) await endAll(context, tx, accountId, "credentials wiped", atMs);
  // Tokens that show more than there is now are void; the session goes on and gets new ones (SU-7.1.1d).
  const lowered = await lowerSessionLevel(tx, accountId, state === AccountState.PENDING ? 1 : level);
  if (lowered) await publishRevoked(tx, context.clock.nowMs(), { kind: "subject", id: accountId });
}

async function applyApplication(
  { clock }: FollowingContext,
  tx: Transaction,
  change: ApplicationChanged,
): Promise<void> {
  const client = readApplication(change);
  if (client === undefined) return;
  await putClient(tx, client);
  if (!client.enabled) await publishRevoked(tx, clock.nowMs(), { kind: "client", id: client.clientId });
}

/** A role ended: tokens that show it are void; the session goes on. */
async function withdrawTokens({ clock, sessionLimits }: FollowingContext, tx: Transaction, subject: string) {
  if (!isUuid(subject)) return;
  const nowMs = clock.nowMs();
  const sessions = await listSessions(tx, subject, { nowMs, usedAfterMs: nowMs - sessionLimits.idleMs, limit: 1 });
  if (sessions.length > 0) await publishRevoked(tx, nowMs, { kind: "subject", id: subject });
}

async function endAll(
  context: FollowingContext,
  tx: Transaction,
  subject: string,
  by: string,
  startedUpToMs?: number,
): Promise<void> {
  if (!isUuid(subject)) return;
  const ended = await endSessionsOf(tx, subject, context.clock.nowMs(), startedUpToMs);
  for (const session of ended) await record(context, tx, "session.ended", subject, by, { session });
}

async function record(
  context: FollowingContext,
  tx: Transaction,
  type: string,
  subject: string,
  by: string,
  details: Record<string, string> = {},
): Promise<void> {
  const event = { type, outcome: "SUCCESS", actor: "registry", subject, details: { ...details, by } } as const;
  await recordEvent(context, tx, { service: "auth" }, event);
}
