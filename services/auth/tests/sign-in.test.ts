import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { testRedis } from "@fujie/embedded/testing";
import { openDatabase } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
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
import { AccountState, enrolPerson, type Platform, startPlatform, until } from "./platform.ts";

const PASSWORD = "correct horse battery";
const SCOPE = "openid offline_access account.read account.write registry.operators.read";
const PROOF = { certificates: [Buffer.from("certificate").toString("base64")], signature: "AAAA", format: "raw" };

let platform: Platform;
let redis: Awaited<ReturnType<typeof testRedis>>;
let cli: Relying;

before(async () => {
  redis = await testRedis();
  platform = await startPlatform({ env: { FUJIE_REDIS_URL: redis.url } });
  cli = await discover(platform.issuer);
});
after(async () => {
  await platform[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

async function register(loginName: string, state = AccountState.ACTIVE, level = 2) {
  const { accountId, code } = enrolPerson(platform, { loginName, state, level });
  const bound = await bind(code, PASSWORD);
  assert.equal(bound.status, 200, JSON.stringify(bound.body));
  return { accountId, loginName, password: PASSWORD };
}

function bind(enrolmentCode: string, password: string) {
  return callJson(platform.issuer, "fujie.auth.v1.CredentialService/BindPassword", { enrolmentCode, password });
}

async function openPage(browser = openBrowser(), scope = SCOPE, parameters: Record<string, string> = {}) {
  const authorization = await beginAuthorization(cli, scope, parameters);
  return { browser, authorization, page: await openInteraction(browser, authorization) };
}

async function refusalOf(response: Response) {
  const body = Object(await response.json());
  assert.match(String(body.traceId), /^[0-9a-f]{32}$/);
  return { status: response.status, reason: String(body.reason), keys: Object.keys(body).toSorted() };
}

async function readChallenge(browser: ReturnType<typeof openBrowser>, page: string): Promise<Buffer> {
  const shown = Object(await (await browser.get(page, { accept: "application/json" })).json());
  return Buffer.from(String(shown.certificateChallenge.message), "base64");
}

test("SU-7.1.1c SZ-4.2 an account that is not real-name yet gets level 1 and never a real-name token", async () => {
  const person = await register("pending.person", AccountState.PENDING, 3);
  const { tokens } = await signIn(cli, platform.issuer, person, { scope: SCOPE });
  assert.equal(claimsOf(tokens.access_token)["level"], 1);
});

test("SZ-4.2 password and certificate give one session model", async () => {
  const person = await register("one.model");
  platform.registry.match = () => ({ accountId: person.accountId });
  await signIn(cli, platform.issuer, person, { scope: SCOPE });
  const { browser, authorization, page } = await openPage();
  await readChallenge(browser, page);
  const location = await locationOf(await browser.postJson(`${page}/certificate`, PROOF));
  const tokens = await exchange(cli, authorization, await follow(browser, location, platform.issuer));
  assert.deepEqual(claimsOf(tokens.access_token)["amr"], ["pop"]);
  const listed = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/ListSessions", {}, tokens.access_token);
  const methods = Object(listed.body).sessions.map((session: { methods: string[] }) => session.methods);
  assert.deepEqual(methods.flat().toSorted(), ["pop", "pwd"]);
});

test("SZ-4.2 a cancelled or suspended account does not sign in, by password or by certificate", async () => {
  const person = await register("stopped.person");
  platform.registry.match = () => ({ accountId: person.accountId });
  for (const state of [AccountState.CANCELLED, AccountState.SUSPENDED]) {
    const account = platform.registry.accounts.get(person.accountId);
    assert.ok(account);
    account.state = state;
    const { browser, page } = await openPage();
    const byPassword = await refusalOf(await browser.postJson(`${page}/password`, person));
    await readChallenge(browser, page);
    const byCertificate = await refusalOf(await browser.postJson(`${page}/certificate`, PROOF));
    assert.deepEqual([byPassword.reason, byCertificate.reason], ["CREDENTIALS_INVALID", "CREDENTIALS_INVALID"]);
  }
});

test("an operator signs in by certificate with the scopes of now, and with none once they have lapsed", async () => {
  const operatorId = randomUUID();
  const operator = { scopes: ["registry.operators.read"], reviewedUntilMs: platform.clock.nowMs() + 60_000 };
  platform.registry.operators.set(operatorId, operator);
  platform.registry.match = () => ({ operatorId });
  const scopeNow = async () => {
    const { browser, authorization, page } = await openPage();
    await readChallenge(browser, page);
    const location = await locationOf(await browser.postJson(`${page}/certificate`, PROOF));
    const tokens = await exchange(cli, authorization, await follow(browser, location, platform.issuer));
    const claims = claimsOf(tokens.access_token);
    assert.deepEqual([claims["sub"], claims["kind"], claims["level"]], [operatorId, "operator", undefined]);
    return claims["scope"];
  };
  assert.equal(await scopeNow(), "registry.operators.read");
  operator.reviewedUntilMs = platform.clock.nowMs() - 1;
  assert.equal(await scopeNow(), undefined);
});

test("enumeration: unknown name, malformed name and wrong password are the same answer", async () => {
  await register("known.person");
  const { browser, page } = await openPage();
  const answers = [];
  for (const loginName of ["known.person", "unknown.person", "不是用户名"]) {
    const answer = await refusalOf(
      await browser.postJson(`${page}/password`, { loginName, password: "wrong password" }),
    );
    answers.push(answer);
  }
  assert.equal(answers[0]?.status, 401);
  assert.deepEqual(answers[1], answers[0]);
  assert.deepEqual(answers[2], answers[0]);
});

test("enumeration: every wrong attempt costs one hash, whether or not the name is known", async () => {
  await register("timed.person");
  const { browser, page } = await openPage();
  const timeOf = async (loginName: string) => {
    const started = performance.now();
    await browser.postJson(`${page}/password`, { loginName, password: "wrong password" });
    return performance.now() - started;
  };
  const median = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  const known: number[] = [];
  const unknown: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    known.push(await timeOf("timed.person"));
    unknown.push(await timeOf(`nobody.${round}`));
  }
  // A missing hash would be a small part of the time of a present one; noise of the machine is not.
  assert.ok(median(unknown) > median(known) / 3, `${median(unknown)} against ${median(known)} ms`);
});

test("brute force: two replicas share the count, the wait is told, and it ends by itself", async () => {
  const person = await register("guessed.person");
  const replica = await platform.startReplica();
  const relyingThere = await discover(replica.issuer);
  const there = { browser: openBrowser(), authorization: await beginAuthorization(relyingThere, SCOPE) };
  const places = [
    await openPage(),
    { browser: there.browser, page: await openInteraction(there.browser, there.authorization) },
  ];
  const reasons: string[] = [];
  for (let attempt = 0; attempt < 14; attempt += 1) {
    const { browser, page } = places[attempt % 2] ?? places[0] ?? assert.fail();
    const response = await browser.postJson(`${page}/password`, { ...person, password: `guess number ${attempt}` });
    if (response.status === 429) assert.ok(Number(response.headers.get("retry-after")) > 0);
    reasons.push((await refusalOf(response)).reason);
  }
  assert.equal(reasons.filter((reason) => reason === "CREDENTIALS_INVALID").length, 10);
  assert.equal(reasons.filter((reason) => reason === "SIGN_IN_THROTTLED").length, 4);

  // The right password does not help while the window lasts, and does when it is over: nobody is locked out for good.
  const { browser, page } = await openPage();
  assert.equal((await refusalOf(await browser.postJson(`${page}/password`, person))).reason, "SIGN_IN_THROTTLED");
  platform.clock.advance(5 * 60_000);
  await signIn(cli, platform.issuer, person, { scope: SCOPE });
});

test("who got the password right while the registry was away is not throttled once it is back; who guessed, is", async () => {
  const patient = await register("patient.person");
  const guessed = await register("guessed.meanwhile");
  platform.registry.away = true;
  const { browser, page } = await openPage();
  const reasonFor = async (body: object) => (await refusalOf(await browser.postJson(`${page}/password`, body))).reason;
  try {
    for (let attempt = 0; attempt < 12; attempt += 1) assert.equal(await reasonFor(patient), "DEPENDENCY_UNAVAILABLE");
    for (let attempt = 0; attempt < 10; attempt += 1) {
      assert.equal(await reasonFor({ ...guessed, password: `guess number ${attempt}` }), "CREDENTIALS_INVALID");
    }
    assert.equal(await reasonFor(guessed), "SIGN_IN_THROTTLED");
  } finally {
    platform.registry.away = false;
  }
  await signIn(cli, platform.issuer, patient, { scope: SCOPE });
  assert.equal(await reasonFor(guessed), "SIGN_IN_THROTTLED");
});

test("brute force: a browser that signed in before is not kept out by strangers", async () => {
  const person = await register("besieged.person");
  const { browser } = await signIn(cli, platform.issuer, person, { scope: SCOPE });
  const stranger = await openPage();
  for (let attempt = 0; attempt < 12; attempt += 1) {
    await stranger.browser.postJson(`${stranger.page}/password`, { ...person, password: "guess after guess" });
  }
  await signIn(cli, platform.issuer, person, { scope: SCOPE, browser, parameters: { prompt: "login" } });
});

test("session fixation: signing in, and signing in again, changes the cookie; another person gets another session", async () => {
  const [one, two] = [await register("fixed.one"), await register("fixed.two")];
  const cookieOf = (browser: ReturnType<typeof openBrowser>) => browser.cookies.get("fujie_session /")?.value;
  const browser = openBrowser();
  browser.cookies.set("fujie_session /", { value: "planted-by-an-attacker", path: "/", attributes: "" });
  const first = await signIn(cli, platform.issuer, one, { scope: SCOPE, browser });
  const afterFirst = cookieOf(browser);
  assert.notEqual(afterFirst, "planted-by-an-attacker");

  const login = { prompt: "login" };
  const again = await signIn(cli, platform.issuer, one, { scope: SCOPE, browser, parameters: login });
  const afterStepUp = cookieOf(browser);
  assert.notEqual(afterStepUp, afterFirst);
  assert.equal(claimsOf(again.tokens.access_token)["sid"], claimsOf(first.tokens.access_token)["sid"]);

  const other = await signIn(cli, platform.issuer, two, { scope: SCOPE, browser, parameters: login });
  assert.notEqual(cookieOf(browser), afterStepUp);
  assert.equal(claimsOf(other.tokens.access_token)["sub"], two.accountId);
  assert.notEqual(claimsOf(other.tokens.access_token)["sid"], claimsOf(first.tokens.access_token)["sid"]);
  await until("the first person's session has ended", async () => {
    const me = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, again.tokens.access_token);
    return me.reason === "TOKEN_REVOKED";
  });
});

test("an interaction opens only with its cookie", async () => {
  const { page } = await openPage();
  const stranger = await openBrowser().get(page, { accept: "application/json" });
  assert.equal(stranger.status, 404);
  assert.equal((await refusalOf(stranger)).reason, "SESSION_NOT_FOUND");
});

test("CSRF: a form without our token, or a request that names a foreign origin, is refused", async () => {
  const person = await register("forged.person");
  const { browser, page } = await openPage();
  const form = { loginName: person.loginName, password: person.password };
  assert.equal((await browser.postForm(`${page}/password`, form)).status, 400);
  assert.equal((await browser.postForm(`${page}/password`, { ...form, csrfToken: "AAAA" })).status, 400);
  const foreign = await browser.postJson(`${page}/password`, person, { origin: "https://evil.example" });
  assert.equal(foreign.status, 400);

  const html = await (await browser.get(page, { accept: "text/html" })).text();
  const csrfToken = /name="csrfToken" value="([^"]+)"/.exec(html)?.[1] ?? "";
  const taken = await browser.postForm(`${page}/password`, { ...form, csrfToken }, { origin: platform.issuer });
  assert.equal(taken.status, 303, await taken.clone().text());
});

