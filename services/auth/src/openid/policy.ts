/** When somebody must see a page before an application gets its answer. */
import { interactionPolicy } from "oidc-provider";
import type { Context } from "../context.ts";
import { clientOf, signedInOf, subjectFor } from "./accounts.ts";

const { Check, base } = interactionPolicy;

export function createPolicy(context: Pick<Context, "db" | "directory">): interactionPolicy.DefaultPolicy {
  const policy = base();
  const login = policy.get("login");
  const consent = policy.get("consent");
  if (login === undefined || consent === undefined) throw new Error("the OpenID library lacks its prompts");

  const replaced = ["id_token_hint", "claims_id_token_sub_value"];
  drop(login.checks, replaced);
  login.checks.push(
    new Check("session_over", "the session has ended", "login_required", ({ oidc }) => {
      return oidc.session?.accountId !== undefined && oidc.account === undefined;
    }),
    new Check("id_token_hint", "the hint names somebody else", "login_required", async (ctx) => {
      const hint = ctx.oidc.entities.IdTokenHint;
      if (hint === undefined) return false;
      const found = signedInOf(ctx.oidc.account);
      if (found === undefined) return true;
      return hint.payload["sub"] !== (await subjectFor(context, found.session, await clientOf(context, ctx)));
    }),
  );

  // Consent is asked for what an application wants to do at the API in somebody's name, and for nothing else.
  drop(consent.checks, ["consent_prompt", "native_client_prompt", "op_claims_missing", "rar_prompt"]);
  return policy;
}

function drop(checks: interactionPolicy.Check[], reasons: readonly string[]): void {
  const kept = checks.filter(({ reason }) => !reasons.includes(reason));
  checks.splice(0, checks.length, ...kept);
}
