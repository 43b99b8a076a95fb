/** Ends sessions: the row, the OpenID records that hang on it and the word to every service, in one transaction. */
import type { Transaction } from "@fujie/kit/db";
import { removeSessionRecords } from "../openid/store.ts";
import { publishRevoked } from "../revocations/publish.ts";
import { markAllEnded, markEnded } from "./store.ts";

/** Ends one session; false when it had ended before. */
export async function endSession(tx: Transaction, sessionId: string, atMs: number): Promise<boolean> {
  if (!(await markEnded(tx, sessionId, atMs))) return false;
  await removeSessionRecords(tx, [sessionId]);
  await publishRevoked(tx, atMs, { kind: "session", id: sessionId });
  return true;
}

/** Ends all sessions of a subject that began up to `startedUpToMs`; gives their ids. */
export async function endSessionsOf(
  tx: Transaction,
  subject: string,
  atMs: number,
  startedUpToMs = Number.MAX_SAFE_INTEGER,
): Promise<readonly string[]> {
  const ids = await markAllEnded(tx, subject, startedUpToMs, atMs);
  if (ids.length === 0) return ids;
  await removeSessionRecords(tx, ids);
  await publishRevoked(tx, atMs, ...ids.map((id) => ({ kind: "session" as const, id })));
  return ids;
}
