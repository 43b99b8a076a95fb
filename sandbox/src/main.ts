import { ConfigError, readConfig } from "./config.ts";
import type { Log } from "./log.ts";

const EXIT_CONFIG = 78;

const log: Log = {
  info: (fields, message) => write("info", fields, message),
  error: (fields, message) => write("error", fields, message),
};

function write(level: string, fields: Readonly<Record<string, string | number>>, message: string): void {
  process.stdout.write(`${JSON.stringify({ level, time: new Date().toISOString(), ...fields, msg: message })}\n`);
}

async function main(): Promise<void> {
  const stopping = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
    // Started by the platform's command line, the sandbox ends with it: the channel closes however that ended.
    process.once("disconnect", () => resolve());
    process.channel?.unref();
  });
  const config = readConfig(process.env);
  if (process.argv.includes("--check-config")) return;
  const { startSandbox } = await import("./server.ts");
  await using _sandbox = await startSandbox({ ...config, log });
  await stopping;
  log.info({}, "the sandbox stops");
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : "the sandbox failed"}\n`);
  process.exitCode = error instanceof ConfigError ? EXIT_CONFIG : 1;
}
