import { strict as assert } from "node:assert";
import { after, before, test } from "node:test";
import { openDatabase } from "@fujie/kit/db";
import * as oidc from "openid-client";
import { purgeRecords } from "../src/openid/store.ts";
import {
  beginAuthorization,
  callJson,
  claimsOf,
  discover,
  exchange,
  follow,
  locationOf,
  openBrowser,
  openInteraction,
  type Relying,
  signIn,
} from "./browser.ts";
import { enrolPerson, type Platform, publishApplication, Role, startPlatform, until } from "./platform.ts";

const PASSWORD = "correct horse battery";
const SCOPE = "openid offline_access account.read account.write audit.read";

let platform: Platform;
let cli: Relying;
let accountId: string;

before(async () => {
  platform = await startPlatform();
  cli = await discover(platform.issuer);
  const enrolled = enrolPerson(platform, { loginName: "zhang.san" });
  accountId = enrolled.accountId;
  const bound = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/BindPassword", {
    enrolmentCode: enrolled.code,
    password: PASSWORD,
  });
  assert.deepEqual(bound.body, { accountId });
});
after(() => platform[Symbol.asyncDispose]());

const zhang = { loginName: "Zhang.San", password: PASSWORD };

test("discovery offers code with S256 and nothing that is off", async () => {
  const metadata = cli.config.serverMetadata();
  assert.deepEqual(metadata.response_types_supported, ["code"]);
  assert.deepEqual(metadata.code_challenge_methods_supported, ["S256"]);
  for (const off of [
    "registration_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "device_authorization_endpoint",
  ]) {
    assert.equal(metadata[off], undefined, off);
  }
});

test("a real client signs a person in, and the access token passes the platform's verifier", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const claims = claimsOf(tokens.access_token);
  assert.equal(claims["sub"], accountId);
  assert.equal(claims["kind"], "person");
  assert.equal(claims["level"], 2);
  assert.equal(claims["aud"], "urn:fujie:api");
  assert.deepEqual(claims["amr"], ["pwd"]);
  assert.equal(Number(claims["exp"]) - Number(claims["iat"]), 300);
  // An operator's scope is not given to a person, however it is asked for.
  assert.equal(claims["scope"], "account.read account.write");
  assert.equal(tokens.claims()?.sub, accountId);
  const me = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, tokens.access_token);
  assert.equal(me.status, 200, JSON.stringify(me.body));
});

test("a refresh token rotates, and one that is used twice ends the whole grant", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const first = tokens.refresh_token ?? "";
  const renewed = await oidc.refreshTokenGrant(cli.config, first);
  assert.notEqual(renewed.refresh_token, first);
  await assert.rejects(oidc.refreshTokenGrant(cli.config, first), { error: "invalid_grant" });
  await assert.rejects(oidc.refreshTokenGrant(cli.config, renewed.refresh_token ?? ""), { error: "invalid_grant" });
});

test("of many uses of one refresh token at once at most one succeeds", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const refresh = () => oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? "");
  const outcomes = await Promise.allSettled([refresh(), refresh(), refresh(), refresh()]);
  assert.ok(outcomes.filter(({ status }) => status === "fulfilled").length <= 1);
});

test("the level in a refreshed token is what the registry says now (SU-7.1.1d)", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const account = platform.registry.accounts.get(accountId);
  assert.ok(account);
  account.level = 3;
  const renewed = await oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? "");
  account.level = 2;
  assert.equal(claimsOf(renewed.access_token)["level"], 3);
});

test("organisation_id makes tokens act for the organisation while there is a role in it, and not after", async () => {
  const organisation = "0198c0de-0000-7000-8000-000000000001";
  const roles = platform.registry.accounts.get(accountId)?.roles;
  roles?.set(organisation, Role.CLERK);
  const parameters = { organisation_id: organisation };
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE, parameters });
  const claims = claimsOf(tokens.access_token);
  assert.deepEqual([claims["org"], claims["role"]], [organisation, "CLERK"]);
  roles?.delete(organisation);
  await assert.rejects(oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? ""), { error: "invalid_grant" });
});

test("an organisation in which one has no role is refused", async () => {
  const browser = openBrowser();
  const parameters = { organisation_id: "0198c0de-0000-7000-8000-000000000002" };
  const authorization = await beginAuthorization(cli, SCOPE, parameters);
  const page = await openInteraction(browser, authorization);
  const location = await locationOf(await browser.postJson(`${page}/password`, zhang));
  const back = new URL(await follow(browser, location, platform.issuer));
  assert.equal(back.searchParams.get("error"), "access_denied");
});

