#!/usr/bin/env node
/**
 * The witness of the managing authority: a program of its own, with its own key, machine and memory. It cosigns the
 * checkpoints of the logs that it watches, and never two histories of one log (c2sp.org/tlog-witness).
 */
import { parseArgs } from "node:util";
import { ConfigError, readSettings } from "./config.ts";
import { createWitnessKey, readWitnessKey, verifierKeyOf } from "./key.ts";
import { startWitness } from "./server.ts";

const HELP = `fujie-witness: cosigns the checkpoints of transparency logs (c2sp.org/tlog-witness)

  fujie-witness keygen --key FILE --name NAME
      Makes the witness's key and prints its public half, for the log's settings and for verifiers.
  fujie-witness key --key FILE --name NAME
      Prints the public half of a key that there is.
  fujie-witness serve --config FILE
      Serves until SIGTERM. The file (JSON; paths are relative to it):
      {"name": "witness.example.cn/1", "listen": "127.0.0.1:7061", "keyFile": "witness.pem",
       "stateFile": "witness.db", "tls": {"certFile": "…", "keyFile": "…"},
       "logs": [{"origin": "log.example.cn/2026", "verifierKeys": ["…"]}]}
      tls is needed beyond loopback. Never put an older state file back.
  fujie-witness serve --config FILE --check-config
      Only reads the settings.
`;

const USAGE_EXIT_CODE = 2;

async function main(args: readonly string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      key: { type: "string", default: "" },
      name: { type: "string", default: "" },
      config: { type: "string", default: "" },
      "check-config": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [command] = positionals;
  if (values.help || command === undefined) return say(HELP);
  if (command === "keygen") return say(`${verifierKeyOf(values.name, createWitnessKey(values.key))}\n`);
  if (command === "key") return say(`${verifierKeyOf(values.name, readWitnessKey(values.key))}\n`);
  if (command !== "serve") throw new ConfigError(`there is no command "${command}" (see: fujie-witness --help)`);
  const settings = readSettings(values.config);
  if (values["check-config"]) return say("fujie-witness: the settings are sound\n");
  const stopping = untilStopped();
  await using witness = await startWitness({
    settings,
    nowS: () => Math.floor(Date.now() / 1_000),
    log: (level, message) => say(`${JSON.stringify({ level, time: new Date().toISOString(), msg: message })}\n`),
  });
  say(
    `${JSON.stringify({ level: "info", msg: "the witness serves", port: witness.port, key: witness.verifierKey })}\n`,
  );
  await stopping;
}

function say(text: string): void {
  process.stdout.write(text);
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
    // Started by the platform's command line, the witness ends with it: the channel closes however that ended.
    process.once("disconnect", () => resolve());
    process.channel?.unref();
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`fujie-witness: ${error instanceof Error ? error.message : "failed"}\n`);
  process.exitCode = error instanceof ConfigError || error instanceof TypeError ? USAGE_EXIT_CODE : 1;
}
