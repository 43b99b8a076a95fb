/** The claims of access tokens (docs/design.md), in exactly the shape that the verifiers of all services accept. */
import type { OauthClient } from "../clients/rules.ts";
import type { Standing } from "../directory/rules.ts";
import type { Session } from "../sessions/rules.ts";
import { applicationScopes, intersect, operatorScopes, personScopes } from "./scopes.ts";

/** Within the verifiers' bound of five minutes. */
export const ACCESS_TOKEN_LIFETIME_SECONDS = 300;

export type Claims = Readonly<Record<string, unknown>>;

/** What only auth knows of a token about a person or operator. */
export function subjectClaims(session: Session, standing: Standing, client: OauthClient): Claims {
  const { organisation } = standing;
  return {
    sub: session.subject,
    kind: standing.kind,
    ...applicationClaim(client),
    ...(standing.kind === "person" ? { level: standing.level } : {}),
    ...(organisation === undefined ? {} : { org: organisation.id, role: organisation.role }),
    sid: session.id,
    auth_time: Math.floor(session.authenticatedAtMs / 1_000),
    amr: session.methods,
  };
}

/** What only auth knows of an application's own token. */
export function applicationClaims(client: OauthClient): Claims {
  return { sub: client.clientId, kind: "application", ...applicationClaim(client) };
}

function applicationClaim({ applicationId }: OauthClient): Claims {
  return applicationId === undefined ? {} : { app: applicationId };
}

/** The scopes that a token of the client may carry: about the subject, or about the client itself without one. */
export function grantableScopes(client: OauthClient, standing: Standing | undefined): readonly string[] {
  return intersect(client.scopes, standing === undefined ? applicationScopes : standing.scopes);
}

/** The scopes that a client may ask for in somebody's name, whoever that will be. */
export function subjectScopes(client: OauthClient): readonly string[] {
  return intersect(client.scopes, [...personScopes, ...operatorScopes]);
}
