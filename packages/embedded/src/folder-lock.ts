import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { EmbeddedError } from "./errors.ts";
import { identifyProcess, isAlive, type ProcessIdentity } from "./process-identity.ts";

/**
 * Takes `lockFile` for this process and returns its release.
 *
 * The file holds the pid and start of the process that runs the server, so that a lock left by a killed process is
 * told from a live one. Linking a finished file into place makes taking it atomic, and a stale lock is moved away
 * before it is replaced, so that of two processes that find it only one goes on.
 *
 * @throws EmbeddedError ALREADY_RUNNING when a live process (this one too) holds it.
 */
export function lockFolder(lockFile: string): () => void {
  const self = identifyProcess(process.pid);
  if (self === undefined) throw new EmbeddedError("START_FAILED", "this process cannot read its own start time");
  const own = `${lockFile}.${process.pid}.${randomUUID()}`;
  writeFileSync(own, JSON.stringify(self), { mode: 0o644 });
  try {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      if (linked(own, lockFile)) return () => rmSync(lockFile, { force: true });
      const holder = readHolder(lockFile);
      if (holder !== undefined && isAlive(holder)) {
        throw new EmbeddedError("ALREADY_RUNNING", `process ${holder.pid} already runs the server of ${lockFile}`);
      }
      moveAway(lockFile, `${own}.stale`, holder);
    }
    throw new EmbeddedError("ALREADY_RUNNING", `other processes keep taking ${lockFile}`);
  } finally {
    rmSync(own, { force: true });
    rmSync(`${own}.stale`, { force: true });
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

function moveAway(lockFile: string, aside: string, stale: ProcessIdentity | undefined): void {
  try {
    renameSync(lockFile, aside);
  } catch (error) {
    if (isCode(error, "ENOENT")) return;
    throw error;
  }
  const moved = readHolder(aside);
  // Between reading and renaming another process may have put its own lock there: give it back.
  if (moved !== undefined && moved.pid !== stale?.pid && isAlive(moved)) linked(aside, lockFile);
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof value !== "object" || value === null || !("pid" in value) || !("started" in value)) return undefined;
    const { pid, started } = value;
    return typeof pid === "number" && typeof started === "string" ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
