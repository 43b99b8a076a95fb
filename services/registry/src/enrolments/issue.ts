import type { Transaction } from "@fujie/kit/db";
import type { Context } from "../context.ts";
import { type EnrolmentHolder, enrolmentDigestInput, enrolmentExpiry, generateEnrolmentCode } from "./rules.ts";
import { insertEnrolment, voidEnrolments } from "./store.ts";

/** Gives the holder a fresh one-time code, in place of any before. The code exists in the answer only. */
export async function issueEnrolment(
  { ring, clock }: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  holder: EnrolmentHolder,
): Promise<string> {
  const code = generateEnrolmentCode();
  await voidEnrolments(tx, holder);
  const digest = ring.hmac("blind-index", enrolmentDigestInput(code));
  await insertEnrolment(tx, digest, holder, enrolmentExpiry(holder.kind, clock.nowMs()));
  return code;
}
