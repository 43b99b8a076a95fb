// `fujie conform` as a program: what it says and how it ends.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createLocalCa } from "@fujie/kit/tls";
import { runConform } from "../../src/commands/conform.ts";
import { UsageError } from "../../src/commands/usage.ts";
import { REPOSITORY } from "../../src/up/layout.ts";

const dir = mkdtempSync(join(tmpdir(), "fujie-conform-cli-"));
after(() => rmSync(dir, { recursive: true, force: true }));

/** As a program, which takes a second to start. */
function fujie(...args: string[]): { code: number | null; said: string } {
  const main = join(REPOSITORY, "packages/cli/src/main.ts");
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "conform", ...args], { encoding: "utf8" });
  return { code: status, said: stdout + stderr };
}

async function conform(...args: string[]): Promise<{ code: number; said: string }> {
  const lines: string[] = [];
  const code = await runConform(args, (line) => lines.push(line));
  return { code, said: lines.join("\n") };
}

/** Everything that `fujie conform source` needs, each right by itself. */
async function rightOptions(): Promise<Record<string, string>> {
  const ca = await createLocalCa(join(dir, "tls"));
  const { certFile, keyFile, caFile } = await ca.issueService("trust-gateway");
  const pem = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" });
  writeFileSync(join(dir, "key.pem"), pem);
  const person = { citizenId: "440399199003070014", personName: "林知行" };
  const claims = [{ type: "PERSON_TWO_ELEMENT", match: person, mismatch: person, noRecord: person }];
  writeFileSync(join(dir, "subjects.json"), JSON.stringify({ claims }));
  return {
    "source-id": "bank",
    nonce: "0".repeat(64),
    "tls-ca": caFile,
    "client-cert": certFile,
    "client-key": keyFile,
    "assertion-key": `key-1=${join(dir, "key.pem")}`,
    claims: join(dir, "subjects.json"),
    "tester-key": join(dir, "tester/tester.key"),
    "report-dir": join(dir, "report"),
  };
}

const asArgs = (options: Record<string, string>) =>
  Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);

test("SZ-12 keygen makes a key that only its owner reads, and never over another", async () => {
  const made = await conform("keygen", "--out", join(dir, "tester"));
  assert.equal(made.code, 0, made.said);
  assert.match(made.said, /^The key [0-9a-f]{16} is in /);
  assert.equal(statSync(join(dir, "tester/tester.key")).mode & 0o777, 0o600);
  await assert.rejects(conform("keygen", "--out", join(dir, "tester")), /never overwritten/);
});

test("SZ-9 a source that cannot be reached ends with 1 and a signed report that says FAILED", async () => {
  const { code, said } = fujie("source", "127.0.0.1:1", ...asArgs(await rightOptions()));
  assert.equal(code, 1, said);
  assert.match(said, /✗ transport\.mutual-tls: .*\n {6}Describe ended with UNAVAILABLE/);
  assert.match(said, /^FAILED: the report is in /m);
  for (const file of ["report.json", "report.sig", "report.html"]) assert.ok(existsSync(join(dir, "report", file)));
  const report = join(dir, "report/report.json");
  const checked = await conform("check", report, "--tester-keys", join(dir, "tester/tester-keys.json"));
  assert.deepEqual([checked.code, /^GENUINE/.test(checked.said), checked.said.endsWith("FAILED")], [1, true, true]);
});

test("what is wrong with the command line ends with 2, before anything is called", async () => {
  const options = await rightOptions();
  assert.equal(fujie("source", "127.0.0.1:1").code, 2);
  await assert.rejects(conform("nonsense"), UsageError);
  const help = await conform("help");
  assert.deepEqual([help.code, /--control URL/.test(help.said)], [0, true]);
  const wrong: readonly (readonly [string, string | undefined, RegExp])[] = [
    ["nonce", undefined, /--nonce is missing/],
    ["nonce", "short", /--nonce is not of its form/],
    ["source-id", "Bank!", /--source-id is not of its form/],
    ["tls-ca", "/nowhere.pem", /\/nowhere.pem cannot be read/],
    ["assertion-key", "key-1", /--assertion-key is ID=FILE/],
    ["assertion-key", `key-1=${options["claims"]}`, /is not a key in PEM/],
    ["tester-key", options["client-key"], /is not an Ed25519 key/],
    ["claims", options["tls-ca"], /the file is not JSON/],
    ["report-dir", undefined, /--report-dir is missing/],
  ];
  for (const [name, value, problem] of wrong) {
    const { [name]: _, ...others } = options;
    const args = asArgs(value === undefined ? others : { ...others, [name]: value });
    await assert.rejects(
      conform("source", "127.0.0.1:1", ...args),
      (error) => error instanceof UsageError && problem.test(error.message),
      `${name} ${value}`,
    );
  }
  await assert.rejects(conform("source", ...asArgs(options)), UsageError);
  await assert.rejects(conform("source", "no-port", ...asArgs(options)), /--endpoint is not of its form/);
});
