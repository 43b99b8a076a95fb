/** One authorization request that waits for somebody: what the OpenID library keeps of it, and how it is answered. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type Provider from "oidc-provider";
import { errors } from "oidc-provider";
import { lookUpClient } from "../clients/look-up.ts";
import type { OauthClient } from "../clients/rules.ts";
import type { Context } from "../context.ts";
import { API, intersect, openidScopes, personScopes } from "../openid/scopes.ts";
import type { Session } from "../sessions/rules.ts";

export type StoredInteraction = Awaited<ReturnType<Provider["interactionDetails"]>>;

export interface Interaction {
  readonly stored: StoredInteraction;
  readonly client: OauthClient;
  readonly prompt: "login" | "consent";
}

/**
 * The interaction of that uid, if the browser holds its cookie; undefined when it is over, or somebody else's. The uid in
 * the path alone opens nothing.
 */
export async function loadInteraction(
  { db }: Pick<Context, "db">,
  provider: Provider,
  uid: string,
  exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
): Promise<Interaction | undefined> {
  try {
    const stored = await provider.interactionDetails(exchange.request, exchange.response);
    const clientId = stored.params["client_id"];
    const client = typeof clientId === "string" ? await lookUpClient(db, clientId) : undefined;
    const prompt = stored.prompt.name;
    if (stored.uid !== uid || client === undefined || (prompt !== "login" && prompt !== "consent")) return undefined;
    return { stored, client, prompt };
  } catch (error) {
    if (error instanceof errors.SessionNotFound) return undefined;
    throw error;
  }
}

/** Answers with a session; gives the address at which the library goes on. */
export async function finishSignIn({ stored }: Interaction, session: Session): Promise<string> {
  // Another session than before: the browser's former one was ended, and the library must not wait for it.
  if (stored.session !== undefined && stored.session.accountId !== session.id) delete stored.session;
  stored.result = {
    login: {
      accountId: session.id,
      amr: [...session.methods],
      ts: Math.floor(session.authenticatedAtMs / 1_000),
      remember: true,
    },
  };
  await stored.persist();
  return stored.returnTo;
}

/** What a client asks to do in somebody's name. */
export function askedScopes({ stored, client }: Interaction): readonly string[] {
  const scope = stored.params["scope"];
  const asked = typeof scope === "string" ? scope.split(" ") : [];
  return intersect(asked, intersect(client.scopes, personScopes));
}

/** Answers with a grant of what was asked; gives the address at which the library goes on. */
export async function finishConsent(provider: Provider, interaction: Interaction): Promise<string | undefined> {
  const { stored, client } = interaction;
  const accountId = stored.session?.accountId;
  if (accountId === undefined) return undefined;
  const scope = stored.params["scope"];
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(intersect(typeof scope === "string" ? scope.split(" ") : [], openidScopes).join(" "));
  grant.addResourceScope(API, askedScopes(interaction).join(" "));
  stored.result = { ...stored.lastSubmission, consent: { grantId: await grant.save() } };
  await stored.persist();
  return stored.returnTo;
}

/** Answers with a refusal by the person. */
export async function abortInteraction({ stored }: Interaction): Promise<string> {
  stored.result = { error: "access_denied", error_description: "the person did not sign in" };
  await stored.persist();
  return stored.returnTo;
}
