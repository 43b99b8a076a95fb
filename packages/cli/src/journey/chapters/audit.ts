/** Chapter 7: every step is in the log, provably; one trace id runs through all four services. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type EntrySummary, type GetEntryResponse, LogService } from "@fujie/api/fujie/audit/v1/log";
import { REPOSITORY } from "../../up/layout.ts";
import { callService } from "../callers.ts";
import { eventually, expectThat } from "../expect.ts";
import { type Stage, signInOperator } from "../stage.ts";

const PURPOSE = "journey.review";
/** Services that record something in the chapter where an operator signs in with a certificate and confirms. */
const RECORDING_SERVICES = ["auth", "registry", "trust-gateway"];

export async function playAudit(stage: Stage): Promise<void> {
  const { narrator, platform, staff } = stage;
  const token = await signInOperator(stage, staff.auditAdministrator, ["audit.read"]);
  const log = callService(LogService, platform.httpUrl("audit"), { token, trace: stage.trace });
  const chapters = stage.traces.slice(0, -1);
  const proofs: GetEntryResponse[] = [];
  for (const { chapter, traceId } of chapters) {
    const entries = await eventually(
      `entries of "${chapter}"`,
      async () => (await log.listEntries({ purpose: PURPOSE, filter: { case: "traceId", value: traceId } })).entries,
      (found) => found.length > 0,
    );
    const proving = entries.map(({ index }) =>
      log.getEntry({ purpose: PURPOSE, entry: { case: "index", value: index } }),
    );
    proofs.push(...(await Promise.all(proving)));
    narrator.answers("audit", `${chapter.replace(/^\d+ /, "")}: ${describe(entries)}`);
  }
  await verifyElsewhere(stage, proofs);
  narrator.proof(
    `${proofs.length} entries: each inclusion proof was accepted by a separate verifier, with public keys alone`,
  );
  await verifyLogElsewhere(stage);
  await showOneTrace(stage, log, chapters);
}

/** Asks `fujie verify entry`, a process of its own that sees nothing but the entries and the public-key bundle. */
async function verifyElsewhere(
  { platform }: Pick<Stage, "platform">,
  entries: readonly GetEntryResponse[],
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-verify-"));
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  try {
    const files = entries.map(({ preimage, salt, proofBundle }, position) => {
      const file = join(folder, `${position}.json`);
      writeFileSync(file, JSON.stringify({ preimage: base64(preimage), salt: base64(salt), proofBundle }));
      return file;
    });
    await runFujie(platform, ["verify", "entry", ...files]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Asks `fujie audit verify`: the whole log from its public tiles, with the cosignature of the witness. */
async function verifyLogElsewhere({ narrator, platform }: Stage): Promise<void> {
  const url = `${platform.httpUrl("audit")}/log`;
  const witness = readFileSync(platform.witnessKeyFile, "utf8").trim();
  const told = await eventually(
    "a checkpoint that the witness cosigned",
    () => runFujie(platform, ["audit", "verify", "--log", url, "--witness", witness]).catch(() => ""),
    (output) => output.includes("PROVEN"),
  );
  const [, size = "", by = ""] = /^WITNESSED: (\d+) entries by (\S+)/m.exec(told) ?? [];
  narrator.proof(`the whole log was rebuilt from its public tiles; ${size} entries of it are cosigned by ${by}`);
}

/** Runs a command of `fujie` in a process of its own, with the public keys alone; gives what it says. */
async function runFujie({ bundleFile, bundleRootFile }: Stage["platform"], args: readonly string[]): Promise<string> {
  const command = ["--disable-warning=ExperimentalWarning", join(REPOSITORY, "packages/cli/src/main.ts"), ...args];
  const keys = ["--keys", bundleFile, "--root", bundleRootFile];
  return (await promisify(execFile)(process.execPath, [...command, ...keys])).stdout;
}

async function showOneTrace(
  { narrator }: Stage,
  log: ReturnType<typeof callService<typeof LogService>>,
  chapters: readonly { chapter: string; traceId: string }[],
): Promise<void> {
  for (const { traceId } of chapters) {
    const filter = { case: "traceId", value: traceId } as const;
    const { entries } = await log.listEntries({ purpose: PURPOSE, filter, pageSize: 200 });
    const services = new Set(entries.map((entry) => entry.service));
    if (!RECORDING_SERVICES.every((service) => services.has(service))) continue;
    narrator.proof(`trace ${traceId} runs through ${[...services].sort().join(", ")} and audit`);
    return;
  }
  expectThat(false, `a trace through ${RECORDING_SERVICES.join(", ")} and audit`);
}

function describe(entries: readonly EntrySummary[]): string {
  const types = [...new Set(entries.map((entry) => entry.type))];
  return `${entries.length} entries (${types.slice(0, 4).join(", ")}${types.length > 4 ? ", …" : ""})`;
}
