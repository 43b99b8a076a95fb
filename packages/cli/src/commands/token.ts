import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { PERSON_SCOPES } from "../journey/stage.ts";
import { clientCredentials } from "../sign-in/client-credentials.ts";
import { signIn } from "../sign-in/sign-in.ts";
import { requireOption, UsageError } from "./usage.ts";

export async function runToken(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      issuer: { type: "string" },
      "client-id": { type: "string" },
      "client-secret-file": { type: "string" },
      "login-name": { type: "string" },
      "password-file": { type: "string" },
      organisation: { type: "string" },
      scope: { type: "string", multiple: true },
    },
  });
  const issuer = requireOption(values.issuer, "issuer");
  const token = await getToken(issuer, values);
  process.stdout.write(`${token}\n`);
  return 0;
}

interface TokenOptions {
  "client-id"?: string;
  "client-secret-file"?: string;
  "login-name"?: string;
  "password-file"?: string;
  organisation?: string;
  scope?: string[];
}

async function getToken(issuer: string, options: TokenOptions): Promise<string> {
  if (options["client-id"] !== undefined) {
    return clientCredentials({
      issuer,
      clientId: options["client-id"],
      clientSecret: readSecret(requireOption(options["client-secret-file"], "client-secret-file")),
      scopes: options.scope ?? ["trust.verify"],
    });
  }
  if (options["login-name"] === undefined)
    throw new UsageError("--client-id or --login-name is missing (see: fujie help)");
  const password = readSecret(requireOption(options["password-file"], "password-file"));
  const tokens = await signIn({
    issuer,
    method: { kind: "password", loginName: options["login-name"], password },
    scopes: options.scope ?? PERSON_SCOPES,
    ...(options.organisation === undefined ? {} : { organisationId: options.organisation }),
  });
  return tokens.accessToken;
}

/** Secrets come from a file or standard input, never from the command line, where every process can read them. */
function readSecret(file: string): string {
  return readFileSync(file === "-" ? 0 : file, "utf8").trim();
}
