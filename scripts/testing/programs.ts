import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the whole repository. */
export const root: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export type ProgramResult = { code: number; output: string };

/**
 * Runs a program from the repository's root, with the installed packages' programs and this Node first on the PATH.
 * Its output is kept; a program that cannot be run ends with code 127.
 */
export async function runProgram(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<ProgramResult> {
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, PATH: projectPath(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: 127, output: `${program}: ${error.message}` }));
    child.on("close", (code) => resolve({ code: code ?? 1, output: output.trim() }));
  });
}

export function projectPath(): string {
  return [dirname(process.execPath), join(root, "node_modules", ".bin"), process.env["PATH"] ?? ""].join(":");
}
