// A real Prometheus on loopback that reads one address every second, and answers queries.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const PATIENCE_MS = 15_000;

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** The result of an expression once there is one; none after a while. A reading that came late leaves a gap. */
  query(expression: string): Promise<Sample[]>;
}

/** @param labels what the targets are called: job, namespace, pod */
export async function startPrometheus(target: string, labels: Readonly<Record<string, string>>): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-prometheus-"));
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s" },
    scrape_configs: [{ job_name: labels["job"], static_configs: [{ targets: [target], labels }] }],
  };
  writeFileSync(join(folder, "prometheus.yml"), JSON.stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    "prometheus",
    [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${address}`,
      "--log.level=error",
    ],
    { stdio: "ignore" },
  );
  const ended = once(child, "close");

  async function ask(expression: string): Promise<Sample[]> {
    const response = await fetch(`http://${address}/api/v1/query?${new URLSearchParams({ query: expression })}`, {
      signal: AbortSignal.timeout(5_000),
    });
    const body: unknown = await response.json();
    if (!isAnswer(body)) throw new Error(`${expression}: ${JSON.stringify(body)}`);
    return body.data.result.map(({ metric, value: [, text] }) => ({ metric, value: Number(text) }));
  }

  return {
    async query(expression) {
      const deadline = performance.now() + PATIENCE_MS;
      for (;;) {
        const samples = await ask(expression).catch(() => []);
        if (samples.length > 0 || performance.now() > deadline) return samples;
        if (child.exitCode !== null) throw new Error("prometheus has ended");
        await delay(50);
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Answer {
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly value: readonly [number, string];
    }[];
  };
}

function isAnswer(body: unknown): body is Answer {
  return typeof body === "object" && body !== null && "status" in body && body.status === "success";
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
