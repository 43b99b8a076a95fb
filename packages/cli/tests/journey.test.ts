import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { AccountService, SuspensionReason } from "@fujie/api/fujie/registry/v1/accounts";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import { callService, newTrace } from "../src/journey/callers.ts";
import { castPlayers, remember } from "../src/journey/cast.ts";
import { refusalsOf } from "../src/journey/chapters/cancellation.ts";
import { confirm, counterToken } from "../src/journey/chapters/counter.ts";
import { register } from "../src/journey/chapters/registration.ts";
import { eventually } from "../src/journey/expect.ts";
import { type Narrator, playJourney } from "../src/journey/index.ts";
import { signInOperator, signInPerson } from "../src/journey/stage.ts";
import { clientCredentials } from "../src/sign-in/client-credentials.ts";
import type { Platform } from "../src/up/index.ts";
import { findPeople } from "./canary.ts";
import { followApplicationsGuide } from "./guides/applications-guide.ts";
import { registerThroughAnOutage } from "./outage.ts";
import { runPythonClient } from "./python/run-python-client.ts";
import { startTestPlatform, temporaryHome } from "./test-platform.ts";

const home = temporaryHome();
let platform: Platform;
const told: string[] = [];
const staff = () => {
  const { staff: known } = remember(platform.files.journey).memory;
  assert.ok(known);
  return known;
};

const narrator: Narrator = {
  chapter: (title) => told.push(`# ${title}`),
  asks: (who, what) => told.push(`${who} asks: ${what}`),
  answers: (who, what) => told.push(`${who} answers: ${what}`),
  proof: (what) => told.push(`proof: ${what}`),
  refused: (what, reason) => told.push(`refused: ${what}: ${reason}`),
};

before(async () => {
  platform = await startTestPlatform(home.path);
});
after(async () => {
  await platform?.stop();
  home[Symbol.dispose]();
});

test("SZ-4.1 SZ-5 SZ-13.1 SZ-14.2 SZ-14.4 SZ-8.3 SZ-18.2 SU-7.1.2c NI-10 NI-32 the first journey, from an empty folder, goes as the rules demand", async () => {
  await playJourney(platform, narrator);
  assert.deepEqual(
    told.filter((line) => line.startsWith("refused:")).map((line) => line.slice(line.lastIndexOf(": ") + 2)),
    [
      "CEREMONY_CLOSED",
      "LEVEL_TOO_LOW",
      "CREDENTIALS_INVALID",
      "CHALLENGE_INVALID",
      "ROLE_FORBIDDEN",
      "CONSENT_INVALID",
      "CONSENT_USED",
      "CREDENTIALS_INVALID",
    ],
  );
});

test("no personal data of the journey's people is in any service's log", async () => {
  const { organisation, ...people } = castPlayers(0);
  const canaries = [
    organisation.uscc,
    organisation.name,
    ...Object.values(people).flatMap((p) => [p.citizenId, p.name]),
  ];
  for (const file of readdirSync(platform.files.logs)) {
    const log = readFileSync(`${platform.files.logs}/${file}`, "utf8");
    for (const canary of canaries) assert.equal(log.includes(canary), false, `${file} tells a person's data`);
  }
});

test("the metrics tell nothing about anybody either, and count the calls", async () => {
  const { clerk, organisation } = castPlayers(0);
  const gateway = await (await fetch(`${platform.adminUrl("trust-gateway")}/metrics`)).text();
  assert.match(gateway, /fujie_source_checks_total\{source="population-base",verdict="MATCH"\} \d/);
  for (const service of ["auth", "registry", "trust-gateway", "audit"] as const) {
    const metrics = await (await fetch(`${platform.adminUrl(service)}/metrics`)).text();
    assert.match(metrics, /rpc_server_call_duration_seconds_count\{/);
    for (const canary of [clerk.citizenId, clerk.name, organisation.uscc])
      assert.equal(metrics.includes(canary), false);
  }
});

test("SZ-13.4 NI-28a a base that is down leaves the registration waiting; it completes by itself when the base is back", async () => {
  await registerThroughAnOutage(platform);
});

test("SZ-5 a stock Python client (python3, grpcio) talks to the gRPC API of the running platform", async () => {
  const { clientId, clientSecret } = staff().housingFund;
  const { issuer, caFile, grpcTarget } = platform;
  const token = await clientCredentials({ issuer, clientId, clientSecret, scopes: ["trust.verify"] });
  const grpcTargets = {
    auth: grpcTarget("auth"),
    audit: grpcTarget("audit"),
    "trust-gateway": grpcTarget("trust-gateway"),
  };
  const report = await runPythonClient({ grpcTargets, caFile, token });
  assert.equal(report.verify.outcome, "OUTCOME_VERIFIED");
});

test("SZ-9 SU-7.1.3 the guide for applications works word by word, with nothing but curl", async () => {
  await followApplicationsGuide(platform);
});

test("NI-10 after all of it nobody is found: in no log, no metric and no table of any service", async () => {
  const { organisation: _public, ...people } = castPlayers(0);
  const names = [...Object.values(people), ...Object.values(NAMED_PEOPLE).map(({ person }) => person)].map(
    ({ name }) => name,
  );
  assert.deepEqual(await findPeople(platform, names), []);
});

test("stopped and started again on the same folder, the platform still knows everybody", async () => {
  await platform.stop();
  platform = await startTestPlatform(home.path, { portBase: platform.ports.services.auth.grpc - 11 });
  const stage = { platform, narrator, players: castPlayers(1), staff: staff(), trace: newTrace(), traces: [] };
  const person = stage.players.clerk;
  const account = await confirm(
    stage,
    await counterToken(stage),
    person,
    await register(stage, person, "after.restart"),
  );
  assert.ok((await signInPerson(stage, account)).accessToken);
});

test("SZ-18.2 stopped by a security administrator, a person's tokens are refused by all four services; resumed, he signs in again", async () => {
  const stage = { platform, narrator, players: castPlayers(1), staff: staff(), trace: newTrace(), traces: [] };
  const person = stage.players.administrator;
  const pending = await register(stage, person, "stopped.person");
  const account = await confirm(stage, await counterToken(stage), person, pending);
  const { accountId } = account;
  const { accessToken } = await signInPerson(stage, account);
  const security = await signInOperator(stage, stage.staff.securityAdministrator, ["registry.accounts.suspend"]);
  const call = { token: security, trace: stage.trace };
  const accounts = callService(AccountService, platform.httpUrl("registry"), call);
  const reason = SuspensionReason.CREDENTIALS_COMPROMISED;
  await accounts.suspendAccount({ requestId: crypto.randomUUID(), accountId, reason });
  for (const ask of refusalsOf(stage, accessToken)) {
    await eventually("a refusal", ask, (refusal) => refusal === "TOKEN_REVOKED");
  }
  await assert.rejects(signInPerson(stage, account), { reason: "CREDENTIALS_INVALID" });
  await accounts.resumeAccount({ requestId: crypto.randomUUID(), accountId });
  assert.ok((await signInPerson(stage, account)).accessToken);
});
