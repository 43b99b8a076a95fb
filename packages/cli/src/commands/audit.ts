import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { RetentionService } from "@fujie/api/fujie/audit/v1/retention";
import { checkpointVerifiers } from "@fujie/audit/log";
import { loadKeyBundle } from "@fujie/kit/keys";
import { formatVerifierKey } from "@fujie/transparency";
import { type BundleVerdict, verifyBundle, writeBundle } from "../audit/bundle.ts";
import { describeFinding } from "../audit/findings.ts";
import { httpSource } from "../audit/log-source.ts";
import { openTrust } from "../audit/trust.ts";
import { type LogVerdict, verifyDatabase, verifyServedLog } from "../audit/verify-log.ts";
import { requireOption, UsageError } from "./usage.ts";

/** How often a long verification says how far it is. */
const PROGRESS_EVERY_MS = 2_000;

type Say = (line: string) => void;

const toTerminal: Say = (line) => void process.stdout.write(`${line}\n`);

export async function runAudit(args: readonly string[], say: Say = toTerminal): Promise<number> {
  const [what, ...rest] = args;
  if (what === "verify") return verify(rest, say);
  if (what === "export") return exportEntries(rest, say);
  if (what === "keys") return tellKeys(rest, say);
  throw new UsageError("fujie audit verify …, export … or keys … (see: fujie help)");
}

async function verify(args: readonly string[], say: Say): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      log: { type: "string" },
      database: { type: "string" },
      keys: { type: "string" },
      root: { type: "string" },
      witness: { type: "string", multiple: true, default: [] },
      "witness-url": { type: "string", multiple: true, default: [] },
      state: { type: "string" },
      bundle: { type: "string" },
    },
  });
  const trust = openTrust({
    bundleFile: requireOption(values.keys, "keys"),
    bundleRootFile: requireOption(values.root, "root"),
    witnessKeys: values.witness,
  });
  const options = {
    trust,
    stateFile: values.state,
    witnessUrls: values["witness-url"],
    onProgress: progress(),
  };
  const { log, database, bundle } = values;
  if ([log, database, bundle].filter((source) => source !== undefined).length !== 1)
    throw new UsageError("one of --log, --database and --bundle is needed");
  const startedMs = performance.now();
  if (bundle !== undefined) return tellBundle(await verifyBundle(bundle, trust), say);
  const verdict =
    database === undefined
      ? await verifyServedLog(httpSource(requireOption(log, "log")), options)
      : await verifyDatabase(database, options);
  tell(verdict, (performance.now() - startedMs) / 1_000, say);
  return verdict.findings.length === 0 ? 0 : 1;
}

function tell({ origin, size, witnessed, remembered, ended, findings }: LogVerdict, seconds: number, say: Say): void {
  for (const finding of findings) say(`FOUND: ${describeFinding(finding)}`);
  if (ended > 0) say(`${ended} entries are past their time: their hashes remain`);
  if (remembered === undefined) say("NOT COMPARED with an earlier verification: give --state to remember this one");
  if (witnessed === undefined) say("UNWITNESSED: no witness that you trust has cosigned this log");
  else
    for (const { name, timestampS } of witnessed.cosignatures)
      say(`WITNESSED: ${witnessed.size} entries by ${name} at ${new Date(timestampS * 1_000).toISOString()}`);
  const scope = `${size} entries of ${origin} in ${seconds.toFixed(1)} s (${Math.round(size / seconds)}/s)`;
  say(findings.length === 0 ? `PROVEN: ${scope}` : `NOT PROVEN: ${findings.length} findings in ${scope}`);
}

function tellBundle({ origin, begin, end, entries, checkpoint, findings }: BundleVerdict, say: Say): number {
  for (const finding of findings) say(`FOUND: ${describeFinding(finding)}`);
  for (const { name, timestampS } of checkpoint?.cosignatures ?? [])
    say(`WITNESSED: by ${name} at ${new Date(timestampS * 1_000).toISOString()}`);
  if (checkpoint?.cosignatures.length === 0) say("UNWITNESSED: no witness that you trust has cosigned this log");
  if (entries < end - begin) say(`${end - begin - entries} entries had ended before the export: their hashes remain`);
  const scope = `${entries} entries (${begin} to ${end - 1}) of ${origin}`;
  say(findings.length === 0 ? `PROVEN: ${scope}` : `NOT PROVEN: ${findings.length} findings in ${scope}`);
  return findings.length === 0 ? 0 : 1;
}

async function exportEntries(args: readonly string[], say: Say): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      audit: { type: "string" },
      "token-file": { type: "string" },
      id: { type: "string" },
      out: { type: "string" },
    },
  });
  const audit = requireOption(values.audit, "audit").replace(/\/$/, "");
  const token = readFileSync(requireOption(values["token-file"], "token-file"), "utf8").trim();
  const folder = requireOption(values.out, "out");
  const client = createClient(
    RetentionService,
    createConnectTransport({
      baseUrl: audit,
      httpVersion: "1.1",
      interceptors: [
        (next) => (request) => {
          request.header.set("authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    }),
  );
  const parts = client.exportEntries({ exportId: requireOption(values.id, "id") });
  const count = await writeBundle(folder, parts, httpSource(`${audit}/log`));
  say(`${count} entries in ${folder}; check them with: fujie audit verify --bundle ${folder}`);
  return 0;
}

/** The log's own keys as a witness configures them. */
function tellKeys(args: readonly string[], say: Say): number {
  const { values } = parseArgs({
    args: [...args],
    options: { keys: { type: "string" }, root: { type: "string" }, origin: { type: "string" } },
  });
  const { entries } = loadKeyBundle(requireOption(values.keys, "keys"), requireOption(values.root, "root"));
  for (const verifier of checkpointVerifiers(entries, requireOption(values.origin, "origin")))
    say(formatVerifierKey(verifier));
  return 0;
}

function progress(): (entries: number, size: number) => void {
  let saidMs = performance.now();
  return (entries, size) => {
    if (performance.now() - saidMs < PROGRESS_EVERY_MS) return;
    saidMs = performance.now();
    process.stderr.write(`  … ${entries} of ${size} entries\n`);
  };
}
