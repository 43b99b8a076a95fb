import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Client } from "@connectrpc/connect";
import { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { peerClient, type TestLog, until } from "./fixture.ts";

export interface ServiceProcess {
  readonly ingest: Client<typeof IngestService>;
  /** Sends a line and reads the line that answers it, of a program that answers. */
  ask(line: string): Promise<string>;
  /** kill −9, and waits for the end. */
  kill(): Promise<void>;
}

/** The service as it runs in production, or another program that starts it: a process of its own, over mutual TLS. */
export async function startProcess(
  log: TestLog,
  env: Readonly<Record<string, string>>,
  program: readonly string[] = [join(import.meta.dirname, "../src/main.ts")],
): Promise<ServiceProcess> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...program], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const answers: ((line: string) => void)[] = [];
  const ports = await new Promise<{ grpc: number; admin: number }>((resolve, reject) => {
    void exited.then(() => reject(new Error("the process ended before it served")));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said: { message?: string; grpc: number; admin: number } = JSON.parse(line);
      if (said.message === "serving") resolve(said);
      else answers.shift()?.(line);
    });
  });
  await until(async () => (await fetch(`http://127.0.0.1:${ports.admin}/readyz`)).ok, "audit is ready");
  const peer = await peerClient(log, "registry", ports.grpc);
  return {
    ingest: peer(IngestService),
    ask: (line) =>
      new Promise((resolve) => {
        answers.push(resolve);
        child.stdin.write(`${line}\n`);
      }),
    kill: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exited;
      peer[Symbol.dispose]();
    },
  };
}
