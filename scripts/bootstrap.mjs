// Starts a command of the project on a machine that has no more than some Node and npm:
//
//   node scripts/bootstrap.mjs <start|test|test-long|bench|cli> [arguments]
//
// right Node (its own, else npm's) → right pnpm → installed packages → the command
//
// Plain JavaScript for any Node ≥ 18, without dependencies, since nothing is installed yet when it runs.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants as osConstants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { explain, fetchTarball, quietNpm, run, SetUpError, unpackTarball, withHome } from "./npm-package.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cache = join(root, ".cache");
const fallbackHome = join(cache, "home");

const NODE_MAJOR = 24;
const NODE_VERSION = "24.21.0";
const PNPM = "pnpm@12.21.0";

/** npm packages that hold nothing but Node's binary, with the integrity that the registry states for them. */
const nodePackages = {
  "linux-x64": "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
  "linux-arm64": "sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
};

const commands = {
  start: ["packages/cli/src/main.ts", "up"],
  test: ["scripts/test.ts"],
  "test-long": ["scripts/test.ts", "--long"],
  bench: ["bench/src/main.ts"],
  cli: ["packages/cli/src/main.ts"],
};

async function main() {
  const [name = "", ...args] = process.argv.slice(2);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined)
    throw new SetUpError(`usage: bootstrap.mjs <${Object.keys(commands).join("|")}> [arguments]`);
  const node = await findNode();
  const env = environmentFor(node);
  await installPackages(env);
  const [script, ...fixed] = command;
  await handOver(node, [join(root, script), ...fixed, ...args], env);
}

/** The Node to run on: this one, else the one fetched before, else the one that npm has. */
async function findNode() {
  if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR) return process.execPath;
  const node = join(cache, `node-${NODE_VERSION}`, "bin", "node");
  if (!existsSync(node)) await fetchNode(node);
  return node;
}

async function fetchNode(node) {
  const platform = `${process.platform}-${process.arch}`;
  const integrity = nodePackages[platform];
  const wanted = `Fujie needs Node ${NODE_MAJOR}, this is ${process.versions.node}`;
  if (integrity === undefined) throw new SetUpError(`${wanted}, and npm has none for ${platform}: please install it`);
  const done = say(`${wanted}: fetching Node ${NODE_VERSION} from npm (once, about 190 MB on disk)`);
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "node-"));
  try {
    const tarball = await fetchTarball(
      `node-${platform}@${NODE_VERSION}`,
      integrity,
      folder,
      withHome(process.env, fallbackHome),
    );
    const fresh = join(folder, "node");
    await unpackTarball(createReadStream(tarball), "package/bin/node", createWriteStream(fresh));
    chmodSync(fresh, 0o755);
    const check = spawnSync(fresh, ["--version"], { encoding: "utf8" });
    if (check.stdout?.trim() !== `v${NODE_VERSION}`) {
      throw new SetUpError(`npm's Node does not run on this system: please install Node ${NODE_MAJOR}`);
    }
    mkdirSync(dirname(node), { recursive: true });
    renameSync(fresh, node);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  done();
}

/** Installs what the lockfile says, unless the installed packages already come from these very files. */
async function installPackages(env) {
  const stamp = join(cache, "installed");
  const digest = digestOfManifests();
  const installed = existsSync(join(root, "node_modules", ".modules.yaml"));
  if (installed && existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;
  const done = say("installing packages");
  const args = ["--yes", PNPM, "install", "--frozen-lockfile", "--reporter=append-only"];
  // CI=true: pnpm may then replace an outdated node_modules without asking.
  const { code, output } = await run("npx", args, quietNpm({ ...env, CI: "true" }), root);
  if (code !== 0) throw new SetUpError(explain("the packages could not be installed", output));
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, digest);
  done();
}

function digestOfManifests() {
  const hash = createHash("sha256").update(`${process.platform}-${process.arch} ${PNPM}\n`);
  const folders = ["packages", "services"].flatMap((parent) =>
    existsSync(join(root, parent)) ? readdirSync(join(root, parent)).map((name) => join(parent, name)) : [],
  );
  const manifests = ["", "sandbox", "witness", "bench", ...folders.sort()].map((folder) =>
    join(folder, "package.json"),
  );
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...manifests]) {
    if (existsSync(join(root, file))) hash.update(`${file}\n`).update(readFileSync(join(root, file)));
  }
  return hash.digest("hex");
}

function environmentFor(node) {
  const path = [dirname(node), join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter);
  // Node keeps what it compiled: every process after the first starts in two thirds of the time.
  const compiled = join(root, ".cache", "compiled");
  return withHome({ NODE_COMPILE_CACHE: compiled, ...process.env, PATH: path }, fallbackHome);
}

/** Says what goes on, again every few seconds while it lasts, and how long it took. */
function say(what) {
  const startedAt = process.hrtime.bigint();
  const seconds = () => Math.round(Number(process.hrtime.bigint() - startedAt) / 1e9);
  console.error(`${what} …`);
  const timer = setInterval(() => console.error(`  … ${seconds()} s`), 5000);
  process.once("exit", () => clearInterval(timer));
  return () => {
    clearInterval(timer);
    console.error(`  done in ${seconds()} s`);
  };
}

/** Runs the command in this process's place: same terminal, each signal passed on once, same exit code. */
function handOver(node, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, args, { cwd: process.cwd(), env, stdio: "inherit" });
    for (const signal of ["SIGINT", "SIGTERM"]) {
      let passedOn = false;
      process.on(signal, () => {
        // A terminal's Ctrl-C has reached the child already, as a member of the same process group.
        const fromTerminal = signal === "SIGINT" && process.stdin.isTTY;
        if (!passedOn && !fromTerminal) child.kill(signal);
        passedOn = true;
      });
    }
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      process.exitCode = code ?? 128 + osConstants.signals[signal];
      resolve();
    });
  });
}

try {
  await main();
} catch (error) {
  console.error(error instanceof SetUpError ? error.message : error);
  process.exit(1);
}
