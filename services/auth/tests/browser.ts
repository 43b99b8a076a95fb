/** A browser reduced to what matters: a cookie jar by path, and redirects that are followed by hand. */
import { strict as assert } from "node:assert";
import * as oidc from "openid-client";

interface Cookie {
  readonly value: string;
  readonly path: string;
  readonly attributes: string;
}

export interface Browser {
  readonly cookies: Map<string, Cookie>;
  get(url: string, headers?: Record<string, string>): Promise<Response>;
  post(url: string, body: string, headers?: Record<string, string>): Promise<Response>;
  postJson(url: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  postForm(url: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Response>;
}

export function openBrowser(): Browser {
  const cookies = new Map<string, Cookie>();
  const keep = (response: Response): Response => {
    for (const line of response.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ");
      const at = pair.indexOf("=");
      const find = (name: string) =>
        attributes.find((attribute) => attribute.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1);
      const path = find("path") ?? "/";
      const key = `${pair.slice(0, at)} ${path}`;
      const expires = find("expires");
      if (pair.slice(at + 1) === "" || (expires !== undefined && Date.parse(expires) < Date.now())) cookies.delete(key);
      else cookies.set(key, { value: pair.slice(at + 1), path, attributes: attributes.join("; ") });
    }
    return response;
  };
  const cookieHeader = (url: string): Record<string, string> => {
    const { pathname } = new URL(url);
    const sent = [...cookies].filter(([, cookie]) => pathname === cookie.path || pathname.startsWith(cookie.path));
    if (sent.length === 0) return {};
    return { cookie: sent.map(([key, cookie]) => `${key.split(" ")[0]}=${cookie.value}`).join("; ") };
  };
  const send = async (url: string, init: RequestInit, headers: Record<string, string>) =>
    keep(await fetch(url, { ...init, redirect: "manual", headers: { ...cookieHeader(url), ...headers } }));
  const post: Browser["post"] = (url, body, headers = {}) => send(url, { method: "POST", body }, headers);

  return {
    cookies,
    get: (url, headers = {}) => send(url, {}, headers),
    post,
    postJson: (url, body, headers = {}) =>
      post(url, JSON.stringify(body), { "content-type": "application/json", accept: "application/json", ...headers }),
    postForm: (url, fields, headers = {}) =>
      post(url, new URLSearchParams(fields).toString(), {
        "content-type": "application/x-www-form-urlencoded",
        accept: "text/html",
        ...headers,
      }),
  };
}

export const CALLBACK = "http://127.0.0.1:49152/callback";

export interface Relying {
  readonly config: oidc.Configuration;
  readonly redirectUri: string;
}

/** A real OpenID client, by discovery. */
export async function discover(issuer: string, clientId = "fujie-cli", secret?: string): Promise<Relying> {
  const authentication = secret === undefined ? oidc.None() : oidc.ClientSecretBasic(secret);
  const config = await oidc.discovery(new URL(issuer), clientId, {}, authentication, {
    execute: [oidc.allowInsecureRequests],
  });
  return { config, redirectUri: CALLBACK };
}

export interface Authorization {
  readonly url: string;
  readonly verifier: string;
  readonly state: string;
}

export async function beginAuthorization(
  { config, redirectUri }: Relying,
  scope: string,
  parameters: Record<string, string> = {},
): Promise<Authorization> {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope,
    state,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...parameters,
  });
  return { url: url.href, verifier, state };
}

/** Opens the authorization endpoint and gives the address of the page. */
export async function openInteraction(browser: Browser, authorization: Authorization): Promise<string> {
  const response = await browser.get(authorization.url, { accept: "text/html" });
  assert.equal(response.status, 303, await response.clone().text());
  const location = response.headers.get("location") ?? "";
  assert.match(location, /\/interaction\/[A-Za-z0-9_-]+$/);
  return new URL(location, authorization.url).href;
}

/** Follows redirects on the issuer's side until they leave it, or end at a page. */
export async function follow(browser: Browser, location: string, issuer: string): Promise<string> {
  let next = location;
  for (let hops = 0; hops < 10 && next.startsWith(issuer) && !next.includes("/interaction/"); hops += 1) {
    const response = await browser.get(next, { accept: "text/html" });
    assert.equal(response.status, 303, await response.clone().text());
    next = new URL(response.headers.get("location") ?? "", next).href;
  }
  return next;
}

export async function locationOf(response: Response): Promise<string> {
  assert.equal(response.status, 200, await response.clone().text());
  const body: unknown = await response.json();
  assert.ok(typeof body === "object" && body !== null && "location" in body && typeof body.location === "string");
  return body.location;
}

export interface SignInOptions {
  readonly scope?: string;
  readonly parameters?: Record<string, string>;
  readonly browser?: Browser;
}

/** The whole way: authorization, password, code, tokens. */
export async function signIn(
  relying: Relying,
  issuer: string,
  credentials: { loginName: string; password: string },
  options: SignInOptions = {},
) {
  const { browser = openBrowser(), scope = "openid account.read account.write", parameters = {} } = options;
  const authorization = await beginAuthorization(relying, scope, parameters);
  const page = await openInteraction(browser, authorization);
  const answer = await browser.postJson(`${page}/password`, credentials);
  const back = await follow(browser, await locationOf(answer), issuer);
  const tokens = await exchange(relying, authorization, back);
  return { tokens, browser };
}

export async function exchange({ config }: Relying, { verifier, state }: Authorization, back: string) {
  return oidc.authorizationCodeGrant(config, new URL(back), { pkceCodeVerifier: verifier, expectedState: state });
}

/** The claims of a JWT, unverified. */
export function claimsOf(jwt: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString("utf8"));
}

/** A call by Connect JSON. */
export async function callJson(issuer: string, method: string, body: unknown, token?: string) {
  const response = await fetch(`${issuer}/${method}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  const answer: unknown = await response.json();
  return { status: response.status, body: answer, reason: reasonOf(answer) };
}

function reasonOf(answer: unknown): string | undefined {
  if (typeof answer !== "object" || answer === null || !("details" in answer) || !Array.isArray(answer.details)) {
    return undefined;
  }
  for (const detail of answer.details) {
    if (detail?.type === "google.rpc.ErrorInfo") return detail.debug?.reason ?? readReason(detail.value);
  }
  return undefined;
}

/** Field 1 of google.rpc.ErrorInfo, from its bytes. */
function readReason(value: string): string {
  const bytes = Buffer.from(value, "base64");
  return bytes.toString("utf8", 2, 2 + (bytes[1] ?? 0));
}
