import type { Transaction } from "@fujie/kit/db";
import { publishAccount } from "../changes/publish.ts";
import { withdrawConsentsOf } from "../consents/store.ts";
import type { Context } from "../context.ts";
import { endRolesOf } from "../delegation/end.ts";
import { voidEnrolments } from "../enrolments/store.ts";
import { bumpPolicy } from "../policy/store.ts";
import { eraseSubjectAt, releaseIdentifiers } from "../subjects/store.ts";
import { setCancelled } from "./store.ts";

/**
 * Ends an account for good: CANCELLED, roles ended with those that hang on them, consents withdrawn, codes void,
 * identifier, login name and pairwise ids given up, so that whoever registers the identifier again is somebody new
 * (SZ-18.3). The sealed rest becomes unreadable at `eraseAt`. All in the caller's transaction. False when it had ended.
 */
export async function endAccount(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  accountId: string,
  eraseAt: Date,
): Promise<boolean> {
  const now = new Date(context.clock.nowMs());
  if (!(await setCancelled(tx, accountId, now))) return false;
  await publishAccount(tx, { accountId, state: "CANCELLED", level: 1 }, { wipeCredentials: true });
  await endRolesOf(context, tx, accountId);
  if ((await withdrawConsentsOf(tx, accountId, now)) > 0) await bumpPolicy(tx);
  await voidEnrolments(tx, { kind: "account", id: accountId });
  await releaseIdentifiers(tx, accountId);
  await eraseSubjectAt(tx, accountId, eraseAt);
  return true;
}
