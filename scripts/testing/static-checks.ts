import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findStaleFiles } from "../generate.ts";
import { root, runProgram } from "./programs.ts";

export type CheckOutcome = { status: "passed" } | { status: "failed"; output: string } | NotApplicable;

/** A check that has nothing to compare or look at here; the summary names it with the reason. */
export type NotApplicable = { status: "not applicable"; reason: string };

export type StaticCheck = { name: string; run(): Promise<CheckOutcome> };

/** The folders with our own TypeScript. */
const sourceFolders = ["packages", "services", "sandbox", "witness", "bench", "deploy", "tests", "scripts"];

export const staticChecks: StaticCheck[] = [
  { name: "generated files are up to date", run: checkGenerated },
  { name: "proto lint", run: () => expectSuccess("buf", ["lint"]) },
  { name: "proto compatibility", run: checkBreaking },
  { name: "format and lint", run: () => expectSuccess("biome", ["check", "--colors=off", "--max-diagnostics=50"]) },
  {
    name: "import rules",
    run: () => expectSuccess("depcruise", ["--config", ".dependency-cruiser.cjs", ...existing()]),
  },
  { name: "types", run: () => checkTypes("tsconfig.json", "types") },
  { name: "types of the scripts", run: () => checkTypes("scripts/tsconfig.json", "types-of-scripts") },
];

async function expectSuccess(program: string, args: string[]): Promise<CheckOutcome> {
  const { code, output } = await runProgram(program, args);
  return code === 0 ? { status: "passed" } : { status: "failed", output };
}

/** The compiler remembers in .cache what it found, and looks again only at what has changed since. */
function checkTypes(project: string, cache: string): Promise<CheckOutcome> {
  const memory = ["--incremental", "--tsBuildInfoFile", join(root, ".cache", `${cache}.tsbuildinfo`)];
  return expectSuccess("tsc", ["--pretty", "false", "-p", project, ...memory]);
}

function existing(): string[] {
  return sourceFolders.filter((folder) => existsSync(join(root, folder)));
}

async function checkGenerated(): Promise<CheckOutcome> {
  try {
    const stale = await findStaleFiles();
    if (stale.length === 0) return { status: "passed" };
    return { status: "failed", output: [...stale, "Run: node scripts/generate.ts"].join("\n") };
  } catch (error) {
    return { status: "failed", output: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Compares proto/ as it is with the point where it left `main`; on `main` itself with the commit before.
 * Not applicable only where git has no such proto to compare with.
 */
async function checkBreaking(): Promise<CheckOutcome> {
  const base = await findBase();
  if (base === undefined) return { status: "not applicable", reason: "the history holds no earlier proto/" };
  const folder = mkdtempSync(join(tmpdir(), "fujie-proto-"));
  try {
    const archive = join(folder, "earlier.tar");
    const earlier = join(folder, "earlier");
    const files = (await git(["ls-tree", "--name-only", base, "proto", "buf.yaml"])).split("\n").filter(Boolean);
    await git(["archive", "--format=tar", `--output=${archive}`, base, ...files]);
    mkdirSync(earlier);
    const unpacked = await runProgram("tar", ["-xf", archive, "-C", earlier]);
    if (unpacked.code !== 0) return { status: "failed", output: unpacked.output };
    return await expectSuccess("buf", ["breaking", "--against", earlier]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function findBase(): Promise<string | undefined> {
  const head = await tryGit(["rev-parse", "--verify", "--quiet", "HEAD"]);
  if (head === undefined) return undefined;
  for (const main of ["origin/main", "main"]) {
    const base = await tryGit(["merge-base", "HEAD", main]);
    if (base !== undefined && base !== head && (await hasProto(base))) return base;
  }
  const before = await tryGit(["rev-parse", "--verify", "--quiet", "HEAD~1"]);
  return before !== undefined && (await hasProto(before)) ? before : undefined;
}

async function hasProto(commit: string): Promise<boolean> {
  return (await tryGit(["ls-tree", "--name-only", commit, "proto/"])) !== undefined;
}

async function tryGit(args: string[]): Promise<string | undefined> {
  // Git refuses a repository of another user, such as root's clone in a container, unless told to trust it.
  const { code, output } = await runProgram("git", ["-c", `safe.directory=${root}`, ...args]);
  return code === 0 && output !== "" ? output : undefined;
}

async function git(args: string[]): Promise<string> {
  const { code, output } = await runProgram("git", ["-c", `safe.directory=${root}`, ...args]);
  if (code !== 0) throw new Error(`git ${args[0]} failed: ${output}`);
  return output;
}