test("the page says in Chinese first, and in English on request, what went wrong, under a strict policy", async () => {
  const { browser, page } = await openPage();
  const chinese = await browser.get(page, { accept: "text/html" });
  const policy = chinese.headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'none'.*script-src 'sha256-.*frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe-inline/);
  assert.match(policy, /form-action 'self' http:\/\/127\.0\.0\.1:49152/);
  assert.equal(chinese.headers.get("cache-control"), "no-store");
  const html = await chinese.text();
  assert.match(html, /<html lang="zh-CN">/);
  assert.doesNotMatch(html, /(src|href)="/);

  const english = await browser.get(page, { accept: "text/html", "accept-language": "en-GB,en;q=0.9,zh;q=0.5" });
  const csrfToken = /name="csrfToken" value="([^"]+)"/.exec(await english.text())?.[1] ?? "";
  const wrong = await browser.postForm(
    `${page}/password`,
    { csrfToken, loginName: '"><script>alert(1)</script>', password: "wrong password" },
    { "accept-language": "en" },
  );
  assert.equal(wrong.status, 401);
  const again = await wrong.text();
  assert.match(again, /role="alert"/);
  assert.doesNotMatch(again, /<script>alert/);
});

test("a certificate challenge is bound to origin and interaction, and works once, also when answered twice at once", async () => {
  const person = await register("replayed.person");
  const seen: string[] = [];
  platform.registry.match = ({ message }) => {
    seen.push(Buffer.from(message).toString("utf8"));
    return { accountId: person.accountId };
  };
  const { browser, page } = await openPage();
  const message = (await readChallenge(browser, page)).toString("utf8");
  const uid = page.slice(page.lastIndexOf("/") + 1);
  assert.ok(message.includes(`origin: ${platform.issuer}\n`) && message.includes(`interaction: ${uid}\n`));

  const answers = await Promise.all([1, 2, 3, 4].map(() => browser.postJson(`${page}/certificate`, PROOF)));
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  const replay = await refusalOf(await browser.postJson(`${page}/certificate`, PROOF));
  assert.equal(replay.reason, "CHALLENGE_INVALID");
  assert.deepEqual(seen, [message], "only one answer was ever looked at");
});

