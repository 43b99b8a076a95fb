/** What a participant does whose questions are not answered: asks again, with the same contents. */
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { isReason, reasons } from "@fujie/kit/errors";
import { backoffMs } from "@fujie/kit/timers";
import { reasonOf } from "../../src/journey/expect.ts";
import { SignInError } from "../../src/sign-in/sign-in.ts";

/** Long enough for a machine that has much else to do. */
export const PATIENCE_MS = 240_000;
const PAUSE = { baseMs: 100, capMs: 1_000 };

/**
 * Repeats a call while the failure is one that a caller may repeat after. `settled` names reasons that say, once an
 * answer was lost, that the lost one was a yes; the outcome is then undefined.
 */
export async function stubbornly<T>(call: () => Promise<T>): Promise<T>;
export async function stubbornly<T>(call: () => Promise<T>, settled: readonly string[]): Promise<T | undefined>;
export async function stubbornly<T>(call: () => Promise<T>, settled: readonly string[] = []): Promise<T | undefined> {
  const endMs = performance.now() + PATIENCE_MS;
  for (let lostAnswers = 0; ; lostAnswers += 1) {
    try {
      return await call();
    } catch (error) {
      if (lostAnswers > 0 && settled.includes(reasonOf(error))) return undefined;
      if (!mayRepeat(error) || performance.now() > endMs) throw error;
      await sleep(backoffMs(lostAnswers + 1, PAUSE));
    }
  }
}

/** Asks until the answer satisfies; each question is asked stubbornly. Throws with `what` when patience ends. */
export async function untilAnswered<T>(
  what: string,
  ask: () => Promise<T>,
  satisfies: (answer: T) => boolean,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (let asked = 1; ; asked += 1) {
    const answer = await stubbornly(ask);
    if (satisfies(answer)) return answer;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(backoffMs(asked, PAUSE));
  }
}

/** The reason of a refusal that stays one, or "accepted"; throws what may be repeated. */
export async function refusalOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "accepted";
  } catch (error) {
    if (mayRepeat(error)) throw error;
    return error instanceof SignInError ? error.reason : reasonOf(error);
  }
}

function mayRepeat(error: unknown): boolean {
  if (error instanceof SignInError) return isReason(error.reason) ? reasons[error.reason].retryable : true;
  if (!(error instanceof ConnectError)) return true;
  const reason = reasonOf(error);
  // Without a reason of ours the answer never came: the connection broke.
  return isReason(reason) ? reasons[reason].retryable : true;
}
