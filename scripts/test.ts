// The runner behind `npm test`:
//
//   npm test                       static checks, then every *.test.ts
//   npm test -- <part of a path>…  only the test files whose path holds one of the parts; no static checks
//   npm run test:long              every *.long.ts; FUJIE_SEED=<number> repeats a run
//
// system packages → static checks → one PostgreSQL for all → the files, some at a time → canary scan → the counts
//
// With CI=true or --strict, what had to be left out is a failure: a check not made never counts as passed.

import { randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { startThrowawayPostgres } from "../packages/embedded/src/testing.ts";
import { scanForCanaries } from "./testing/canary-scan.ts";
import { findTestFiles } from "./testing/discover.ts";
import { longestFirst, rememberDurations } from "./testing/durations.ts";
import { root } from "./testing/programs.ts";
import { type FileResult, runTestFile } from "./testing/run-file.ts";
import { staticChecks } from "./testing/static-checks.ts";
import { installMissing, missingFor, type SystemPackage, systemPackages } from "./testing/system-packages.ts";
import {
  addCheck,
  addFailure,
  addFile,
  addLeftOut,
  emptyTally,
  succeeded,
  summarise,
  type Tally,
} from "./testing/tally.ts";

/** One more than the cores: many tests wait for processes of theirs. No more than one PostgreSQL has connections for. */
const CONCURRENCY = Math.min(availableParallelism() + 1, 8);
const FILE_TIMEOUT_MS = 240_000;
const LONG_FILE_TIMEOUT_MS = 30 * 60_000;

type Plan = { long: boolean; strict: boolean; parts: string[] };

function readPlan(args: string[]): Plan {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--long" && arg !== "--strict");
  if (unknown !== undefined)
    throw new Error(`unknown option ${unknown}: known are --long, --strict and parts of paths`);
  const long = args.includes("--long");
  const strict = args.includes("--strict") || process.env["CI"] === "true";
  return { long, strict, parts: args.filter((arg) => !arg.startsWith("-")) };
}

async function main(plan: Plan, signal: AbortSignal): Promise<Tally> {
  const all = findTestFiles(plan.long ? ".long.ts" : ".test.ts");
  const files = plan.parts.length === 0 ? all : all.filter((file) => plan.parts.some((part) => file.includes(part)));
  const sources = new Map(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));
  let tally = emptyTally();

  const missing = await step("system packages", async () => prepareSystem([...sources.values()]));
  if (!plan.long && plan.parts.length === 0) tally = await runStaticChecks(tally, signal);

  const runnable: string[] = [];
  for (const [file, source] of sources) {
    const lacking = missingFor(source, missing).map((one) => one.debian);
    if (lacking.length === 0) runnable.push(file);
    else tally = addLeftOut(tally, { name: file, reason: `needs ${lacking.join(", ")}`, allowed: false });
  }
  return runnable.length === 0 || signal.aborted ? tally : runFiles(runnable, plan, tally, signal);
}

function prepareSystem(sources: string[]): { outcome: string; value: SystemPackage[] } {
  const wanted = systemPackages.filter((one) => sources.some((source) => one.usedBy.test(source)));
  const missing = installMissing(wanted, console.log);
  const outcome = missing.length === 0 ? "ok" : `missing: ${missing.map((one) => one.debian).join(", ")}`;
  return { outcome, value: missing };
}

async function runStaticChecks(before: Tally, signal: AbortSignal): Promise<Tally> {
  if (signal.aborted) return before;
  // All at once: none of them keeps a whole core busy from beginning to end.
  const outcomes = await Promise.all(
    staticChecks.map((check) =>
      step(check.name, async () => {
        const outcome = await check.run();
        return { outcome: outcome.status, value: { check, outcome } };
      }),
    ),
  );
  return outcomes.reduce((tally, { check, outcome }) => addCheck(tally, check.name, outcome), before);
}