test("a certificate challenge is over after two minutes, and a failed answer uses it up", async () => {
  platform.registry.match = () => {
    throw new DomainError("SIGNATURE_INVALID");
  };
  const { browser, page } = await openPage();
  const first = await readChallenge(browser, page);
  platform.clock.advance(120_001);
  assert.equal((await refusalOf(await browser.postJson(`${page}/certificate`, PROOF))).reason, "CHALLENGE_INVALID");
  assert.notDeepEqual(await readChallenge(browser, page), first);
  assert.equal((await refusalOf(await browser.postJson(`${page}/certificate`, PROOF))).reason, "SIGNATURE_INVALID");
  assert.equal((await refusalOf(await browser.postJson(`${page}/certificate`, PROOF))).reason, "CHALLENGE_INVALID");
});

test("double submit: two answers at once make one session", async () => {
  const person = await register("double.person");
  const { browser, page, authorization } = await openPage();
  const answers = await Promise.all([1, 2, 3].map(() => browser.postJson(`${page}/password`, person)));
  const location = await locationOf(answers[0] ?? assert.fail());
  const tokens = await exchange(cli, authorization, await follow(browser, location, platform.issuer));
  const listed = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/ListSessions", {}, tokens.access_token);
  assert.equal(Object(listed.body).sessions.length, 1);
});