test("a second application signs in without a page; after sign-out neither gets a token (SZ-4.3)", async () => {
  const { tokens, browser } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const again = await beginAuthorization(cli, SCOPE);
  const back = await follow(browser, again.url, platform.issuer);
  const second = await exchange(cli, again, back);
  assert.equal(claimsOf(second.access_token)["sid"], claimsOf(tokens.access_token)["sid"]);

  const url = oidc.buildEndSessionUrl(cli.config, {
    id_token_hint: tokens.id_token ?? "",
    post_logout_redirect_uri: cli.redirectUri,
  });
  const page = await (await browser.get(url.href, { accept: "text/html" })).text();
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)?.[1] ?? "";
  const action = /action="([^"]+)"/.exec(page)?.[1] ?? "";
  const left = await browser.postForm(action, { xsrf, logout: "yes" });
  assert.equal(left.status, 303, await left.clone().text());
  assert.equal(left.headers.get("location"), cli.redirectUri);
  for (const { refresh_token } of [tokens, second]) {
    await assert.rejects(oidc.refreshTokenGrant(cli.config, refresh_token ?? ""), { error: "invalid_grant" });
  }
  await until("the token is refused", async () => {
    const me = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, second.access_token);
    return me.reason === "TOKEN_REVOKED";
  });
});

test("a code without PKCE, or with the plain method, is not given", async () => {
  for (const parameters of [{ code_challenge: "" }, { code_challenge_method: "plain" }]) {
    const { url } = await beginAuthorization(cli, SCOPE, parameters);
    const asked = new URL(url);
    for (const [name, value] of Object.entries(parameters)) if (value === "") asked.searchParams.delete(name);
    const response = await openBrowser().get(asked.href);
    const back = new URL(response.headers.get("location") ?? "");
    assert.equal(back.searchParams.get("error"), "invalid_request");
  }
});

test("open redirect: a redirect_uri that is not registered gets a page, never a redirect", async () => {
  for (const redirect_uri of [
    "https://evil.example/callback",
    "http://127.0.0.1:1/callback/../evil",
    "http://127.0.0.1@evil.example/callback",
    "http://127.0.0.1:1/other",
  ]) {
    const { url } = await beginAuthorization(cli, SCOPE, { redirect_uri });
    const response = await openBrowser().get(url, { accept: "text/html" });
    assert.equal(response.status, 400, redirect_uri);
    assert.equal(response.headers.get("location"), null);
  }
});

test("a spoofed Host or X-Forwarded header does not move the issuer's addresses", async () => {
  const { url } = await beginAuthorization(cli, SCOPE);
  const headers = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "x-user": "admin" };
  const browser = openBrowser();
  const response = await browser.get(url, headers);
  assert.match(response.headers.get("location") ?? "", /^\/interaction\//);
  const page = new URL(response.headers.get("location") ?? "", platform.issuer).href;
  const location = await locationOf(await browser.postJson(`${page}/password`, zhang, headers));
  assert.ok(location.startsWith(`${platform.issuer}/authorize/`), location);
});

test("tokens with alg none, HS256 under the public key, or another type are refused at our own methods", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  const [header = "", payload = "", signature = ""] = tokens.access_token.split(".");
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const real = JSON.parse(Buffer.from(header, "base64url").toString());
  assert.deepEqual(Object.keys(real).toSorted(), ["alg", "kid", "typ"]);
  const forged = [
    `${encode({ ...real, alg: "none" })}.${payload}.`,
    `${encode({ ...real, alg: "HS256" })}.${payload}.${signature}`,
    `${encode({ ...real, jku: "https://evil.example/jwks" })}.${payload}.${signature}`,
    `${header}.${encode({ ...claimsOf(tokens.access_token), level: 3 })}.${signature}`,
    tokens.id_token ?? "",
  ];
  for (const token of forged) {
    const me = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, token);
    assert.equal(me.reason, "TOKEN_INVALID", token);
  }
});

