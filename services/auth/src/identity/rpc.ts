import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { IdentityService } from "@fujie/api/fujie/auth/v1/identity";
import { isUuid, transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { type FindOwners, subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { endSession } from "../sessions/end.ts";
import { endsAtMs } from "../sessions/rules.ts";
import { findSession, listSessions } from "../sessions/store.ts";

const SESSIONS_MAX = 100;

type IdentityContext = Pick<Context, "db" | "clock" | "ring" | "sessionLimits">;

export function identityService(context: IdentityContext): ServiceImpl<typeof IdentityService> {
  const { db, clock, sessionLimits } = context;
  return {
    whoAmI(_request, call) {
      const token = subjectOf(call);
      return {
        subject: token.subject,
        kind: token.kind,
        clientId: token.clientId,
        applicationId: token.application ?? "",
        scopes: [...token.scopes],
        level: token.level,
        organisationId: token.organisation ?? "",
        role: token.role ?? "",
        expireTime: timestampFromMs(token.expiresAtMs),
      };
    },

    async listSessions(_request, call) {
      const nowMs = clock.nowMs();
      const live = { nowMs, usedAfterMs: nowMs - sessionLimits.idleMs, limit: SESSIONS_MAX };
      const sessions = await listSessions(db, subjectOf(call).subject, live);
      return {
        sessions: sessions.map((session) => ({
          sessionId: session.id,
          signInTime: timestampFromMs(session.startedAtMs),
          methods: [...session.methods],
          expireTime: timestampFromMs(endsAtMs(session, sessionLimits)),
        })),
      };
    },

    async endSession({ sessionId }, call) {
      const { subject } = subjectOf(call);
      const nowMs = clock.nowMs();
      const endedAtMs = await transaction(db, async (tx) => {
        if (await endSession(tx, sessionId, nowMs)) {
          const details = { session: sessionId, by: "subject" };
          await recordEvent(context, tx, call, { type: "session.ended", outcome: "SUCCESS", subject, details });
        }
        // A repetition is told when it ended the first time.
        return (await findSession(tx, sessionId))?.endedAtMs ?? nowMs;
      });
      return { endTime: timestampFromMs(endedAtMs) };
    },
  };
}

/** Whose a session is, for the access rule of EndSession. */
export function sessionOwners({ db }: Pick<Context, "db">): FindOwners {
  return async (sessionId) => {
    const session = isUuid(sessionId) ? await findSession(db, sessionId) : undefined;
    return session === undefined ? undefined : { subjects: [session.subject] };
  };
}
