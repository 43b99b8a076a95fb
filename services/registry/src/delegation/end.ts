import type { Transaction } from "@fujie/kit/db";
import { refreshLevel } from "../accounts/level.ts";
import { publishMembership } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { type Delegation, endDelegations, findRoleIdsIn, findRoleIdsOf } from "./store.ts";

/** Ends roles with the cascade, tells auth, and lets levels fall that stood on them. Returns what ended. */
export async function endRoles(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  ids: readonly string[],
): Promise<Delegation[]> {
  const ended = await endDelegations(tx, ids, new Date(context.clock.nowMs()));
  for (const { accountId, organisationId } of ended) await publishMembership(tx, accountId, organisationId, undefined);
  const representatives = ended.filter(({ role }) => role === "LEGAL_REPRESENTATIVE");
  for (const { accountId } of representatives) await refreshLevel(context, tx, accountId);
  return ended;
}

/** Ends every role that the person has. */
export async function endRolesOf(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  accountId: string,
): Promise<Delegation[]> {
  return endRoles(context, tx, await findRoleIdsOf(tx, accountId));
}

/** Ends every role in the organisation. */
export async function endRolesIn(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  organisationId: string,
): Promise<Delegation[]> {
  return endRoles(context, tx, await findRoleIdsIn(tx, organisationId));
}
