/**
 * Signs a subject in as a native application does (RFC 8252: authorization code, PKCE, loopback redirect), without a
 * browser window:
 *
 *   /authorize ─▶ /interaction/<uid> ─▶ password or certificate ─▶ /authorize/<uid> ─▶ redirect with the code ─▶ /token
 */
import * as client from "openid-client";
import { type Browser, openBrowser } from "./browser.ts";

export type SignInMethod =
  | { readonly kind: "password"; readonly loginName: string; readonly password: string }
  | {
      readonly kind: "certificate";
      /** DER, the signer's first. */
      readonly certificates: readonly Uint8Array[];
      /** Signs the challenge with the certificate's key; raw form. */
      readonly sign: (message: Uint8Array) => Promise<Uint8Array>;
    };

export interface SignInOptions {
  readonly issuer: string;
  readonly method: SignInMethod;
  readonly scopes: readonly string[];
  /** The organisation to act for. */
  readonly organisationId?: string;
  /** W3C trace context that every request carries. */
  readonly traceparent?: string;
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly idToken: string | undefined;
  readonly expiresInSeconds: number;
}

/** auth refused the sign-in, for a reason of the catalogue. */
export class SignInError extends Error {
  override readonly name = "SignInError";
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The command line's own client, built into auth. */
export const CLI_CLIENT_ID = "fujie-cli";
const REDIRECT_URI = "http://127.0.0.1/callback";
const REDIRECTS_MAX = 10;

export async function signIn(options: SignInOptions): Promise<Tokens> {
  const config = await discover(options.issuer);
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const start = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    scope: ["openid", "offline_access", ...options.scopes].join(" "),
    prompt: "consent",
    resource: "urn:fujie:api",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    ...(options.organisationId === undefined ? {} : { organisation_id: options.organisationId }),
  });
  const callback = await walkToCallback(openBrowser(options.traceparent), start, options.method);
  const tokens = await client.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: verifier,
    expectedState: state,
  });
  return toTokens(tokens);
}

/** Exchanges a refresh token; fails once the session or the account has ended. */
export async function refresh(issuer: string, refreshToken: string): Promise<Tokens> {
  const config = await discover(issuer);
  return toTokens(await client.refreshTokenGrant(config, refreshToken, { resource: "urn:fujie:api" }));
}

async function discover(issuer: string): Promise<client.Configuration> {
  return client.discovery(new URL(issuer), CLI_CLIENT_ID, undefined, client.None(), {
    // Only ever loopback: auth refuses clear text anywhere else.
    execute: issuer.startsWith("http://127.0.0.1") ? [client.allowInsecureRequests] : [],
  });
}

function toTokens(response: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers): Tokens {
  return {
    accessToken: response.access_token,
    refreshToken: response.refresh_token,
    idToken: response.id_token,
    expiresInSeconds: response.expires_in ?? 0,
  };
}

/** Follows redirects and answers the interaction until the callback comes round; the callback itself is not fetched. */
async function walkToCallback(browser: Browser, start: URL, method: SignInMethod): Promise<URL> {
  let url = start;
  for (let hops = 0; hops < REDIRECTS_MAX; hops += 1) {
    if (url.href.startsWith(`${REDIRECT_URI}?`)) return url;
    const next = url.pathname.startsWith("/interaction/")
      ? await answer(browser, url, method)
      : (await browser.request(url)).headers.get("location");
    if (next === null) throw new SignInError("INTERNAL", "the sign-in ended without a redirect");
    url = new URL(next, url);
  }
  throw new SignInError("INTERNAL", "the sign-in redirects without end");
}

interface Interaction {
  readonly certificateChallenge?: { readonly message: string };
}

async function answer(browser: Browser, url: URL, method: SignInMethod): Promise<string> {
  const page = await browser.request(url, { headers: { accept: "application/json" } });
  const interaction = (await page.json()) as Interaction;
  const body =
    method.kind === "password"
      ? { loginName: method.loginName, password: method.password }
      : await certificateProof(method, interaction);
  const response = await browser.request(new URL(`${url.pathname}/${method.kind}`, url), {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const result = (await response.json()) as { location?: string; reason?: string; message?: string };
  if (response.status === 200 && result.location !== undefined) return result.location;
  throw new SignInError(result.reason ?? "INTERNAL", result.message ?? "the sign-in was refused");
}

async function certificateProof(
  method: Extract<SignInMethod, { kind: "certificate" }>,
  { certificateChallenge }: Interaction,
): Promise<object> {
  if (certificateChallenge === undefined) throw new SignInError("INTERNAL", "the page offers no certificate challenge");
  const signature = await method.sign(Buffer.from(certificateChallenge.message, "base64"));
  return {
    certificates: method.certificates.map((certificate) => Buffer.from(certificate).toString("base64")),
    signature: Buffer.from(signature).toString("base64"),
    format: "raw",
  };
}
