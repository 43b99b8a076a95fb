/** Runs the OpenSSL 3 command line, the one tool that makes SM2 certificates other software agrees with. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const TIMEOUT_MS = 20_000;

/** Thrown when OpenSSL is missing or refuses; the message is the end of what it printed. */
export class OpensslError extends Error {
  override readonly name = "OpensslError";
}

/** Runs `openssl …` in `directory` and gives its standard output. Arguments never pass through a shell. */
export async function runOpenssl(directory: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run("openssl", args, { cwd: directory, timeout: TIMEOUT_MS, maxBuffer: 32 * 1024 * 1024 });
    return stdout;
  } catch (cause) {
    throw new OpensslError(`openssl ${args[0]}: ${problemIn(cause)}`, { cause });
  }
}

function problemIn(cause: unknown): string {
  if (!(cause instanceof Error)) return "failed";
  if ("code" in cause && cause.code === "ENOENT") return "not found; install OpenSSL 3 (Debian package openssl)";
  return "stderr" in cause ? String(cause.stderr).trim().slice(-600) : "failed";
}
