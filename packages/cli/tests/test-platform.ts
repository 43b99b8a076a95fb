import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keepObserved, startCollector } from "@fujie/embedded/testing";
import { type Platform, type PlatformOptions, startPlatform } from "../src/up/index.ts";
import { SERVICES } from "../src/up/layout.ts";

/** A data folder that is removed at disposal. */
export function temporaryHome(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "fujie-home-"));
  // Started by root, Postgres is another user, who must be able to pass through.
  chmodSync(path, 0o711);
  return {
    path,
    [Symbol.dispose]: () => {
      keepLogs(join(path, "logs"));
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** What the services have logged is looked through at the end of the run. */
function keepLogs(folder: string): void {
  if (!existsSync(folder)) return;
  for (const file of readdirSync(folder)) keepObserved("log", readFileSync(join(folder, file)));
}

/** The whole platform on free ports, silent; spans and metrics go to a collector. */
export async function startTestPlatform(
  home: string,
  options: Partial<Pick<PlatformOptions, "settings" | "portBase">> = {},
): Promise<Platform> {
  const { endpoint } = await startCollector();
  const progress = { say: () => {}, step: <T>(_name: string, run: () => Promise<T>) => run() };
  return startPlatform({
    home,
    progress,
    throwaway: true,
    portBase: options.portBase ?? (await freePortBase()),
    ...options,
    settings: Object.fromEntries(
      SERVICES.map((service) => [service, { FUJIE_OTLP_ENDPOINT: endpoint, ...options.settings?.[service] }]),
    ),
  });
}

/** A hundred ports in a row below the ephemeral range, of which those that a platform uses were free a moment ago. */
export async function freePortBase(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const base = 10_000 + Math.floor(Math.random() * 200) * 100;
    const offsets = [11, 12, 13, 21, 22, 23, 31, 32, 33, 41, 42, 43, 51, 52];
    const free = await Promise.all(offsets.map((offset) => isFree(base + offset)));
    if (free.every(Boolean)) return base;
  }
  throw new Error("no hundred free ports");
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  const opened = await Promise.race([
    once(server, "listening").then(() => true),
    once(server, "error").then(() => false),
  ]);
  server.close();
  return opened;
}