async function runFiles(files: string[], plan: Plan, before: Tally, signal: AbortSignal): Promise<Tally> {
  const seed = readSeed();
  if (plan.long) console.log(`seed ${seed} (FUJIE_SEED=${seed} repeats this run)`);
  const server = await step("PostgreSQL for the tests", async () => ({ outcome: "ok", value: await findPostgres() }));
  const observed = mkdtempSync(join(tmpdir(), "fujie-observed-"));
  try {
    const env = { FUJIE_TEST_POSTGRES_URL: server.adminUrl, ...(plan.long ? { FUJIE_SEED: String(seed) } : {}) };
    const timeoutMs = plan.long ? LONG_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS;
    const queue = longestFirst(files);
    const results: FileResult[] = [];
    const work = async (): Promise<void> => {
      for (let file = queue.shift(); file !== undefined && !signal.aborted; file = queue.shift()) {
        const observedFolder = join(observed, file.replaceAll("/", "-"));
        const result = await runTestFile(file, { timeoutMs, env, signal, observedFolder });
        results.push(result);
        sayStep(file, describe(result), result.seconds);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, () => work()));
    rememberDurations(results);
    return await scanObserved(observed, results.reduce(addFile, before));
  } finally {
    rmSync(observed, { recursive: true, force: true, maxRetries: 5 });
    await server.stop();
  }
}

/** Nobody whom the tests know may be in what services let others see: logs, telemetry, addresses, errors. */
async function scanObserved(folder: string, before: Tally): Promise<Tally> {
  const { files, bytes, findings } = await step("canary scan", async () => {
    const scan = scanForCanaries(folder);
    const outcome = `${scan.files} files, ${scan.bytes} bytes, ${scan.findings.length} findings`;
    return { outcome, value: scan };
  });
  const reason = "no service was seen";
  if (files === 0 || bytes === 0) return addCheck(before, "canary scan", { status: "not applicable", reason });
  if (findings.length === 0) return addCheck(before, "canary scan", { status: "passed" });
  return addCheck(before, "canary scan", { status: "failed", output: findings.join("\n") });
}

function readSeed(): number {
  const given = process.env["FUJIE_SEED"];
  if (given === undefined || given === "") return randomInt(2 ** 31);
  const seed = Number(given);
  if (!Number.isSafeInteger(seed)) throw new Error("FUJIE_SEED is not a whole number");
  return seed;
}

async function findPostgres(): Promise<{ adminUrl: string; stop: () => Promise<void> }> {
  const given = process.env["FUJIE_TEST_POSTGRES_URL"];
  if (given !== undefined && given !== "") return { adminUrl: given, stop: async () => {} };
  return startThrowawayPostgres();
}

function describe(result: FileResult): string {
  const failed = result.tests.filter((test) => test.status === "failed").length;
  return failed === 0 ? `${result.tests.length} ok` : `${failed} of ${result.tests.length} failed`;
}

async function step<T>(name: string, run: () => Promise<{ outcome: string; value: T }>): Promise<T> {
  const startedAt = performance.now();
  const { outcome, value } = await run();
  sayStep(name, outcome, (performance.now() - startedAt) / 1000);
  return value;
}

function sayStep(name: string, outcome: string, seconds: number): void {
  console.log(`${name}: ${outcome} (${seconds.toFixed(1)} s)`);
}

function report(tally: Tally, strict: boolean): void {
  for (const { name, detail } of tally.failures) console.log(`\nFAILED ${name}\n${detail.replaceAll(/^/gm, "    ")}`);
  if (tally.leftOut.length > 0) console.log("\nnot done:");
  for (const { name, reason, allowed } of tally.leftOut) {
    console.log(`  ${name}: ${reason}${strict && !allowed ? " (a failure in a strict run)" : ""}`);
  }
  console.log(`\n${summarise(tally)}`);
}

const plan = readPlan(process.argv.slice(2));
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interruption.abort(signal));

let tally = await main(plan, interruption.signal);
if (interruption.signal.aborted) tally = addFailure(tally, "the run", `ended by ${interruption.signal.reason}`);
report(tally, plan.strict);
if (!succeeded(tally, plan.strict)) process.exitCode = 1;
