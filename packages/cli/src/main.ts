#!/usr/bin/env node
/** `fujie`: the platform's command line. Each command is a module of its own; this file only chooses. */
import { UsageError } from "./commands/usage.ts";

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

  fujie receipt verify FILE --keys public-keys.json --root bundle-root.pem [--elements FILE] [--witness KEY …]
      Checks a receipt (the JSON of VerificationService.GetReceipt) against the public keys, offline: its signatures,
      that its batch is in the audit log, and whom it is about. Exit code 0: proven; 1: not proven; 2: not understood.
      --elements  the claim's elements (JSON as in Verify, normalised): checks that the receipt is about exactly them
      --witness   key (name+keyid+key) of a witness that has to have cosigned the log

  fujie audit verify --log URL | --database URL | --bundle DIR --keys public-keys.json --root bundle-root.pem
                     [--witness KEY …] [--witness-url URL …] [--state FILE]
      Checks the whole audit log from outside: signatures, every leaf and tile, and that it continues what was
      remembered and witnessed. Exit code 0: proven; 1: findings; 2: not understood.
      --log          the log as it serves itself to everybody, for example https://audit.example.cn/log
      --database     the log's database, with a connection that may read: every row is hashed again
      --bundle       what fujie audit export wrote: checked offline, entry by entry
      --witness      key (name+keyid+key) of a witness that you trust; without one the log is UNWITNESSED
      --witness-url  asks a witness itself what it saw, whatever the log says
      --state        remembers the checkpoint, so that the next verification finds a rollback or a fork

  fujie conform keygen | source | check | submit
      Tests a trust source against fujie.source.v1, checks the signed reports and hands them in (fujie conform help).

  fujie audit export --audit URL --token-file FILE --id ID --out DIR
      Writes the entries of an export that two audit administrators agreed on (RetentionService.RequestExport and
      ApproveExport) as a bundle that proves itself.
  fujie audit keys --keys public-keys.json --root bundle-root.pem --origin ORIGIN
      Prints the log's own keys (name+keyid+key), for the settings of a witness.

  fujie help
`;

type Command = (args: readonly string[]) => Promise<number>;

/** Each loads what it needs itself: a signature is checked without the platform. */
const commands: Readonly<Record<string, Command>> = {
  up: async (args) => (await import("./commands/up.ts")).runUp(args),
  token: async (args) => (await import("./commands/token.ts")).runToken(args),
  verify: async (args) => (await import("./commands/verify.ts")).runVerify(args),
  receipt: async (args) => (await import("./commands/receipt.ts")).runReceipt(args),
  conform: async (args) => (await import("./commands/conform.ts")).runConform(args),
  audit: async (args) => (await import("./commands/audit.ts")).runAudit(args),
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