test("an application gets its own token by its secret, and only scopes it is registered for", async () => {
  publishApplication(platform, { clientId: "fund", applicationId: "fund-app", scopes: ["openid", "trust.verify"] });
  platform.registry.enrolments.set("enrolment-of-the-fund", { clientId: "fund" });
  const issued = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/IssueClientSecret", {
    enrolmentCode: "enrolment-of-the-fund",
  });
  const secret: unknown = Reflect.get(Object(issued.body), "clientSecret");
  assert.ok(typeof secret === "string");
  await until("the application is known", async () => (await ask("trust.verify", secret)).status === 200);

  const answer = await (await ask("trust.verify application.read audit.read", secret)).json();
  const claims = claimsOf(String(Reflect.get(Object(answer), "access_token")));
  assert.deepEqual(
    [claims["sub"], claims["kind"], claims["client_id"], claims["app"], claims["scope"]],
    ["fund", "application", "fund", "fund-app", "trust.verify"],
  );
  assert.equal((await ask("trust.verify", "wrong")).status, 401);

  const second = await issueSecret("fund");
  assert.equal((await ask("trust.verify", secret)).status, 200, "an hour of overlap");
  platform.clock.advance(60 * 60_000 + 1);
  await until("the feed is fresh again", async () => (await ask("trust.verify", second)).status === 200);
  assert.equal((await ask("trust.verify", secret)).status, 401, "the overlap is over");
});

async function issueSecret(clientId: string): Promise<string> {
  const code = `enrolment-again-${clientId}`;
  platform.registry.enrolments.set(code, { clientId });
  const issued = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/IssueClientSecret", {
    enrolmentCode: code,
  });
  return String(Reflect.get(Object(issued.body), "clientSecret"));
}

function ask(scope: string, secret: string): Promise<Response> {
  return fetch(`${platform.issuer}/token`, {
    method: "POST",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      authorization: `Basic ${Buffer.from(`fund:${secret}`).toString("base64")}`,
    },
    body: new URLSearchParams({ grant_type: "client_credentials", scope }).toString(),
  });
}

test("an application sees its pairwise id, and asks for consent where it wants rights", async () => {
  publishApplication(platform, {
    clientId: "native-app",
    applicationId: "native-app",
    kind: 2,
    redirectUris: ["http://127.0.0.1/callback"],
    scopes: ["openid", "account.read"],
    sector: "sector-n",
  });
  const app = await discover(platform.issuer, "native-app");
  const plain = await beginAuthorization(app, "openid");
  await until("the application is known", async () => (await openBrowser().get(plain.url)).status === 303);
  const { tokens } = await signIn(app, platform.issuer, zhang, { scope: "openid" });
  assert.equal(tokens.claims()?.sub, platform.registry.pairwise.get(`${accountId} sector-n`));
  assert.notEqual(tokens.claims()?.sub, accountId);
  assert.equal(claimsOf(tokens.access_token)["scope"], undefined);

  const browser = openBrowser();
  const authorization = await beginAuthorization(app, "openid account.read account.write");
  const page = await openInteraction(browser, authorization);
  const location = await locationOf(await browser.postJson(`${page}/password`, zhang));
  const consentPage = await follow(browser, location, platform.issuer);
  const shown = await (await browser.get(consentPage, { accept: "application/json" })).json();
  assert.deepEqual(Reflect.get(Object(shown), "scopes"), ["account.read"]);
  const allowed = await locationOf(await browser.postJson(`${consentPage}/consent`, {}));
  const granted = await exchange(app, authorization, await follow(browser, allowed, platform.issuer));
  assert.equal(claimsOf(granted.access_token)["scope"], "account.read");
});

test("when the registry does not answer, nobody gets a token, and it says so", async () => {
  const { tokens } = await signIn(cli, platform.issuer, zhang, { scope: SCOPE });
  platform.registry.away = true;
  try {
    const refused = oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? "");
    await assert.rejects(refused, { error: "temporarily_unavailable" });
  } finally {
    platform.registry.away = false;
  }
});

test("strangers cannot fill the database with authorization requests", async () => {
  const { url } = await beginAuthorization(cli, SCOPE);
  const ask = () => openBrowser().get(url, { accept: "application/json" });
  let refused: Response | undefined;
  for (let round = 0; round < 20 && refused === undefined; round += 1) {
    const answers = await Promise.all(Array.from({ length: 40 }, ask));
    refused = answers.find(({ status }) => status === 429);
  }
  assert.ok(refused !== undefined && Number(refused.headers.get("retry-after")) > 0);
  platform.clock.advance(60_000);
});

test("what expired is removed in bounded batches", async () => {
  await using database = openDatabase({ url: platform.databaseUrl, poolMax: 1, service: "test" });
  const count = async () => {
    const { rows } = await database.query<{ n: number }>("SELECT count(*)::int AS n FROM auth.openid_record");
    return rows[0]?.n ?? 0;
  };
  const [before, nowMs] = [await count(), platform.clock.nowMs()];
  assert.ok(before > 100);
  assert.equal(await purgeRecords(database, nowMs + 24 * 3_600_000, 100), 100);
  assert.equal(await count(), before - 100);
  while ((await purgeRecords(database, nowMs + 24 * 3_600_000, 100)) > 0);
  assert.equal(await count(), 0);
});
