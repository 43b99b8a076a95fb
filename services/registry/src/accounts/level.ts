import type { Transaction } from "@fujie/kit/db";
import { publishAccount } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { representsActiveOrganisation } from "../delegation/store.ts";
import { findEvidence } from "../evidence/store.ts";
import { deriveLevel } from "./rules.ts";
import { lockAccount, setLevel } from "./store.ts";

/**
 * Derives the account's level anew from evidence and links, and tells auth when it changed (SU-7.1.1d): in live
 * sessions too the level falls with what it stood on. Called wherever evidence, roles or states change.
 */
export async function refreshLevel({ ring }: Pick<Context, "ring">, tx: Transaction, accountId: string): Promise<void> {
  const account = await lockAccount(tx, accountId);
  if (account === undefined || account.state === "CANCELLED") return;
  const level = deriveLevel({
    state: account.state,
    evidence: await findEvidence(tx, ring, accountId),
    representsOrganisation: await representsActiveOrganisation(tx, accountId),
  });
  if (level === account.level) return;
  await setLevel(tx, accountId, level);
  await publishAccount(tx, { ...account, level }, { wipeCredentials: false });
}
