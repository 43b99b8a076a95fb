import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { identifyProcess } from "../../packages/embedded/src/process-identity.ts";
import { type FileResult, runTestFile } from "./run-file.ts";
import { addFile, emptyTally } from "./tally.ts";

const head = 'import assert from "node:assert/strict"; import { describe, test, before } from "node:test";\n';

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "fujie-runner-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function runText(
  t: TestContext,
  text: string,
  timeoutMs = 60_000,
  signal = new AbortController().signal,
): Promise<FileResult> {
  const file = join(makeFolder(t), "it.test.ts");
  writeFileSync(file, head + text);
  return runTestFile(file, { timeoutMs, env: {}, signal });
}

function outline(result: FileResult): string[] {
  return result.tests.map((one) => `${one.status} ${one.path.join(" › ")}`);
}

test("passed, failed and skipped tests are counted exactly, with their whole names", async (t) => {
  const result = await runText(
    t,
    `test("a", () => {});
     test("b", () => assert.equal(1, 2, "b is wrong"));
     test("c", { skip: "no reason" }, () => {});
     describe("group", () => { test("d", () => {}); test("e", () => { throw new Error("e is wrong"); }); });
     test("outer", async (t) => { await t.test("inner", () => {}); });
     test("later", { todo: true }, () => {});`,
  );
  assert.deepEqual(outline(result), [
    "passed a",
    "failed b",
    "skipped c",
    "passed group › d",
    "failed group › e",
    "passed outer › inner",
    "passed outer",
    "skipped later",
  ]);
  const tally = addFile(emptyTally(), result);
  assert.deepEqual([tally.passed, tally.failed, tally.skipped], [4, 2, 2]);
  assert.match(tally.failures[0]?.detail ?? "", /b is wrong/);
  assert.match(tally.failures[1]?.detail ?? "", /e is wrong/);
});

test("a failing hook of a suite is a failure", async (t) => {
  const result = await runText(
    t,
    'describe("group", () => { before(() => { throw new Error("no set-up"); }); test("a", () => {}); });',
  );
  assert.ok(result.tests.some((one) => one.status === "failed" && one.detail.includes("no set-up")));
  assert.ok(result.tests.every((one) => one.status === "failed"));
});

test("a file that holds no test, does not load or ends badly is a failure", async (t) => {
  assert.deepEqual(outline(await runText(t, "")), ["failed (the file itself)"]);

  const unloadable = await runText(t, 'import "./missing.ts";');
  assert.deepEqual(outline(unloadable), ["failed (the file itself)"]);
  assert.match(unloadable.output, /ERR_MODULE_NOT_FOUND/);

  const ended = await runText(t, 'test("a", () => {}); test("b", () => { process.kill(process.pid, "SIGKILL"); });');
  assert.equal(outline(ended).at(-1), "failed (the file itself)");
  assert.match(ended.tests.at(-1)?.detail ?? "", /SIGKILL/);
});

const hanging = `
  import { spawn } from "node:child_process";
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  console.log("child", child.pid);
  test("a", () => {});
  test("hangs", () => new Promise((resolve) => setInterval(resolve, 2 ** 30)));`;

function childOf(result: FileResult): number {
  const pid = /child (\d+)/.exec(result.output)?.[1];
  assert.ok(pid !== undefined, result.output);
  return Number(pid);
}

async function goneSoon(pid: number): Promise<void> {
  for (let round = 0; round < 1000 && identifyProcess(pid) !== undefined; round += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(identifyProcess(pid), undefined);
}

test("a hanging file is ended after its time with all that it started, and named", async (t) => {
  const result = await runText(t, hanging, 2_000);
  assert.deepEqual(outline(result).at(-1), "failed (the file itself)");
  assert.match(result.tests.at(-1)?.detail ?? "", /did not end within 2 s/);
  await goneSoon(childOf(result));
});

test("an interrupted run ends the file with all that it started", async (t) => {
  const started = join(makeFolder(t), "started");
  const watcher = watch(dirname(started));
  t.after(() => watcher.close());
  const controller = new AbortController();
  const text = `${hanging} import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(started)}, "");`;
  const running = runText(t, text, 60_000, controller.signal);
  await once(watcher, "change");
  controller.abort("SIGINT");
  const result = await running;
  assert.match(result.tests.at(-1)?.detail ?? "", /exit by SIGTERM/);
  await goneSoon(childOf(result));
});
