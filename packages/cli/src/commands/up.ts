import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeError } from "../journey/expect.ts";
import { type JourneyEnd, plainNarrator, playJourney } from "../journey/index.ts";
import { terminalProgress } from "../progress.ts";
import { type Platform, startPlatform } from "../up/index.ts";
import { REPOSITORY } from "../up/layout.ts";
import { printEndpoints } from "./endpoints.ts";
import { UsageError } from "./usage.ts";

const write = (line: string) => process.stdout.write(`${line}\n`);

export async function runUp(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      once: { type: "boolean", default: false },
      "no-journey": { type: "boolean", default: false },
      home: { type: "string" },
      "port-base": { type: "string", default: "7000" },
    },
  });
  const portBase = Number(values["port-base"]);
  if (!Number.isInteger(portBase) || portBase < 1_024 || portBase > 65_000) {
    throw new UsageError("--port-base is a number from 1024 to 65000");
  }
  const interrupted = untilInterrupted();
  const startedMs = performance.now();
  write("Starting Fujie (符节) on this machine: sandbox sources, synthetic people, nothing leaves loopback.");
  await using platform = await startPlatform({
    home: resolve(values.home ?? join(REPOSITORY, ".fujie")),
    progress: terminalProgress(write),
    portBase,
  });
  write(
    `Ready after ${((performance.now() - startedMs) / 1_000).toFixed(1)} s, using ${memoryOf(platform)} MB of memory.`,
  );

  const journey = values["no-journey"] ? undefined : await tellJourney(platform);
  if (values.once) return journey?.failed === true ? 1 : 0;
  printEndpoints(platform, journey?.end, write);
  write("\nRunning. Ctrl-C stops everything; the data stays.");
  await interrupted;
  write("Stopping …");
  return 0;
}

async function tellJourney(platform: Platform): Promise<{ failed: boolean; end?: JourneyEnd }> {
  const startedMs = performance.now();
  try {
    const end = await playJourney(platform, plainNarrator(write));
    write(
      `\nThe journey is complete: every step as it must be (${((performance.now() - startedMs) / 1_000).toFixed(1)} s).`,
    );
    // The examples read the application's secret from here, so that it is not shown on the screen.
    writeFileSync(join(platform.files.journey, "client-secret"), end.clientSecret, { mode: 0o600 });
    return { failed: false, end };
  } catch (error) {
    write(`\nThe journey FAILED: ${describeError(error)}`);
    write(`Logs of all services: ${platform.files.logs}`);
    return { failed: true };
  }
}

/** Resolves at the first Ctrl-C or SIGTERM; a second one ends the process the hard way. */
function untilInterrupted(): Promise<void> {
  return new Promise((done) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
  });
}

/** Resident memory of everything that was started, in MB; shared pages of Postgres are counted once by Pss. */
function memoryOf(platform: Platform): number {
  const pids = [...platform.programs.values()].map((program) => program.pid());
  const kilobytes = [...pids, platform.postgres.pid].reduce<number>(
    (sum, pid) => sum + (pid === undefined ? 0 : treePssKb(pid)),
    0,
  );
  return Math.round(kilobytes / 1_024);
}

function treePssKb(pid: number): number {
  try {
    const own = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? "0";
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
    return children.reduce((sum, child) => sum + treePssKb(Number(child)), Number(own));
  } catch {
    // Not Linux, or the process has just ended.
    return 0;
  }
}
