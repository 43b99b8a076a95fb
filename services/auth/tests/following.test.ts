import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { RevocationKind, type Revoked, RevokedSchema } from "@fujie/api/fujie/auth/v1/events";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import * as oidc from "openid-client";
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
import {
  AccountChangedSchema,
  AccountState,
  enrolPerson,
  MembershipChangedSchema,
  OperatorChangedSchema,
  type Platform,
  publishApplication,
  publishEvent,
  Role,
  startPlatform,
  until,
} from "./platform.ts";

const PASSWORD = "correct horse battery";
const SCOPE = "openid offline_access account.read account.write";

let platform: Platform;
let cli: Relying;
const revoked: Revoked[] = [];
const stop = new AbortController();

before(async () => {
  platform = await startPlatform();
  cli = await discover(platform.issuer);
  void watchRevocations();
});
after(async () => {
  stop.abort();
  await platform[Symbol.asyncDispose]();
});

/** Follows auth's feed as the registry does. */
async function watchRevocations(): Promise<void> {
  const client = (await platform.peer("registry"))(FeedService);
  try {
    for await (const message of client.watch({ topic: "auth.revocations" }, { signal: stop.signal })) {
      const event = message.event === undefined ? undefined : anyUnpack(message.event, RevokedSchema);
      if (event !== undefined) revoked.push(event);
    }
  } catch {
    // The stream ends with the test.
  }
}

async function register(loginName: string) {
  const { accountId, code } = enrolPerson(platform, { loginName });
  const request = { enrolmentCode: code, password: PASSWORD };
  const bound = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/BindPassword", request);
  assert.equal(bound.status, 200, JSON.stringify(bound.body));
  return { accountId, loginName, password: PASSWORD };
}

function whoAmI(token: string) {
  return callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, token);
}

function publishAccount(
  accountId: string,
  state: AccountState,
  rest: { level?: number; wipeCredentials?: boolean } = {},
) {
  const account = platform.registry.accounts.get(accountId);
  assert.ok(account);
  account.state = state;
  account.level = rest.level ?? account.level;
  publishEvent(platform.registry, AccountChangedSchema, { accountId, state, level: account.level, ...rest });
}

async function refusedReason(credentials: { loginName: string; password: string }): Promise<string> {
  const browser = openBrowser();
  const page = await openInteraction(browser, await beginAuthorization(cli, SCOPE));
  const response = await browser.postJson(`${page}/password`, credentials);
  return String(Object(await response.json()).reason);
}

for (const [state, name] of [
  [AccountState.CANCELLED, "cancelled"],
  [AccountState.SUSPENDED, "suspended"],
] as const) {
  test(`SZ-18.2 a ${name} account's tokens, refresh tokens, single sign-on and password are refused at once`, async () => {
    const person = await register(`${name}.person`);
    const { tokens, browser } = await signIn(cli, platform.issuer, person, { scope: SCOPE });
    publishAccount(person.accountId, state);
    await until(
      "the access token is refused",
      async () => (await whoAmI(tokens.access_token)).reason === "TOKEN_REVOKED",
    );
    await assert.rejects(oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? ""), { error: "invalid_grant" });
    const again = await browser.get((await beginAuthorization(cli, SCOPE)).url);
    assert.match(again.headers.get("location") ?? "", /^\/interaction\//, "single sign-on asks again");
    assert.equal(await refusedReason(person), "CREDENTIALS_INVALID");
    await until("every service is told", () =>
      revoked.some(({ kind, id }) => kind === RevocationKind.SUBJECT && id === person.accountId),
    );
    const sid = claimsOf(tokens.access_token)["sid"];
    assert.ok(revoked.some(({ kind, id }) => kind === RevocationKind.SESSION && id === sid));
  });
}

test("SZ-18.2 a cancelled account's password is gone, even if the state should come back", async () => {
  const person = await register("gone.person");
  publishAccount(person.accountId, AccountState.CANCELLED);
  await until("the removal is recorded", () =>
    platform.audited.some(({ type, subject }) => type === "password.removed" && subject === person.accountId),
  );
  const account = platform.registry.accounts.get(person.accountId);
  assert.ok(account);
  account.state = AccountState.ACTIVE;
  assert.equal(await refusedReason(person), "CREDENTIALS_INVALID");
});

test("confirmation in person voids what a squatter bound before, and not what is bound afterwards", async () => {
  const squatter = await register("squatted.name");
  const { tokens } = await signIn(cli, platform.issuer, squatter, { scope: SCOPE });
  // The new password is bound before the event is applied: the event still means only what came before it.
  platform.clock.advance(1_000);
  publishAccount(squatter.accountId, AccountState.ACTIVE, { wipeCredentials: true });
  await until(
    "the squatter's token is refused",
    async () => (await whoAmI(tokens.access_token)).reason === "TOKEN_REVOKED",
  );
  assert.equal(await refusedReason(squatter), "CREDENTIALS_INVALID");

  platform.clock.advance(1_000);
  const { code } = enrolPerson(platform, { loginName: squatter.loginName, accountId: squatter.accountId });
  const fresh = { enrolmentCode: code, password: "a password of my own" };
  await callJson(platform.issuer, "fujie.auth.v1.CredentialService/BindPassword", fresh);
  await signIn(cli, platform.issuer, { ...squatter, password: fresh.password }, { scope: SCOPE });
});

