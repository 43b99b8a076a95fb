import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

/** How to run one program of the platform. */
export interface ProgramSpec {
  readonly name: string;
  /** Path of the program's main module. */
  readonly main: string;
  readonly args?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where its output goes, appended. */
  readonly logFile: string;
  /** Address that answers 200 once the program is ready. */
  readonly readyUrl: string;
}

export interface Program {
  readonly name: string;
  /** The process that runs now; it changes when the program is started again after it ended by itself. */
  pid(): number | undefined;
  ready(): Promise<void>;
  /** SIGTERM, then SIGKILL after the grace; resolves when the process is gone. */
  stop(): Promise<void>;
}

const RESTART_DELAY_MS = 300;
const RESTARTS_MAX = 20;
const STOP_GRACE_MS = 15_000;
const READY_POLL_MS = 100;
const READY_TIMEOUT_MS = 60_000;
/** Small heaps: eight processes share a machine here. Production sets its own from the memory limit. */
const NODE_FLAGS = ["--disable-warning=ExperimentalWarning", "--max-old-space-size=256", "--max-semi-space-size=4"];

/** Starts a program and starts it again when it ends by itself, as Kubernetes would. */
export function superviseProgram(spec: ProgramSpec, onEnd: (line: string) => void): Program {
  let child = spawnProgram(spec);
  let stopping = false;
  let restarts = 0;
  let restartTimer: NodeJS.Timeout | undefined;

  const watch = (watched: ChildProcess): void => {
    watched.once("exit", (code, signal) => {
      if (stopping) return;
      restarts += 1;
      onEnd(`${spec.name} ended by itself (${signal ?? `exit code ${code}`}); see ${spec.logFile}`);
      if (restarts > RESTARTS_MAX) return;
      restartTimer = setTimeout(() => {
        child = spawnProgram(spec);
        watch(child);
      }, RESTART_DELAY_MS * restarts);
    });
  };
  watch(child);

  return {
    name: spec.name,
    pid: () => (isRunning(child) ? child.pid : undefined),
    ready: () => untilReady(spec, () => restarts > 2),
    stop: async () => {
      stopping = true;
      clearTimeout(restartTimer);
      await stopChild(child);
    },
  };
}

/** Runs a program to its end, for commands such as `migrate`. Throws with the end of its output when it fails. */
export async function runProgram(spec: Omit<ProgramSpec, "readyUrl">, args: readonly string[]): Promise<void> {
  const child = spawnProgram(spec, args);
  const code = await new Promise<number | null>((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`${spec.name} ${args.join(" ")} failed (exit code ${code}):\n${tail(spec.logFile)}`);
}

function spawnProgram(
  { main, env, logFile, args: fixed = [] }: Omit<ProgramSpec, "readyUrl">,
  args: readonly string[] = fixed,
): ChildProcess {
  const output = openSync(logFile, "a", 0o600);
  try {
    return spawn(process.execPath, [...NODE_FLAGS, main, ...args], {
      env: { ...inheritedEnv(), ...env },
      // The channel closes when we end, however that comes, and the program then ends too.
      stdio: ["ignore", output, output, "ipc"],
      // A group of its own: Ctrl-C at the terminal reaches us alone, and we end the programs in order.
      detached: true,
    });
  } finally {
    closeSync(output);
  }
}

/** The caller's environment without settings of the platform: those come from us alone. */
function inheritedEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FUJIE_")));
}

async function untilReady(spec: ProgramSpec, hopeless: () => boolean): Promise<void> {
  const endMs = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < endMs && !hopeless()) {
    const response = await fetch(spec.readyUrl).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  throw new Error(`${spec.name} did not become ready:\n${tail(spec.logFile)}`);
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
  await gone;
  clearTimeout(timer);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function tail(file: string): string {
  return readFileSync(file, "utf8").split("\n").slice(-25).join("\n");
}
