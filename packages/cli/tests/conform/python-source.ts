/** Trust sources in stock python3: the example, and sources that are wrong in one thing each. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { writeDescriptorSet } from "../../../../scripts/descriptor-set.ts";
import { REPOSITORY } from "../../src/up/layout.ts";
import { PYTHON } from "../python/run-python-client.ts";

export const EXAMPLE = join(REPOSITORY, "examples/trust-source-python");

const PROTOS = [
  "fujie/source/v1/source.proto",
  "fujie/options/v1/options.proto",
  "buf/validate/validate.proto",
  "google/rpc/status.proto",
  "google/rpc/error_details.proto",
];

/** Makes stubs as the example's README says. Needs Debian's protobuf-compiler and protobuf-compiler-grpc. */
export async function generateStubs(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const set = join(folder, "fujie.binpb");
  await writeDescriptorSet(set);
  await promisify(execFile)("protoc", [
    `--descriptor_set_in=${set}`,
    `--python_out=${folder}`,
    `--grpc_python_out=${folder}`,
    "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
    ...PROTOS,
  ]);
}

export interface PythonProgram extends AsyncDisposable {
  /** The first line of its standard output. */
  readonly line: string;
}

/**
 * Starts a program that prints one line once it is ready. Needs Debian's python3-grpcio, python3-protobuf and
 * python3-cryptography. Disposing ends it by SIGTERM.
 * @throws Error with what it said when it ends before that
 */
export async function startPython(stubs: string, args: readonly string[]): Promise<PythonProgram> {
  const child = spawn(PYTHON, args, {
    // Nothing inherited: a proxy of this machine is not for loopback. No byte code into the repository.
    env: { PATH: process.env["PATH"], PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk.toString("utf8")));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once("line", resolve);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the Python program ended: ${said.join("")}`)));
  });
  return { line, [Symbol.asyncDispose]: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const killing = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(killing);
}
