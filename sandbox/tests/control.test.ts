import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { SandboxError, sourceIds } from "../src/client.ts";
import type { Counters } from "../src/manners/ledger.ts";
import { type RunningSandbox, runSandbox } from "./running-sandbox.ts";

let running: RunningSandbox;
before(async () => {
  running = await runSandbox();
});
after(() => running[Symbol.asyncDispose]());
beforeEach(() => running.client.reset("population-base"));

const url = (source: string) => `${running.sandbox.httpUrl}/control/${source}`;
const put = (body: string) => fetch(url("population-base"), { method: "PUT", body });
type Shown = { source: string; counters: Counters; settings: Record<string, unknown> };
const show = async (source: string) => (await (await fetch(url(source))).json()) as Shown;
const settings = async (source: string) => (await show(source)).settings;

test("every source shows its counters and settings", async () => {
  for (const source of [...sourceIds, "population-base-2"]) {
    const shown = await show(source);
    assert.equal(shown.source, source);
    assert.deepEqual(shown.counters, { received: 0, billed: 0, byResult: {}, byRefusal: {} });
    assert.equal(shown.settings["fault"], "none");
  }
});

test("a change keeps what it does not name, stays with its source, and reset undoes it", async () => {
  await running.client.control("population-base", { latencyMs: 5 });
  await running.client.control("population-base", { fault: "hang" });
  const changed = await settings("population-base");
  assert.deepEqual([changed["latencyMs"], changed["fault"], changed["quotaPerSecond"]], [5, "hang", 100]);
  assert.equal((await settings("legal-person-base"))["fault"], "none");
  await running.client.reset("population-base");
  assert.deepEqual(await settings("population-base"), {
    latencyMs: 80,
    fault: "none",
    quotaPerSecond: 100,
    failNext: 0,
    maintenance: [],
    noRecord: false,
    identifierPerDay: 1000,
    cardPerDay: 4,
  });
});

test("a malformed change names the field and changes nothing", async () => {
  const window = { startTime: "2026-03-03T18:00:00Z", endTime: "2026-03-03T18:00:00Z" };
  const cases: [string, unknown][] = [
    ["latencyMs", { latencyMs: -1 }],
    ["latencyMs", { fault: "error", latencyMs: "5" }],
    ["latencyMs", { latencyMs: 60_001 }],
    ["fault", { fault: "slow" }],
    ["quotaPerSecond", { quotaPerSecond: 0 }],
    ["failNext", { failNext: 1.5 }],
    ["maintenance", { maintenance: {} }],
    ["maintenance.endTime", { maintenance: [window] }],
    ["maintenance.startTime", { maintenance: [{ ...window, startTime: "tomorrow" }] }],
    ["noRecord", { noRecord: "yes" }],
    ["cardPerDay", { cardPerDay: -1 }],
    ["body", { latency: 5 }],
    ["body", []],
  ];
  const before = await settings("population-base");
  for (const [field, change] of cases) {
    const response = await put(JSON.stringify(change));
    assert.equal(response.status, 400, field);
    const { error } = (await response.json()) as { error: { field: string } };
    assert.equal(error.field, field);
  }
  assert.equal((await put("{")).status, 400);
  assert.deepEqual(await settings("population-base"), before);
});

test("unknown sources and methods are refused", async () => {
  assert.equal((await fetch(url("nobody"))).status, 404);
  assert.equal((await fetch(url("partner"), { method: "POST" })).status, 405);
  await assert.rejects(running.client.control("partner", { failNext: -1 }), (error) => {
    assert.ok(error instanceof SandboxError);
    return error.status === 400;
  });
});

test("a host name that is not loopback is refused, as a page in a browser would send it", async () => {
  const statusFor = (host: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const { httpPort: port } = running.sandbox;
      const sent = request({ host: "127.0.0.1", port, path: "/control/partner", headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.once("error", reject).end();
    });
  assert.equal(await statusFor("rebound.example"), 421);
  assert.equal(await statusFor("127.0.0.1.example:7052"), 421);
  assert.equal(await statusFor(`localhost:${running.sandbox.httpPort}`), 200);
});
