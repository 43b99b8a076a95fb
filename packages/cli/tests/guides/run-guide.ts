import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { REPOSITORY } from "../../src/up/layout.ts";

/** Printed before each block, so that its output is known from the next one's. */
const SEPARATOR = "\u001e";
const TIMEOUT_MS = 60_000;

/** The shell blocks of a page, in order. */
export function readShellBlocks(page: string): string[] {
  const markdown = readFileSync(join(REPOSITORY, "docs", page), "utf8");
  return [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

/**
 * Runs the shell blocks of a page one after another in one shell and an empty folder, as a reader would type them, and
 * tells what each printed.
 * @throws Error with the output of the block that failed
 */
export async function runGuide(page: string, env: Readonly<Record<string, string>>): Promise<string[]> {
  const blocks = readShellBlocks(page);
  const folder = mkdtempSync(join(tmpdir(), "fujie-guide-"));
  try {
    const script = ["set -eu", ...blocks.flatMap((block) => [`printf '${SEPARATOR}'`, block])].join("\n");
    const shell = spawn("bash", ["-s"], {
      cwd: folder,
      // No proxy of this machine: everything is on loopback.
      env: { PATH: process.env["PATH"], HOME: folder, LANG: "C.UTF-8", ...env },
      stdio: ["pipe", "pipe", "pipe"],
      timeout: TIMEOUT_MS,
    });
    shell.stdin.end(script);
    const ended = new Promise<number | null>((resolve) => shell.once("close", resolve));
    const [code, output, errors] = await Promise.all([ended, text(shell.stdout), text(shell.stderr)]);
    const printed = output.split(SEPARATOR).slice(1);
    if (code !== 0) {
      const failed = `block ${printed.length} of docs/${page} ended with ${code}`;
      throw new Error(`${failed}:\n${blocks[printed.length - 1]}\n${printed.at(-1)}\n${errors}`);
    }
    return printed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
