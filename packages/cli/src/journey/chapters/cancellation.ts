/** Chapter 8: the clerk leaves. Every service refuses within a second; coming back makes a new identity. */
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { IdentityService } from "@fujie/api/fujie/auth/v1/identity";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { refresh, type Tokens } from "../../sign-in/sign-in.ts";
import { callService } from "../callers.ts";
import { eventually, expectThat, reasonOf } from "../expect.ts";
import { type Account, type Stage, signInPerson } from "../stage.ts";
import { confirm, counterToken } from "./counter.ts";
import { register } from "./registration.ts";

const REFUSED_WITHIN_MS = 1_000;

export async function playCancellation(
  stage: Stage,
  person: SyntheticPerson,
  clerk: Account,
  held: Tokens,
): Promise<void> {
  const { narrator, platform, trace } = stage;
  const { accessToken: token } = await signInPerson(stage, clerk);
  const accounts = callService(AccountService, platform.httpUrl("registry"), { token, trace });
  await accounts.cancelAccount({ requestId: crypto.randomUUID(), confirmed: true });
  const cancelledMs = performance.now();
  narrator.asks("the clerk", "cancels the account");
  const slowest = await Promise.all(
    refusalsOf(stage, held.accessToken).map(async (ask) => {
      await eventually("a refusal", ask, (reason) => reason === "TOKEN_REVOKED", { timeoutMs: 5_000, everyMs: 20 });
      return performance.now() - cancelledMs;
    }),
  ).then((times) => Math.max(...times));
  expectThat(slowest <= REFUSED_WITHIN_MS, `all four services refuse within a second (took ${Math.round(slowest)} ms)`);
  narrator.answers("all four services", `TOKEN_REVOKED, the slowest after ${Math.round(slowest)} ms`);
  const refreshed = await refresh(platform.issuer, held.refreshToken ?? "").then(
    () => "accepted",
    () => "refused",
  );
  expectThat(refreshed === "refused", "the refresh token is refused");
  const again = await signInPerson(stage, clerk).then(
    () => "accepted",
    (error: unknown) => String((error as { reason?: string }).reason),
  );
  expectThat(again === "CREDENTIALS_INVALID", `signing in again is refused, got ${again}`);
  narrator.refused("the refresh token, and signing in again", again);

  const pending = await register(stage, person, `${clerk.loginName}2`);
  const returned = await confirm(stage, await counterToken(stage), person, pending);
  expectThat(returned.accountId !== clerk.accountId, "a new account id");
  const { accessToken } = await signInPerson(stage, returned);
  const own = await callService(AccountService, platform.httpUrl("registry"), {
    token: accessToken,
    trace,
  }).getOwnAccount({});
  expectThat(own.memberships.length === 0 && own.level === 2, "no old role comes back");
  narrator.answers("registry", "registered again: full verification, a new identity, none of the old roles");
}

/** One call to each service with the same token; each tells the reason of its refusal. */
export function refusalsOf(
  { platform, trace }: Pick<Stage, "platform" | "trace">,
  token: string,
): (() => Promise<string>)[] {
  const call = { token, trace };
  const told = (answer: Promise<unknown>) => answer.then(() => "accepted", reasonOf);
  const identity = callService(IdentityService, platform.httpUrl("auth"), call);
  const accounts = callService(AccountService, platform.httpUrl("registry"), call);
  const verifications = callService(VerificationService, platform.httpUrl("trust-gateway"), call);
  const log = callService(LogService, platform.httpUrl("audit"), call);
  return [
    () => told(identity.whoAmI({})),
    () => told(accounts.getOwnAccount({})),
    () => told(verifications.listSources({})),
    () => told(log.listEntries({ purpose: "journey.refusal", filter: { case: "type", value: "none" } })),
  ];
}