test("a wipe that is applied late leaves a password that was bound after it", async () => {
  const person = await register("late.wipe");
  platform.clock.advance(-60_000);
  publishAccount(person.accountId, AccountState.ACTIVE, { wipeCredentials: true });
  platform.clock.advance(60_000);
  const other = await register("late.marker");
  publishAccount(other.accountId, AccountState.CANCELLED);
  await until("both events are applied", () =>
    platform.audited.some(({ type, subject }) => type === "password.removed" && subject === other.accountId),
  );
  await signIn(cli, platform.issuer, person, { scope: SCOPE });
});

test("SU-7.1.1d a level that falls voids the tokens that show it, and the session gets lower ones", async () => {
  const person = await register("falling.person");
  const account = platform.registry.accounts.get(person.accountId);
  assert.ok(account);
  account.level = 3;
  const { tokens } = await signIn(cli, platform.issuer, person, { scope: SCOPE });
  assert.equal(claimsOf(tokens.access_token)["level"], 3);
  publishAccount(person.accountId, AccountState.ACTIVE, { level: 2 });
  await until("the token is refused", async () => (await whoAmI(tokens.access_token)).reason === "TOKEN_REVOKED");
  platform.clock.advance(1_000);
  const renewed = await oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? "");
  assert.equal(claimsOf(renewed.access_token)["level"], 2);
  assert.equal((await whoAmI(renewed.access_token)).status, 200);
});

test("a role that ends voids the tokens that show it", async () => {
  const person = await register("leaving.clerk");
  const organisationId = randomUUID();
  platform.registry.accounts.get(person.accountId)?.roles.set(organisationId, Role.CLERK);
  const parameters = { organisation_id: organisationId };
  const { tokens } = await signIn(cli, platform.issuer, person, { scope: SCOPE, parameters });
  platform.registry.accounts.get(person.accountId)?.roles.delete(organisationId);
  publishEvent(platform.registry, MembershipChangedSchema, { accountId: person.accountId, organisationId });
  await until("the token is refused", async () => (await whoAmI(tokens.access_token)).reason === "TOKEN_REVOKED");
  await assert.rejects(oidc.refreshTokenGrant(cli.config, tokens.refresh_token ?? ""), { error: "invalid_grant" });
});

test("an operator whose rights change signs in again", async () => {
  const operatorId = randomUUID();
  platform.registry.operators.set(operatorId, {
    scopes: ["registry.counter"],
    reviewedUntilMs: platform.clock.nowMs() + 3_600_000,
  });
  platform.registry.match = () => ({ operatorId });
  const browser = openBrowser();
  const authorization = await beginAuthorization(cli, "openid registry.counter");
  const page = await openInteraction(browser, authorization);
  await browser.get(page, { accept: "application/json" });
  const proof = { certificates: ["AAAA"], signature: "AAAA", format: "pkcs7" };
  const location = await locationOf(await browser.postJson(`${page}/certificate`, proof));
  const tokens = await exchange(cli, authorization, await follow(browser, location, platform.issuer));
  assert.equal((await whoAmI(tokens.access_token)).status, 200);
  publishEvent(platform.registry, OperatorChangedSchema, { operatorId });
  await until("the token is refused", async () => (await whoAmI(tokens.access_token)).reason === "TOKEN_REVOKED");
});

test("a suspended application gets no token, its tokens are void, and it works again when it is resumed", async () => {
  const application = { clientId: "suspended-app", applicationId: "suspended-app", scopes: ["application.read"] };
  publishApplication(platform, application);
  platform.registry.enrolments.set("enrolment-of-suspended", { clientId: "suspended-app" });
  const request = { enrolmentCode: "enrolment-of-suspended" };
  const issued = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/IssueClientSecret", request);
  const secret = String(Object(issued.body).clientSecret);
  const ask = () =>
    fetch(`${platform.issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(`suspended-app:${secret}`).toString("base64")}` },
      body: new URLSearchParams({ grant_type: "client_credentials", scope: "application.read" }),
    });
  await until("the application is known", async () => (await ask()).status === 200);
  const token = String(Object(await (await ask()).json()).access_token);
  assert.equal((await whoAmI(token)).status, 200);

  publishApplication(platform, { ...application, enabled: false });
  await until("its token is refused", async () => (await whoAmI(token)).reason === "TOKEN_REVOKED");
  assert.equal((await ask()).status, 401);
  publishApplication(platform, { ...application, enabled: true });
  await until("it works again", async () => (await ask()).status === 200);
});

test("an application may not take the place of the platform's own client", async () => {
  publishApplication(platform, { clientId: "fujie-cli", redirectUris: ["https://evil.example/callback"] });
  publishApplication(platform, { clientId: "after-that", redirectUris: ["https://after.example/callback"] });
  const there = await beginAuthorization(
    { config: (await discover(platform.issuer, "after-that")).config, redirectUri: "https://after.example/callback" },
    "openid",
  );
  await until("the later one is known", async () => (await openBrowser().get(there.url)).status === 303);
  const evil = await beginAuthorization({ ...cli, redirectUri: "https://evil.example/callback" }, "openid");
  assert.equal((await openBrowser().get(evil.url, { accept: "text/html" })).status, 400);
});
