/** From a proven subject to a session: the same for every method of signing in (SZ-4.2). */
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, type Reason } from "@fujie/kit/errors";
import { recordEvent, recordRefusal } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import type { Subject } from "../directory/directory.ts";
import { removeSessionRecords } from "../openid/store.ts";
import { endSession } from "../sessions/end.ts";
import { isLive, type Session, type SignInMethod } from "../sessions/rules.ts";
import { findSession, insertSession, renewAuthentication } from "../sessions/store.ts";
import { webOrigin } from "../web/request-scope.ts";

/** Where somebody signs in. */
export interface Place {
  /** The interaction's uid. */
  readonly interaction: string;
  /** The session that the browser had before, if any. */
  readonly formerSessionId: string | undefined;
  /** Keyed digest of the network: lets the analysis see that somebody is in several places at once. */
  readonly networkKey?: string;
}

type EstablishContext = Pick<Context, "db" | "clock" | "ring" | "directory" | "sessionLimits">;

/**
 * Starts a session. The same subject in the same browser keeps its session, with a new time of authentication (step-up);
 * anybody else's session in that browser ends. A double submit gives one session.
 * @throws DomainError CREDENTIALS_INVALID when the subject may have no tokens, DEPENDENCY_UNAVAILABLE
 */
export async function establishSession(
  context: EstablishContext,
  place: Place,
  who: Subject,
  method: SignInMethod,
): Promise<Session> {
  const judged = await context.directory.judge(who, undefined);
  if (!judged.ok) throw new DomainError("CREDENTIALS_INVALID", { cause: new DomainError(judged.reason) });
  const { subject, kind } = who;
  const nowMs = context.clock.nowMs();
  const network = place.networkKey === undefined ? {} : { network: place.networkKey };
  return transaction(context.db, async (tx) => {
    const record = (type: string, details: Record<string, string>) =>
      recordEvent(context, tx, webOrigin(), { type, outcome: "SUCCESS", actor: subject, subject, details });

    const former = place.formerSessionId === undefined ? undefined : await findSession(tx, place.formerSessionId);
    if (former?.subject === subject && isLive(former, nowMs, context.sessionLimits)) {
      if (await renewAuthentication(tx, former.id, [method], nowMs)) {
        await record("session.renewed", { session: former.id, method, ...network });
        return { ...former, methods: [method], authenticatedAtMs: nowMs, usedAtMs: nowMs };
      }
    }
    if (place.formerSessionId !== undefined) {
      await endSession(tx, place.formerSessionId, nowMs);
      await removeSessionRecords(tx, [place.formerSessionId]);
    }
    const id = uuidv7(nowMs);
    const expiresAtMs = nowMs + context.sessionLimits.lifetimeMs;
    const { interaction } = place;
    const session = await insertSession(tx, {
      id,
      interaction,
      subject,
      kind,
      methods: [method],
      startedAtMs: nowMs,
      expiresAtMs,
    });
    // Another subject signed in through this very interaction, or that session is over: it is used up.
    if (session?.subject !== subject || session.endedAtMs !== undefined) throw new DomainError("CREDENTIALS_INVALID");
    if (session.id === id) await record("session.started", { session: id, method, ...network });
    return session;
  });
}

/** Records a refused sign-in. The subject is named only where it is known for certain. */
export async function recordRefusedSignIn(
  context: Pick<Context, "db" | "clock" | "ring">,
  reason: Reason,
  method: SignInMethod,
  networkKey: string,
  subject?: string,
): Promise<void> {
  await recordRefusal(context, webOrigin(), {
    type: "session.refused",
    reason,
    actor: "anonymous",
    ...(subject === undefined ? {} : { subject }),
    details: { method, network: networkKey },
  });
}
