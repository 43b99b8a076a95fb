/** OAuth clients: from the registry's word to what the OpenID library wants to know. */

import { ApplicationKind } from "@fujie/api/fujie/registry/v1/applications";
import type { ApplicationChanged } from "@fujie/api/fujie/registry/v1/events";
import type { ClientMetadata } from "oidc-provider";
import { applicationScopes, openidScopes, operatorScopes, personScopes } from "../openid/scopes.ts";

export interface OauthClient {
  readonly clientId: string;
  /** Undefined for the platform's own client. */
  readonly applicationId: string | undefined;
  readonly kind: "CONFIDENTIAL" | "NATIVE";
  readonly enabled: boolean;
  /** Shown to users. */
  readonly name: string;
  readonly redirectUris: readonly string[];
  /** What its tokens may carry, about whomever. */
  readonly scopes: readonly string[];
  readonly sector: string;
  /** The platform's own: sees account ids, and asks nobody for consent. */
  readonly firstParty: boolean;
}

/** The command line's own client: public, on loopback at any port (RFC 8252 §7.3). */
export const commandLineClient: OauthClient = {
  clientId: "fujie-cli",
  applicationId: undefined,
  kind: "NATIVE",
  enabled: true,
  name: "符节 Fujie",
  redirectUris: ["http://127.0.0.1/callback"],
  scopes: [...openidScopes, ...personScopes, ...operatorScopes],
  sector: "fujie",
  firstParty: true,
};

/**
 * The client of an application, or undefined for a change that names none. An application never gets the scopes of
 * operators, whatever was registered.
 */
export function readApplication(change: ApplicationChanged): OauthClient | undefined {
  const kind = kindOf(change.kind);
  if (kind === undefined || change.clientId === "" || change.clientId === commandLineClient.clientId) return undefined;
  const known: readonly string[] = ["openid", ...applicationScopes, ...personScopes];
  return {
    clientId: change.clientId,
    applicationId: change.applicationId,
    kind,
    enabled: change.enabled,
    name: change.name,
    redirectUris: change.redirectUris,
    scopes: change.scopes.filter((scope) => known.includes(scope)),
    sector: change.sector,
    firstParty: false,
  };
}

function kindOf(kind: ApplicationKind): OauthClient["kind"] | undefined {
  if (kind === ApplicationKind.CONFIDENTIAL) return "CONFIDENTIAL";
  if (kind === ApplicationKind.NATIVE) return "NATIVE";
  return undefined;
}

/**
 * The client as the OpenID library wants it. Secrets are compared by `secretMatches` alone; `unusedSecret` stands where
 * the library insists on one and must be a random value that nobody knows.
 */
export function toMetadata(client: OauthClient, unusedSecret: string): ClientMetadata {
  const confidential = client.kind === "CONFIDENTIAL";
  const interactive = client.redirectUris.length > 0;
  const scopes = client.scopes.includes("openid") ? ["openid", "offline_access"] : ["offline_access"];
  return {
    client_id: client.clientId,
    client_name: client.name,
    application_type: confidential ? "web" : "native",
    token_endpoint_auth_method: confidential ? "client_secret_basic" : "none",
    ...(confidential ? { client_secret: unusedSecret } : {}),
    redirect_uris: [...client.redirectUris],
    // Where sign-in may return to, sign-out may return to as well.
    post_logout_redirect_uris: [...client.redirectUris],
    response_types: interactive ? ["code"] : [],
    grant_types: [
      ...(interactive ? ["authorization_code", "refresh_token"] : []),
      ...(confidential ? ["client_credentials"] : []),
    ],
    scope: scopes.join(" "),
    // Sectors are names that the registry gave; the library wants an address for them, which is never fetched.
    subject_type: "pairwise",
    sector_identifier_uri: `https://sector.invalid/${encodeURIComponent(client.sector)}`,
    id_token_signed_response_alg: "ES256",
    require_auth_time: false,
  };
}
