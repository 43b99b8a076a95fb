/**
 * The OpenID provider: configuration of npm `oidc-provider` and the four places where Fujie decides for itself.
 *
 *   findAccount            is the session live, and what does the registry say now? (accounts.ts)
 *   loadExistingGrant      what may this client have without asking, and for which organisation?
 *   getResourceServerInfo  which scopes, of whom, for the one API there is
 *   customizers.jwt        the claims of access tokens (claims.ts)
 *
 * Everything that the library can do beyond code + PKCE, refresh, client credentials, revocation and sign-out is off.
 */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isUuid } from "@fujie/kit/db";
import { recordRefusal } from "@fujie/kit/record";
import Provider, {
  type AccessToken,
  type ClientCredentials,
  type Configuration,
  errors,
  type Grant,
  type JWTStructured,
  type KoaContextWithOIDC,
  type ResourceServer,
} from "oidc-provider";
import { secretMatches } from "../clients/secrets.ts";
import type { Context } from "../context.ts";
import { pageLanguage, renderFailure, renderSignedOut, renderSignOut } from "../sign-in/pages.ts";
import { redirectTargets, sendPage } from "../sign-in/respond.ts";
import { requestScope, webOrigin } from "../web/request-scope.ts";
import { available, clientOf, findAccount, signedInOf, subjectFor } from "./accounts.ts";
import { createAdapters } from "./adapter.ts";
import {
  ACCESS_TOKEN_LIFETIME_SECONDS,
  applicationClaims,
  grantableScopes,
  subjectClaims,
  subjectScopes,
} from "./claims.ts";
import { cookieKeys } from "./cookie-keys.ts";
import { orderTokenKeys, TokenSigningKey } from "./keys.ts";
import { createPolicy } from "./policy.ts";
import { API, intersect, openidScopes, personScopes } from "./scopes.ts";
import { putGrantOrganisation } from "./store.ts";