test("SZ-17 a password is bound by a one-time code of the registry and by nothing else", async () => {
  const { code } = enrolPerson(platform, { loginName: "coded.person" });
  assert.equal((await bind(code, "password123")).reason, "PASSWORD_TOO_WEAK", "a weak password does not cost the code");
  assert.equal((await bind(code, PASSWORD)).status, 200);
  assert.equal((await bind(code, PASSWORD)).reason, "ENROLMENT_INVALID", "used");
  assert.equal((await bind(`enrolment-${randomUUID()}`, PASSWORD)).reason, "ENROLMENT_INVALID", "unknown");
  platform.registry.enrolments.set("enrolment-of-a-client", { clientId: "some-client" });
  assert.equal((await bind("enrolment-of-a-client", PASSWORD)).reason, "ENROLMENT_INVALID", "somebody else's kind");
  for (const path of ["reset", "password/reset", "forgot", "recover", "interaction/x/reset", "reg", "registration"]) {
    assert.equal((await fetch(`${platform.issuer}/${path}`, { method: "POST" })).status, 404, path);
  }
});

test("SZ-17 a password bound again replaces the one before and ends its sessions", async () => {
  const person = await register("reset.person");
  const { tokens } = await signIn(cli, platform.issuer, person, { scope: SCOPE });
  const { code } = enrolPerson(platform, { loginName: person.loginName, accountId: person.accountId });
  assert.equal((await bind(code, "another long password")).status, 200);
  await until("the old session's token is refused", async () => {
    const me = await callJson(platform.issuer, "fujie.auth.v1.IdentityService/WhoAmI", {}, tokens.access_token);
    return me.reason === "TOKEN_REVOKED";
  });
  const { browser, page } = await openPage();
  assert.equal((await refusalOf(await browser.postJson(`${page}/password`, person))).reason, "CREDENTIALS_INVALID");
  await signIn(cli, platform.issuer, { ...person, password: "another long password" }, { scope: SCOPE });
});

