import type { ServiceImpl } from "@connectrpc/connect";
import type { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent, recordRefusal } from "@fujie/kit/record";
import { digestSecret, newSecret, SECRET_OVERLAP_MS } from "../clients/secrets.ts";
import { putSecret } from "../clients/store.ts";
import type { Context } from "../context.ts";
import type { Enrolled } from "../directory/directory.ts";
import { endSessionsOf } from "../sessions/end.ts";
import { loginDigests } from "../sign-in/password.ts";
import { countAttempt } from "../sign-in/throttle.ts";
import { type PasswordReason, weaknessOf } from "./rules.ts";
import { sealHash } from "./sealed-hash.ts";
import { putPassword } from "./store.ts";

/** Enrolments are rare; codes are too long to be guessed, so this bounds the registry's load, not the guessing. */
const ENROLMENTS = { ratePerSecond: 50, burst: 200 };
const ATTEMPTS_WITH_ONE_CODE_MAX = 20;

const advice: Readonly<Record<PasswordReason, string>> = {
  length: "must be 10 to 128 characters",
  common: "is one of those that are tried first",
  predictable: "is too regular",
  characters: "holds characters that cannot be typed again",
};

/** Everybody may call: the one-time code is the whole authority (ADR 0002). */
export function credentialService(context: Context): ServiceImpl<typeof CredentialService> {
  return {
    async bindPassword({ enrolmentCode, password }, call) {
      // The code is taken last of all: a weak password or an overloaded service must not cost it.
      const weakness = weaknessOf(password);
      if (weakness !== undefined) throw fieldError("PASSWORD_TOO_WEAK", "password", advice[weakness]);
      await countEnrolment(context, enrolmentCode);
      const phc = await context.hasher.hash(password);
      // A repetition with the same password is the same use of the code: nothing is lost when this process dies here.
      const enrolled = await redeem(context, enrolmentCode, `password:${password}`);
      if (enrolled?.kind !== "account") {
        await recordRefusal(context, call, { type: "password.refused", reason: "ENROLMENT_INVALID" });
        throw new DomainError("ENROLMENT_INVALID");
      }
      const { accountId, loginName } = enrolled;
      const nowMs = context.clock.nowMs();
      await transaction(context.db, async (tx) => {
        await putPassword(tx, {
          accountId,
          sealedHash: sealHash(context.ring, accountId, phc),
          boundAtMs: nowMs,
          loginName: loginDigests(context.ring, loginName),
        });
        const ended = await endSessionsOf(tx, accountId, nowMs);
        await recordEvent(context, tx, call, {
          type: "password.bound",
          outcome: "SUCCESS",
          actor: accountId,
          subject: accountId,
          details: { sessionsEnded: String(ended.length) },
        });
      });
      return { accountId };
    },

    async issueClientSecret({ enrolmentCode }, call) {
      await countEnrolment(context, enrolmentCode);
      const enrolled = await redeem(context, enrolmentCode, crypto.randomUUID());
      if (enrolled?.kind !== "client") {
        await recordRefusal(context, call, { type: "client-secret.refused", reason: "ENROLMENT_INVALID" });
        throw new DomainError("ENROLMENT_INVALID");
      }
      const { clientId } = enrolled;
      const clientSecret = newSecret();
      const nowMs = context.clock.nowMs();
      const digest = digestSecret(context.ring, clientId, clientSecret);
      await transaction(context.db, async (tx) => {
        await putSecret(tx, { clientId, digest, issuedAtMs: nowMs }, nowMs + SECRET_OVERLAP_MS);
        await recordEvent(context, tx, call, {
          type: "client-secret.issued",
          outcome: "SUCCESS",
          actor: clientId,
          details: { client: clientId },
        });
      });
      return { clientId, clientSecret };
    },
  };
}

async function countEnrolment(context: Context, enrolmentCode: string): Promise<void> {
  const { ephemeral, ring } = context;
  const { allowed, retryAfterMs } = await ephemeral.takeToken("enrolments", ENROLMENTS);
  if (!allowed) throw new DomainError("SIGN_IN_THROTTLED", { retryDelayMs: retryAfterMs });
  const digest = ring.hmac("cache-key", `enrolment:${enrolmentCode}`).digest.toString("base64url");
  await countAttempt(context, [{ key: `enrolment:${digest}`, max: ATTEMPTS_WITH_ONE_CODE_MAX }]);
}

/** Whose credential the code binds; undefined for a code that is none, used or over. */
async function redeem({ directory, ring }: Context, enrolmentCode: string, use: string): Promise<Enrolled | undefined> {
  const { digest } = ring.hmac("request-digest", `enrolment:${enrolmentCode}\n${use}`);
  try {
    return await directory.redeem(enrolmentCode, digest.toString("base64url"));
  } catch (error) {
    if (error instanceof DomainError && error.reason === "ENROLMENT_INVALID") return undefined;
    throw error;
  }
}
