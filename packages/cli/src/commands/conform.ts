import { parseArgs } from "node:util";
import { systemClock } from "@fujie/kit/clock";
import { checkReport } from "../conform/check.ts";
import { conformSource } from "../conform/source.ts";
import { submitReport } from "../conform/submit.ts";
import { makeTesterKey } from "../conform/tester-keys.ts";
import { requireOption, UsageError } from "./usage.ts";

const HELP = `fujie conform: the conformance suite for trust sources (docs/trust-source-access.md)

  fujie conform keygen --out DIR
      Makes a tester's key: DIR/tester.key (keep it), DIR/tester.pub (PEM: give it to the operator, who registers it with
      RegisterTester: public_key is this file's bytes, in JSON base64 of them) and DIR/tester-keys.json (for check).

  fujie conform source HOST:PORT --nonce N --source-id ID --tls-ca FILE --client-cert FILE --client-key FILE
        --assertion-key KEYID=FILE … --claims FILE --tester-key FILE --report-dir DIR
      Tests an implementation of fujie.source.v1 and writes report.json, report.sig and report.html.
      --nonce          what the registry issued for this test (BeginSourceTest): 64 lower-case hexadecimal characters
      --tls-ca         authority of the source's certificate; --client-cert, --client-key: the platform's identity
      --assertion-key  a public key (P-256) of the source's assertions and its id; may be repeated
      --claims         test subjects: for each claim type one that matches, one that does not, one without a record
      --peer-name      the name in the source's certificate (default: the source id)
      --audience       the platform's id at the source (default: fujie-trust-gateway)
      --other-client-cert FILE --other-client-key FILE   an identity of another service, which must be refused
      --control URL    the control hook of a test environment: lost answers, maintenance and billing are tested too
      --stress         exceeds the described rate
      Exit code: 0 passed, 1 failed, 2 the command line was not understood.

  fujie conform check report.json --tester-keys FILE [--signature FILE]
      Verifies a report's signature, offline. Exit code 0 only for a genuine report that says PASSED
      over every case of this version of the suite.

  fujie conform submit report.json --registry URL --token-file FILE --source-id ID --tester-id ID
        [--sig report.sig] [--valid-days 365]
      Hands the signed report in at the registry, with the token of an operator who may write sources
      (registry.sources.write). report.json and report.sig go as they are: nothing has to be converted.
      --sig            the signature (default: report.sig beside the report)
      --tester-id      under which id the registry knows the tester whose key signed it
      --token-file     an access token ("-": standard input; see: fujie token)
      --valid-days     for how long the report is to count, at most 732
      Exit code: 0 kept and passed, 1 kept as failed or refused, 2 the command line was not understood.
`;

type Write = (line: string) => void;

const toTerminal: Write = (line) => process.stdout.write(`${line}\n`);

/** Gives the exit code. Throws UsageError. */
export async function runConform(args: readonly string[], write: Write = toTerminal): Promise<number> {
  const [what = "help", ...rest] = args;
  switch (what) {
    case "source":
      return conformSource(rest, write);
    case "check":
      return checkReport(rest, write);
    case "submit":
      return submitReport(rest, write, systemClock);
    case "keygen":
      return keygen(rest, write);
    case "help":
      write(HELP);
      return 0;
    default:
      throw new UsageError(`there is no "conform ${what}" (see: fujie conform help)`);
  }
}

function keygen(args: readonly string[], write: Write): number {
  const { values } = parseArgs({ args: [...args], options: { out: { type: "string" } } });
  const dir = requireOption(values.out, "out");
  const keyId = makeTesterKey(dir);
  write(`The key ${keyId} is in ${dir}: tester.key stays with you, tester.pub is for the operator.`);
  return 0;
}