test("the subject lists and ends sessions; another subject's session is as if it did not exist", async () => {
  const [one, two] = [await register("session.one"), await register("session.two")];
  const mine = await signIn(cli, platform.issuer, one, { scope: SCOPE });
  const foreign = await signIn(cli, platform.issuer, two, { scope: SCOPE });
  const end = (sessionId: unknown) =>
    callJson(platform.issuer, "fujie.auth.v1.IdentityService/EndSession", { sessionId }, mine.tokens.access_token);
  assert.equal((await end(claimsOf(foreign.tokens.access_token)["sid"])).reason, "OBJECT_FORBIDDEN");
  assert.equal((await end(randomUUID())).reason, "OBJECT_FORBIDDEN");
  assert.equal((await end(claimsOf(mine.tokens.access_token)["sid"])).status, 200);
  await until("the own token is refused", async () => (await end(randomUUID())).reason === "TOKEN_REVOKED");
});

test("an idle session ends, and its cookie then leads to the page, for anybody", async () => {
  const [one, two] = [await register("idle.one"), await register("idle.two")];
  const { browser } = await signIn(cli, platform.issuer, one, { scope: SCOPE });
  platform.clock.advance(2 * 3_600_000);
  const { page, authorization } = await openPage(browser);
  const location = await locationOf(await browser.postJson(`${page}/password`, two));
  const tokens = await exchange(cli, authorization, await follow(browser, location, platform.issuer));
  assert.equal(claimsOf(tokens.access_token)["sub"], two.accountId);
});

test("nothing that identifies anybody is in the logs, nor in the database in the clear", async () => {
  const person = await register("canary.person");
  await signIn(cli, platform.issuer, person, { scope: SCOPE });
  await until("sign-ins are in the audit log", () => platform.audited.some(({ type }) => type === "session.started"));
  await using database = openDatabase({ url: platform.databaseUrl, poolMax: 1, service: "test" });
  const { rows } = await database.query(
    `SELECT string_agg(t::text, ' ') AS dump FROM auth.password t
     UNION ALL SELECT string_agg(t::text, ' ') FROM auth.login_name t
     UNION ALL SELECT string_agg(t::text, ' ') FROM auth.openid_record t
     UNION ALL SELECT string_agg(t::text, ' ') FROM auth.session t`,
  );
  const dump = `${JSON.stringify(rows)} ${platform.logged.join("\n")}`;
  for (const secret of ["canary.person", PASSWORD, "$argon2id"]) {
    const hex = Buffer.from(secret).toString("hex");
    assert.ok(!dump.includes(secret) && !dump.includes(hex), secret);
  }
});

test("calls to the registry and audit events carry the trace of the web request", async () => {
  const person = await register("traced.person");
  const { browser, page } = await openPage();
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  platform.registry.traceParents.length = 0;
  const answer = await browser.postJson(`${page}/password`, person, {
    traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
  });
  assert.equal(answer.headers.get("x-trace-id"), traceId);
  assert.ok(platform.registry.traceParents.some((header) => header.includes(traceId)));
  await until("the event is there", () => platform.audited.some((event) => event.traceId === traceId));
});
