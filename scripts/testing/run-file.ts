import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FinishedTest } from "./event-reporter.ts";
import { projectPath, root } from "./programs.ts";

/** Between SIGTERM and SIGKILL: enough for a database's fast shutdown. */
const GRACE_MS = 5_000;

const reporter = fileURLToPath(import.meta.resolve("./event-reporter.ts"));
const observer = fileURLToPath(import.meta.resolve("./observe.ts"));

/** What a test file did; a file that ends badly or holds no test has a failure of its own. */
export type FileResult = { file: string; tests: FinishedTest[]; output: string; seconds: number };

/** `observedFolder`: where what is seen of the services under test is kept for the canary scan. */
export type Bounds = { timeoutMs: number; env: NodeJS.ProcessEnv; signal: AbortSignal; observedFolder?: string };

/**
 * Runs one test file in a process of its own and counts its tests exactly.
 *
 * The process leads a group: whatever the file started and left behind is ended with it, also after `timeoutMs` and
 * when `signal` is aborted: at first by SIGTERM, for servers that want to stop in order. Its temporary folder is its own
 * and is removed.
 * @param file relative to the root
 */
export async function runTestFile(file: string, bounds: Bounds): Promise<FileResult> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-test-"));
  // A server that root starts as another user must be able to pass through.
  chmodSync(folder, 0o711);
  const events = join(folder, "events");
  if (bounds.observedFolder !== undefined) mkdirSync(bounds.observedFolder, { recursive: true });
  const startedAt = performance.now();
  try {
    const { problem, output } = await runGroup(file, events, { ...bounds, env: { ...bounds.env, TMPDIR: folder } });
    const tests = readEvents(events);
    const seconds = (performance.now() - startedAt) / 1000;
    return { file, tests: [...tests, ...fileFailure(tests, problem)], output, seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The failure that no single test shows. */
function fileFailure(tests: FinishedTest[], problem: string | undefined): FinishedTest[] {
  const failed = (detail: string): FinishedTest[] => [{ path: ["(the file itself)"], status: "failed", detail }];
  const explained = problem?.startsWith("exit code 1") && tests.some((test) => test.status === "failed");
  if (problem !== undefined && !explained) return failed(problem);
  return tests.length === 0 ? failed("it holds no test") : [];
}

type GroupResult = { problem: string | undefined; output: string };

function runGroup(file: string, events: string, bounds: Bounds): Promise<GroupResult> {
  const { timeoutMs, signal, observedFolder } = bounds;
  const env = { ...bounds.env, ...(observedFolder && { FUJIE_TEST_OBSERVED_DIR: observedFolder }) };
  const args = [
    "--no-warnings",
    ...(observedFolder ? [`--import=${observer}`] : []),
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${events}`,
    file,
  ];
  const child = spawn(process.execPath, args, {
    cwd: root,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: projectPath(), ...env },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      if (observedFolder !== undefined) appendFileSync(join(observedFolder, "output"), chunk);
      // The end of a long output is where the error is.
      output = (output + chunk.toString()).slice(-20_000);
    });
  }
  const killNow = (): void => signalGroup(child.pid, "SIGKILL");
  let killTimer: NodeJS.Timeout | undefined;
  const endGroup = (): void => {
    signalGroup(child.pid, "SIGTERM");
    killTimer = setTimeout(killNow, GRACE_MS);
  };
  process.on("exit", killNow);
  signal.addEventListener("abort", endGroup);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    endGroup();
  }, timeoutMs);
  return new Promise((resolve) => {
    const finish = (problem: string | undefined): void => {
      clearTimeout(timer);
      clearTimeout(killTimer);
      process.off("exit", killNow);
      signal.removeEventListener("abort", endGroup);
      killNow();
      resolve({ problem, output });
    };
    child.on("error", (error) => finish(error.message));
    child.on("exit", (code, endedBy) => {
      if (timedOut) finish(`it did not end within ${timeoutMs / 1000} s and was killed`);
      else finish(code === 0 ? undefined : `exit ${code === null ? `by ${endedBy}` : `code ${code}`}`);
    });
  });
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is empty.
  }
}

function readEvents(file: string): FinishedTest[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").filter(Boolean).flatMap(parseTest);
}

function parseTest(text: string): FinishedTest[] {
  const value: unknown = tryParse(text);
  if (typeof value !== "object" || value === null) return [];
  if (!("path" in value && "status" in value && "detail" in value)) return [];
  const { path, status, detail } = value;
  if (!Array.isArray(path) || typeof detail !== "string") return [];
  if (status !== "passed" && status !== "failed" && status !== "skipped") return [];
  return [{ path: path.map(String), status, detail }];
}

/** The last line of a killed process may be cut off. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
