import type { HandlerContext } from "@connectrpc/connect";
import type { Transaction } from "@fujie/kit/db";
import { type Origin, recordEvent } from "@fujie/kit/record";
import { endAccount } from "../accounts/end.ts";
import type { Context } from "../context.ts";
import { type Registration, setRegistrationState } from "./store.ts";

/**
 * Ends a registration that nobody will confirm, and its account with it: no failed check leaves a usable account
 * (SZ-4.1), and the login name is free again. What was collected is erased when the registration would have expired.
 */
export async function endRegistration(
  context: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  from: HandlerContext | Origin,
  registration: Registration,
  ending: { readonly state: "REJECTED" | "EXPIRED"; readonly because: string },
): Promise<void> {
  const { registrationId, accountId, expireAt } = registration;
  await setRegistrationState(tx, registrationId, ending.state);
  await endAccount(context, tx, accountId, expireAt);
  await recordEvent(context, tx, from, {
    type: ending.state === "REJECTED" ? "registration.rejected" : "registration.expired",
    outcome: "SUCCESS",
    subject: accountId,
    details: { registration_id: registrationId, because: ending.because },
  });
}