export interface OpenidProvider {
  /** The library with the keys of now: after a rotation it is made anew, which costs a few milliseconds and no state. */
  current(): Provider;
  /** Serves one request of OpenID Connect. */
  serve(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

const CODE_LIFETIME_SECONDS = 60;
const INTERACTION_LIFETIME_SECONDS = 600;

export function createOpenidProvider(context: Context): OpenidProvider {
  let made: { readonly keyIds: string; readonly provider: Provider; readonly listener: Listener } | undefined;
  const current = () => {
    const keys = orderTokenKeys(context.ring.publicKeys(), context.clock.nowMs());
    const keyIds = keys.map(({ keyId }) => keyId).join(" ");
    if (made?.keyIds !== keyIds) {
      const signingKeys = keys.map((entry) => new TokenSigningKey(context.ring, entry));
      const provider = makeProvider(context, signingKeys);
      made = { keyIds, provider, listener: provider.callback() };
    }
    return made;
  };
  return {
    current: () => current().provider,
    serve: (request, response) => current().listener(request, response),
  };
}

type Listener = ReturnType<Provider["callback"]>;

/** Paths below the issuer; discovery tells them too. */
export const openidRoutes = {
  authorization: "/authorize",
  token: "/token",
  revocation: "/revoke",
  jwks: "/jwks",
  end_session: "/sign-out",
} as const;

function makeProvider(context: Context, keys: readonly TokenSigningKey[]): Provider {
  const provider = new Provider(context.issuer, configure(context, keys));
  // The listener has set scheme and host to the issuer's own before the library sees a request.
  provider.proxy = true;
  provider.use(async (ctx, next) => {
    if (ctx.path === openidRoutes.authorization) ctx.query = { ...ctx.query, ...askedForRefresh(ctx.query) };
    await next();
    if (ctx.path === openidRoutes.token && ctx.status >= 400) await recordRefusedToken(context, ctx.body);
  });
  provider.Client.prototype.compareClientSecret = function (this: { clientId: string }, secret: string) {
    const { db, ring, clock } = context;
    return secretMatches({ db, ring, nowMs: clock.nowMs() }, this.clientId, secret);
  };
  const logFailure = (error: unknown) => context.log.error({ error }, "the OpenID provider failed");
  provider.on("server_error", (_ctx, error) => logFailure(error));
  // Koa writes to the console what nobody listens to; the library's types leave this event out.
  EventEmitter.prototype.on.call(provider, "error", logFailure);
  return provider;
}

/**
 * The library gives refresh tokens only where consent is part of the prompt (OpenID Connect Core §11 leaves it to the
 * provider). Here the session bounds them, so asking for offline_access is enough.
 */
function askedForRefresh(query: NodeJS.Dict<string | string[]>): { prompt?: string } {
  const { scope, prompt = "" } = query;
  if (typeof scope !== "string" || typeof prompt !== "string") return {};
  const prompts = prompt.split(" ").filter((word) => word !== "");
  if (!scope.split(" ").includes("offline_access") || prompts.includes("none")) return {};
  return { prompt: [...new Set([...prompts, "consent"])].join(" ") };
}

const REFUSALS_RECORDED = { ratePerSecond: 20, burst: 100 };

/** Strangers can ask for tokens as often as they like: what is kept of their refusals is bounded. */
async function recordRefusedToken(context: Context, body: unknown): Promise<void> {
  const error = typeof body === "object" && body !== null && "error" in body ? String(body.error) : "";
  if (error === "temporarily_unavailable" || error === "server_error") return;
  const { allowed } = await context.ephemeral.takeToken("refused-tokens", REFUSALS_RECORDED);
  if (!allowed) return;
  await recordRefusal(context, webOrigin(), {
    type: "token.refused",
    reason: error === "invalid_client" ? "CREDENTIALS_INVALID" : "TOKEN_INVALID",
    actor: "anonymous",
    details: { error },
  });
}

function configure(context: Context, keys: readonly TokenSigningKey[]): Configuration {
  const secure = new URL(context.issuer).protocol === "https:";
  const cookie = { httpOnly: true, sameSite: "lax", secure, signed: true } as const;
  const sessionSeconds = Math.floor(context.sessionLimits.lifetimeMs / 1_000);
  return {
    adapter: createAdapters(context),
    jwks: { keys },
    routes: openidRoutes,
    scopes: [...openidScopes],
    // Every client has its own view of a subject; the platform's own client sees the account itself (subjectFor).
    subjectTypes: ["pairwise"],
    pairwiseIdentifier: (ctx) => visibleSubject(context, ctx),
    sectorIdentifierUriValidate: () => false,
    claims: { openid: ["sub"] },
    responseTypes: ["code"],
    clientAuthMethods: ["client_secret_basic", "none"],
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    extraParams: { organisation_id: checkOrganisationId },
    cookies: {
      names: { session: "fujie_session", interaction: "fujie_interaction", resume: "fujie_resume" },
      long: cookie,
      short: cookie,
      keys: cookieKeys(context.ring),
    },
    interactions: {
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
      policy: createPolicy(context),
    },
    ttl: {
      AccessToken: ACCESS_TOKEN_LIFETIME_SECONDS,
      ClientCredentials: ACCESS_TOKEN_LIFETIME_SECONDS,
      IdToken: ACCESS_TOKEN_LIFETIME_SECONDS,
      AuthorizationCode: CODE_LIFETIME_SECONDS,
      Interaction: INTERACTION_LIFETIME_SECONDS,
      Grant: sessionSeconds,
      RefreshToken: sessionSeconds,
      Session: sessionSeconds,
    },
    // Our own session, not the library's cookie record, is what tokens live and die with.
    expiresWithSession: () => false,
    rotateRefreshToken: true,
    clientBasedCORS: () => false,
    features: {
      devInteractions: { enabled: false },
      externalSigningSupport: { enabled: true, ack: "experimental-01" },
      userinfo: { enabled: false },
      introspection: { enabled: false },
      registration: { enabled: false },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => describeApi(context, ctx, resource, keys),
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          const formTargets = redirectTargets(ctx.oidc.params?.["post_logout_redirect_uri"]);
          sendPage(ctx.res, 200, renderSignOut(pageLanguage(ctx.req), form), ctx, { formTargets });
        },
        postLogoutSuccessSource: (ctx) => sendPage(ctx.res, 200, renderSignedOut(pageLanguage(ctx.req)), ctx),
      },
    },
    findAccount: (_ctx, id, token) => findAccount(context, id, grantIdOf(token)),
    loadExistingGrant: (ctx) => loadGrant(context, ctx),
    extraTokenClaims: (ctx, token) => tokenClaims(context, ctx, token),
    formats: { customizers: { jwt: (_ctx, token, parts) => settleClaims(context, token, parts) } },
    renderError: (ctx, out) => {
      const traceId = requestScope.getStore()?.traceId ?? "";
      const page = renderFailure(pageLanguage(ctx.req), { reason: out.error, traceId });
      sendPage(ctx.res, ctx.status, page, ctx);
    },
  };
}

function checkOrganisationId(_ctx: KoaContextWithOIDC, value: string | undefined): void {
  if (value !== undefined && !isUuid(value)) throw new errors.InvalidRequest("organisation_id is not an id");
}

function grantIdOf(token: unknown): string | undefined {
  const named = typeof token === "object" && token !== null && "grantId" in token ? token.grantId : undefined;
  return typeof named === "string" ? named : undefined;
}

