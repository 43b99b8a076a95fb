import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openDatabase } from "@fujie/kit/db";
import { beginAuthorization, callJson, discover, openBrowser, openInteraction, signIn } from "./browser.ts";
import { enrolPerson, type Platform, startPlatform, until } from "./platform.ts";

const PASSWORD = "correct horse battery";
const main = join(import.meta.dirname, "../src/main.ts");

let platform: Platform;
let child: ChildProcess | undefined;

before(async () => {
  platform = await startPlatform();
});
after(async () => {
  if (child?.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await platform[Symbol.asyncDispose]();
});

async function startChild(): Promise<string> {
  const env = await platform.environment();
  child = spawn(process.execPath, [main], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const issuer = env["FUJIE_ISSUER"] ?? "";
  await until("the process serves", async () =>
    fetch(`${issuer}/.well-known/openid-configuration`).then(
      (response) => response.ok,
      () => false,
    ),
  );
  return issuer;
}

test("killed at any point, sessions and their audit events are both there or both not, and work goes on", async () => {
  const people = await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const loginName = `crash.person${index}`;
      const { accountId, code } = enrolPerson(platform, { loginName });
      const request = { enrolmentCode: code, password: PASSWORD };
      const bound = await callJson(platform.issuer, "fujie.auth.v1.CredentialService/BindPassword", request);
      assert.equal(bound.status, 200);
      return { accountId, loginName, password: PASSWORD };
    }),
  );
  const issuer = await startChild();
  const relying = await discover(issuer);
  let answered = 0;
  const signInOnce = async (person: (typeof people)[number]): Promise<boolean> => {
    const browser = openBrowser();
    const page = await openInteraction(browser, await beginAuthorization(relying, "openid account.read"));
    return (await browser.postJson(`${page}/password`, person)).status === 200;
  };
  const hammering = people.map(async (person) => {
    // A killed server breaks the connection: that ends the loop.
    while (await signInOnce(person).catch(() => false)) answered += 1;
  });
  await until("some are signed in", () => answered >= 8);
  child?.kill("SIGKILL");
  if (child !== undefined) await once(child, "exit");
  await Promise.all(hammering);

  await using database = openDatabase({ url: platform.databaseUrl, poolMax: 2, service: "test" });
  // What the killed process had in hand is leased to it for a while.
  platform.clock.advance(120_000);
  await until("the outbox is delivered by the other replica", async () => {
    const { rows } = await database.query<{ left: number }>(`SELECT count(*)::int AS left FROM kit.outbox`);
    return rows[0]?.left === 0;
  });
  const { rows } = await database.query<{ session_id: string }>(`SELECT session_id::text FROM auth.session`);
  const stored = rows.map((row) => row.session_id).toSorted();
  const started = platform.audited.filter(({ type }) => type === "session.started");
  const recorded = [...new Set(started.map(({ details }) => details["session"] ?? ""))].toSorted();
  assert.ok(stored.length >= answered, `${stored.length} sessions for ${answered} answers`);
  assert.deepEqual(recorded, stored);

  const [person] = people;
  assert.ok(person);
  await signIn(await discover(platform.issuer), platform.issuer, person, { scope: "openid account.read" });
});
