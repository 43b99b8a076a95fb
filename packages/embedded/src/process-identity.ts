import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process as the system knows it: a bare pid is soon somebody else's, pid and start together are not. */
export type ProcessIdentity = { pid: number; started: string };

/** The identity of `pid`, or undefined when no such process lives. A zombie counts as dead. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  if (process.platform !== "linux") return identifyByPs(pid);
  const stat = readProc(pid, "stat");
  if (stat === undefined) return undefined;
  // The command name may hold spaces and parentheses, so fields are counted after the last ")" (proc_pid_stat(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startTicks = fields[19];
  if (startTicks === undefined || state === "Z" || state === "X") return undefined;
  return { pid, started: startTicks };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.started === identity.started;
}

/** The arguments that `pid` was started with, or undefined when it is gone or hidden. */
export function commandLineOf(pid: number): string[] | undefined {
  if (process.platform === "linux") {
    return readProc(pid, "cmdline")
      ?.split("\0")
      .filter((argument) => argument !== "");
  }
  return runPs(pid, "command=")?.split(" ");
}

function identifyByPs(pid: number): ProcessIdentity | undefined {
  const started = runPs(pid, "lstart=");
  return started === undefined ? undefined : { pid, started };
}

function runPs(pid: number, column: string): string | undefined {
  try {
    const output = execFileSync("ps", ["-p", String(pid), "-o", column], { encoding: "utf8" }).trim();
    return output === "" ? undefined : output;
  } catch {
    return undefined;
  }
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined;
  }
}