/** The one API. Scopes that the client, or the subject, may not have are not among those that can be granted. */
async function describeApi(
  context: Context,
  ctx: KoaContextWithOIDC,
  resource: string,
  keys: readonly TokenSigningKey[],
): Promise<ResourceServer> {
  if (resource !== API) throw new errors.InvalidTarget("there is no such resource");
  return {
    scope: (await possibleScopes(context, ctx)).join(" "),
    audience: API,
    accessTokenFormat: "jwt",
    accessTokenTTL: ACCESS_TOKEN_LIFETIME_SECONDS,
    jwt: { sign: { alg: "ES256", kid: keys[0]?.kid } },
  };
}

async function possibleScopes(context: Context, ctx: KoaContextWithOIDC): Promise<readonly string[]> {
  const client = await clientOf(context, ctx);
  // When somebody asks for a code nobody is known yet: what the client may have at most is narrowed with the token.
  if (ctx.oidc.route === "authorization" || ctx.oidc.route === "resume") return subjectScopes(client);
  return grantableScopes(client, signedInOf(ctx.oidc.account)?.standing);
}

/**
 * The grant for this authorization request: a fresh one each time, so that two organisations, or two devices, never
 * share one. The platform's own client and plain sign-in need no consent; rights in somebody's name do, and then the
 * grant is the one that was made when consent was given.
 */
async function loadGrant(context: Context, ctx: KoaContextWithOIDC): Promise<Grant | undefined> {
  const client = await clientOf(context, ctx);
  const found = signedInOf(ctx.oidc.account);
  const accountId = ctx.oidc.account?.accountId;
  if (found === undefined || accountId === undefined) return undefined;
  if (!client.firstParty && found.session.kind === "operator") {
    throw new errors.AccessDenied("operators sign in to the platform only");
  }
  const organisationId = await checkOrganisation(context, ctx, found.session);

  const consented = ctx.oidc.result?.consent?.grantId;
  if (consented !== undefined) {
    const grant = await ctx.oidc.provider.Grant.find(consented);
    if (grant?.accountId === accountId && grant.clientId === client.clientId) {
      return keepOrganisation(context, grant, consented, organisationId);
    }
  }
  const scopes = [...ctx.oidc.requestParamScopes];
  if (!client.firstParty && intersect(scopes, intersect(client.scopes, personScopes)).length > 0) return undefined;
  const grant = new ctx.oidc.provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(intersect(scopes, openidScopes).join(" "));
  grant.addResourceScope(API, intersect(scopes, subjectScopes(client)).join(" "));
  return keepOrganisation(context, grant, await grant.save(), organisationId);
}

/** The organisation asked for, once the registry has said that the subject has a role in it. */
async function checkOrganisation(
  { directory }: Context,
  ctx: KoaContextWithOIDC,
  session: { readonly subject: string; readonly kind: "person" | "operator" },
): Promise<string | undefined> {
  const organisationId = ctx.oidc.params?.["organisation_id"];
  if (typeof organisationId !== "string") return undefined;
  const judged = await available(() => directory.judge(session, organisationId));
  if (!judged.ok || judged.standing.organisation === undefined) {
    throw new errors.AccessDenied("no role in the organisation");
  }
  return organisationId;
}

async function keepOrganisation(
  { db, clock, sessionLimits }: Context,
  grant: Grant,
  grantId: string,
  organisationId: string | undefined,
): Promise<Grant> {
  if (organisationId !== undefined) {
    await putGrantOrganisation(db, grantId, organisationId, clock.nowMs() + sessionLimits.lifetimeMs);
  }
  return grant;
}

async function visibleSubject(context: Context, ctx: KoaContextWithOIDC): Promise<string> {
  const found = signedInOf(ctx.oidc.account);
  if (found === undefined) throw new errors.InvalidGrant("nobody is signed in");
  return subjectFor(context, found.session, await clientOf(context, ctx));
}

async function tokenClaims(
  context: Context,
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
): Promise<Record<string, unknown>> {
  const client = await clientOf(context, ctx);
  if (token.kind === "ClientCredentials") {
    // Nobody is asked about an application: whether it was suspended is known from the registry's feed alone.
    if (context.changesAreStale()) throw new errors.TemporarilyUnavailable("the registry is not followed");
    return { ...applicationClaims(client) };
  }
  const found = signedInOf(ctx.oidc.account);
  if (found === undefined) throw new errors.InvalidGrant("nobody is signed in");
  return { ...subjectClaims(found.session, found.standing, client) };
}

/** Times by the service's one clock; the subject instead of the session id that the library knows as the account. */
function settleClaims(
  { clock }: Context,
  { extra }: AccessToken | ClientCredentials,
  { payload }: JWTStructured,
): void {
  const issuedAt = Math.floor(clock.nowMs() / 1_000);
  payload["sub"] = extra?.["sub"];
  payload["iat"] = issuedAt;
  payload["exp"] = issuedAt + ACCESS_TOKEN_LIFETIME_SECONDS;
}
