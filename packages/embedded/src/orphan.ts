import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { commandLineOf, identifyProcess, isAlive, type ProcessIdentity } from "./process-identity.ts";

/** No system gives out a pid this large (Linux: at most 2^22), so nothing lives under it. */
const IMPOSSIBLE_PID = 999_999_999;

/**
 * Ends the server that a killed parent left behind on `dataDir`. Call it only while holding the folder's lock.
 *
 * The pid file alone proves nothing, since the pid may be another program's by now: only a `postgres` that was
 * started on this very folder is ended. When the pid belongs to somebody else, the file is kept but made to name
 * nobody: it also names the shared memory, by which Postgres itself refuses to start beside a left-over backend.
 */
export async function stopOrphan(dataDir: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(dataDir, "postmaster.pid");
  if (!existsSync(pidFile)) return;
  const lines = readFileSync(pidFile, "utf8").split("\n");
  const pid = Number(lines[0]);
  const orphan = Number.isSafeInteger(pid) && pid > 1 ? identifyProcess(pid) : undefined;
  if (orphan === undefined) return;
  if (isPostgresOn(orphan.pid, dataDir)) {
    log(`stopping the server that an ended process left behind (pid ${orphan.pid})`);
    await endServer(orphan);
    return;
  }
  log(`the pid file names process ${orphan.pid}, which is not this folder's server: ignored`);
  writeFileSync(pidFile, [String(IMPOSSIBLE_PID), ...lines.slice(1)].join("\n"));
}

function isPostgresOn(pid: number, dataDir: string): boolean {
  const [program, ...args] = commandLineOf(pid) ?? [];
  return program !== undefined && basename(program) === "postgres" && args[args.indexOf("-D") + 1] === dataDir;
}

/**
 * Ends a postmaster: first "fast" (SIGINT: sessions are rolled back and ended, then a checkpoint), after
 * `fastMs` "immediate" (SIGQUIT: recovery at the next start), at last by SIGKILL.
 */
export async function endServer(server: ProcessIdentity, fastMs = 30_000): Promise<void> {
  const steps = [
    ["SIGINT", fastMs],
    ["SIGQUIT", 5_000],
    ["SIGKILL", 5_000],
  ] as const;
  for (const [signal, patienceMs] of steps) {
    if (!isAlive(server)) return;
    sendSignal(server.pid, signal);
    const giveUpAt = performance.now() + patienceMs;
    while (isAlive(server) && performance.now() < giveUpAt) await sleep(20);
  }
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in between, which is what was wanted.
  }
}
