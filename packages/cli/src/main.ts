#!/usr/bin/env node
/** `fujie`: the platform's command line. Each command is a module of its own; this file only chooses. */
import { runToken } from "./commands/token.ts";
import { runUp } from "./commands/up.ts";
import { UsageError } from "./commands/usage.ts";
import { runVerify } from "./commands/verify.ts";

const HELP = `fujie: the command line of the identity platform Fujie (符节)

  fujie up [--once] [--no-journey] [--home DIR] [--port-base N]
      Starts the whole platform on this machine, plays the first journey, and stays up.
      --once        ends after the journey; the exit code is 0 only if every step went as it must
      --no-journey  only starts the platform
      --home        data folder (default: .fujie in the repository); it survives restarts
      --port-base   first of the ports (default: 7000)

  fujie token --issuer URL --client-id ID --client-secret-file FILE [--scope SCOPE …]
      Gets an application's access token. The secret may also come on standard input (FILE "-").
  fujie token --issuer URL --login-name NAME --password-file FILE [--scope SCOPE …] [--organisation ID]
      Signs a person in and gets an access token.

  fujie verify entry FILE … --keys public-keys.json --root bundle-root.pem
      Checks audit entries (each the JSON of LogService.GetEntry) against the public keys, offline.

  fujie help
`;

type Command = (args: readonly string[]) => Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  up: runUp,
  token: runToken,
  verify: runVerify,
  help: async () => {
    process.stdout.write(HELP);
    return 0;
  },
};

const [name = "help", ...args] = process.argv.slice(2);
const asksForHelp = args.includes("--help") || args.includes("-h");
const command = asksForHelp ? commands["help"] : commands[name];
if (command === undefined) {
  process.stderr.write(`fujie: there is no command "${name}"\n\n${HELP}`);
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await command(args);
  } catch (error) {
    process.stderr.write(`fujie ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = isUsage(error) ? 2 : 1;
  }
}

/** Ours, or node:util's parseArgs not understanding an option. */
function isUsage(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
