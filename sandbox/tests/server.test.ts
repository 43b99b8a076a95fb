import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { TlsFiles } from "../src/partner/source.ts";
import { startSandbox } from "../src/server.ts";
import { callBase, newBizSeq, readAccount } from "./running-sandbox.ts";
import { makeTlsAuthority } from "./tls-files.ts";

const MAIN = join(import.meta.dirname, "../src/main.ts");

let dir: string;
let tls: TlsFiles;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "fujie-sandbox-"));
  tls = makeTlsAuthority(dir, "ca").issue("sandbox", "DNS:localhost, URI:spiffe://fujie/sandbox");
});
after(() => rm(dir, { recursive: true }));

const options = () => ({
  httpAddress: "127.0.0.1:0",
  grpcAddress: "127.0.0.1:0",
  dir: join(dir, "state"),
  tls,
});

test("the files for the gateway are written at the first start, secrets for the owner alone, and survive a restart", async () => {
  const read = async () => JSON.parse(await readFile(join(dir, "state/sources.json"), "utf8")).sources;
  const first = await startSandbox(options());
  const sources = await read();
  const secret = await readFile(sources[0].secretFile, "utf8");
  await first[Symbol.asyncDispose]();

  assert.deepEqual(
    sources.map(({ id, kind, sandbox }: Record<string, unknown>) => [id, kind, sandbox]),
    [
      ["population-base", "population-base", true],
      ["legal-person-base", "legal-person-base", true],
      ["partner", "partner", true],
      ["ca-ecdsa", "ca", true],
      ["ca-sm2", "ca", true],
      ["carrier", "carrier", true],
      ["bank", "bank", true],
      ["biometric", "biometric", true],
    ],
  );
  const origin = `http://127.0.0.1:${first.httpPort}`;
  assert.deepEqual(sources[0].urls, [origin, `${origin}/replica-2`]);
  assert.equal(sources[2].target, `127.0.0.1:${first.grpcPort}`);
  assert.equal(sources[4].url, `http://127.0.0.1:${first.httpPort}/ca/ca-sm2`);
  assert.equal(secret.length, 43);
  for (const file of (await readdir(join(dir, "state"))).filter((name) => /\.(secret|key)$/.test(name))) {
    assert.equal((await stat(join(dir, "state", file))).mode & 0o777, 0o600, file);
  }
  assert.equal(JSON.stringify(sources).includes(secret), false);

  await using second = await startSandbox(options());
  const again = await read();
  assert.equal(await readFile(again[0].secretFile, "utf8"), secret);
  assert.deepEqual(again[2].assertionKeys, sources[2].assertionKeys);
  assert.equal(again[1].url, second.httpUrl);
  assert.equal(again[4].profileFile, sources[4].profileFile);
});

test("an emptied secret stops the start instead of becoming a secret", async () => {
  const { dir: state } = options();
  const file = join(state, "population-base.secret");
  const secret = await readFile(file, "utf8");
  await writeFile(file, "");
  await assert.rejects(startSandbox(options()), /is empty/);
  await writeFile(file, secret);
});

test("addresses that other machines could reach are refused", async () => {
  const refused = ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0", "127.0.0.1", "127.0.0.1:70000", "127.1:0", ""];
  for (const address of refused) {
    await assert.rejects(startSandbox({ ...options(), httpAddress: address }), RangeError, address);
    await assert.rejects(startSandbox({ ...options(), grpcAddress: address }), RangeError, address);
  }
});

test("a taken port refuses the start and leaves nothing open", async () => {
  await using running = await startSandbox(options());
  const taken = { ...options(), grpcAddress: `127.0.0.1:${running.grpcPort}` };
  await assert.rejects(startSandbox(taken), { code: "EADDRINUSE" });
});

test("stopping answers nobody any more and does not wait for slow or hanging answers", async () => {
  const sandbox = await startSandbox(options());
  const account = await readAccount(sandbox.sourcesFile, "population-base");
  const body = { bizSeq: newBizSeq(), citizenId: "440399199003070016", name: "林知行", purpose: "x" };
  const check = () =>
    callBase(account, { method: "POST", path: "/population/v1/checks", body, nowMs: Date.now() }).then(
      ({ status }) => status,
      () => "cut",
    );
  const control = (settings: object) =>
    fetch(`${sandbox.httpUrl}/control/population-base`, { method: "PUT", body: JSON.stringify(settings) });
  await control({ latencyMs: 60_000 });
  const slow = check();
  await control({ fault: "hang" });
  const hanging = check();
  await fetch(`${sandbox.httpUrl}/control/population-base`);
  await sandbox[Symbol.asyncDispose]();
  assert.notEqual(await slow, 200);
  assert.notEqual(await hanging, 200);
  await assert.rejects(fetch(sandbox.httpUrl), TypeError);
});

function start(env: Record<string, string>): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [MAIN], { env: { PATH: process.env["PATH"] ?? "", ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += String(chunk)));
  return { child, output: () => output };
}

const environment = () => {
  const { certFile, keyFile, caFile } = tls;
  return {
    FUJIE_SANDBOX_HTTP_ADDRESS: "127.0.0.1:0",
    FUJIE_SANDBOX_GRPC_ADDRESS: "127.0.0.1:0",
    FUJIE_SANDBOX_DIR: join(dir, "state"),
    FUJIE_TLS_CERT_FILE: certFile,
    FUJIE_TLS_KEY_FILE: keyFile,
    FUJIE_TLS_CA_FILE: caFile,
  };
};

test("the program starts from its environment and stops cleanly on SIGTERM and SIGINT", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const { child, output } = start(environment());
    while (!output().includes("the sandbox is up") && child.exitCode === null)
      await once(child.stdout ?? child, "data");
    child.kill(signal);
    const [code] = await once(child, "exit");
    assert.equal(code, 0, output());
    assert.ok(output().includes("the sandbox stops"));
  }
});

test("the program refuses missing, unknown and unsafe settings by name, without their values", async () => {
  const { FUJIE_TLS_KEY_FILE: _, ...keyless } = environment();
  const cases: [string, Record<string, string>][] = [
    ["FUJIE_TLS_KEY_FILE", keyless],
    ["FUJIE_SANDBOX_DIR", { ...environment(), FUJIE_SANDBOX_DIR: "" }],
    ["FUJIE_SANDBOX_HTTP_ADDRESS", { ...environment(), FUJIE_SANDBOX_HTTP_ADDRESS: "0.0.0.0:7052" }],
    ["FUJIE_SANDBOX_GRPC_ADDRESS", { ...environment(), FUJIE_SANDBOX_GRPC_ADDRESS: "192.0.2.7:7051" }],
    ["FUJIE_SANDBOX_ADRESS", { ...environment(), FUJIE_SANDBOX_ADRESS: "127.0.0.1:0" }],
  ];
  const runs = cases.map(async ([setting, env]) => {
    const { child, output } = start(env);
    const [code] = await once(child, "close");
    assert.equal(code, 78, setting);
    assert.ok(output().startsWith(`${setting} `), output());
    assert.equal(/0\.0\.0\.0|192\.0/.test(output()), false);
  });
  await Promise.all(runs);
});
