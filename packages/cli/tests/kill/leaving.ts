/** An account that ends, and what is left of it, whatever is killed meanwhile. */
import assert from "node:assert/strict";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { refusalsOf } from "../../src/journey/chapters/cancellation.ts";
import { type Account, type Stage, signInPerson } from "../../src/journey/stage.ts";
import { refresh, type Tokens } from "../../src/sign-in/sign-in.ts";
import type { Ledger } from "./ledger.ts";
import { signIn } from "./person.ts";
import { refusalOf, stubbornly, untilAnswered } from "./stubborn.ts";

/** After which a service that is up must have followed the revocation. Far above the second that it has when idle. */
const REVOKED_WITHIN_MS = 15_000;

export async function cancel(stage: Stage, ledger: Ledger, account: Account): Promise<void> {
  const { accessToken: token } = await signIn(stage, ledger, account);
  const accounts = callService(AccountService, stage.platform.httpUrl("registry"), { token, trace: newTrace() });
  const request = { requestId: crypto.randomUUID(), confirmed: true };
  // When the answer is lost with the process, the next question comes from an account that is no more.
  await stubbornly(() => accounts.cancelAccount(request), ["TOKEN_REVOKED"]);
  ledger.note("account.cancelled", { case: "subject", value: account.accountId });
}

/** Nothing works any more: no service takes the tokens, none is to be had. All services must be up. */
export async function assertGone(stage: Stage, account: Account, held: Tokens): Promise<void> {
  for (const ask of refusalsOf({ ...stage, trace: newTrace() }, held.accessToken)) {
    // A token of another hour is refused before anybody looks whether it is revoked.
    const isRefused = (reason: string) => reason === "TOKEN_REVOKED" || reason === "TOKEN_EXPIRED";
    await untilAnswered("the token of a cancelled account is refused", ask, isRefused, REVOKED_WITHIN_MS);
    assert.ok(isRefused(await ask()), "and stays refused");
  }
  await assert.rejects(refresh(stage.platform.issuer, held.refreshToken ?? ""), "no refresh");
  assert.equal(await stubbornly(() => refusalOf(signInPerson(stage, account))), "CREDENTIALS_INVALID");
}
