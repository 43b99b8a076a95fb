/**
 * Verifies a log from outside: what it says of itself, what was remembered of it, and what witnesses saw.
 *
 *   checkpoint ─▶ signatures ─▶ tree rebuilt ─▶ its root, the remembered root, the witnessed roots ─▶ remember
 */
import { createHash } from "node:crypto";
import { readNotes, verifyLog as verifyRows } from "@fujie/audit/log";
import { openDatabase } from "@fujie/kit/db";
import { equalHashes } from "@fujie/transparency";
import type { LogFinding } from "./findings.ts";
import { httpSource, type ReadResource, readNote } from "./log-source.ts";
import { readRemembered, remember } from "./remembered.ts";
import { logVerifiers, openCheckpoint, originOf, type Trust, type TrustedCheckpoint } from "./trust.ts";
import { verifyTree } from "./verify-tree.ts";

export interface LogVerdict {
  readonly origin: string;
  readonly size: number;
  /** The newest checkpoint that a trusted witness cosigned and that the log continues. */
  readonly witnessed: TrustedCheckpoint | undefined;
  /** Size that was remembered, if any. */
  readonly remembered: number | undefined;
  /** Entries of which only the hashes are left. */
  readonly ended: number;
  readonly findings: readonly LogFinding[];
}

export interface VerifyLogOptions {
  readonly trust: Trust;
  /** What an earlier verification left; replaced when nothing was found. */
  readonly stateFile: string | undefined;
  /** Addresses of witnesses that are asked what they saw, whatever the log says. */
  readonly witnessUrls: readonly string[];
  readonly onProgress: (entries: number, size: number) => void;
}

/** What the log must continue: each with where it comes from. */
interface Claim {
  readonly what: string;
  readonly checkpoint: TrustedCheckpoint;
}

/** Over HTTP, or from a folder with the same resources: whoever can read them needs no account. */
export async function verifyServedLog(read: ReadResource, options: VerifyLogOptions): Promise<LogVerdict> {
  // The witnessed one first, so that the newest is never older.
  const served = await read("witnessed-checkpoint");
  const note = await readNote(read, "checkpoint");
  const claims = await claimsOf(note, served === undefined ? undefined : Buffer.from(served).toString("utf8"), options);
  const newest = openCheckpoint(note, options.trust);
  if (newest === undefined) return refused(note, [{ kind: "CHECKPOINT_SIGNATURE_INVALID" }, ...claims.findings]);
  const sizes = claims.claims.map(({ checkpoint }) => checkpoint.size);
  const { roots, ended, findings } = await verifyTree(read, newest.size, sizes, (entries) =>
    options.onProgress(entries, newest.size),
  );
  const own = isRoot(roots, newest) ? [] : [{ kind: "CHECKPOINT_MISMATCH" }];
  return conclude(options, newest, {
    claims: [...claims.claims, { what: "the log's own", checkpoint: newest }],
    roots,
    ended,
    findings: [...findings, ...own, ...claims.findings],
  });
}

/** In the database, with a connection that may read: every row is hashed again. */
export async function verifyDatabase(url: string, options: VerifyLogOptions): Promise<LogVerdict> {
  await using db = openDatabase({ url, poolMax: 4, service: "fujie audit verify", statementTimeoutMs: 600_000 });
  const { checkpoint: note = "", witnessed } = await readNotes(db);
  const claims = await claimsOf(note, witnessed, options);
  const newest = openCheckpoint(note, options.trust);
  if (newest === undefined) return refused(note, [{ kind: "CHECKPOINT_SIGNATURE_INVALID" }, ...claims.findings]);
  const report = await verifyRows({
    db,
    origin: originOf(note),
    verifiers: logVerifiers(note, options.trust.keys),
    // The log may have grown meanwhile.
    sizes: [newest.size, ...claims.claims.map(({ checkpoint }) => checkpoint.size)],
    onProgress: options.onProgress,
  });
  return conclude(options, newest, {
    claims: [...claims.claims, { what: "the log's own", checkpoint: newest }],
    roots: report.roots,
    ended: report.ended,
    findings: [...report.findings, ...claims.findings],
  });
}

interface Evidence {
  readonly claims: readonly Claim[];
  readonly roots: ReadonlyMap<number, Uint8Array>;
  readonly ended: number;
  readonly findings: readonly LogFinding[];
}

function conclude(options: VerifyLogOptions, newest: TrustedCheckpoint, evidence: Evidence): LogVerdict {
  const { claims, roots, ended } = evidence;
  const broken = claims.flatMap((claim) => contradiction(claim, newest.size, roots));
  const cosigned = claims.filter(({ checkpoint }) => checkpoint.cosignatures.length > 0);
  const witnessed = cosigned
    .map(({ checkpoint }) => checkpoint)
    .filter((checkpoint) => isRoot(roots, checkpoint))
    .reduce<TrustedCheckpoint | undefined>((best, each) => (best && best.size >= each.size ? best : each), undefined);
  const unwitnessed: LogFinding[] =
    options.trust.witnesses.length > 0 && witnessed === undefined ? [{ kind: "WITNESS_MISSING" }] : [];
  const findings = [...evidence.findings, ...broken, ...unwitnessed];
  if (findings.length === 0 && options.stateFile !== undefined) remember(options.stateFile, newest.note);
  const remembered = claims.find(({ what }) => what === REMEMBERED)?.checkpoint.size;
  return { origin: newest.origin, size: newest.size, witnessed, remembered, ended, findings };
}

function refused(note: string, findings: readonly LogFinding[]): LogVerdict {
  return { origin: originOf(note), size: 0, witnessed: undefined, remembered: undefined, ended: 0, findings };
}

const REMEMBERED = "remembered";

/** Everything that the log must continue. What is not signed, or of another log, is a finding itself. */
async function claimsOf(
  note: string,
  served: string | undefined,
  { trust, stateFile, witnessUrls }: VerifyLogOptions,
): Promise<{ claims: readonly Claim[]; findings: readonly LogFinding[] }> {
  const remembered = stateFile === undefined ? undefined : readRemembered(stateFile);
  const notes: { what: string; note: string }[] = [];
  if (remembered !== undefined) notes.push({ what: REMEMBERED, note: remembered });
  if (served !== undefined) notes.push({ what: "witnessed, as the log serves it", note: served });
  const findings: LogFinding[] = [];
  for (const url of witnessUrls) {
    const seen = await askWitness(url, originOf(note));
    if (seen !== undefined) notes.push({ what: `witnessed, from ${url}`, note: seen });
  }
  const claims = notes.flatMap(({ what, note: each }) => {
    const checkpoint = originOf(each) === originOf(note) ? openCheckpoint(each, trust) : undefined;
    if (checkpoint === undefined) findings.push({ kind: "CHECKPOINT_SIGNATURE_INVALID", what });
    return checkpoint === undefined ? [] : [{ what, checkpoint }];
  });
  return { claims, findings };
}

/** What a witness cosigned last of a log, from the witness itself. */
async function askWitness(url: string, origin: string): Promise<string | undefined> {
  const originHash = createHash("sha256").update(origin, "utf8").digest("hex");
  const note = await httpSource(url)(`${originHash}/checkpoint`);
  return note === undefined ? undefined : Buffer.from(note).toString("utf8");
}

function contradiction({ what, checkpoint }: Claim, size: number, roots: ReadonlyMap<number, Uint8Array>) {
  if (checkpoint.size > size)
    return [{ kind: "ROLLED_BACK", what: `${what}: ${checkpoint.size} entries, now ${size}` }];
  return isRoot(roots, checkpoint) ? [] : [{ kind: "FORKED", what: `${what}: at ${checkpoint.size} entries` }];
}

function isRoot(roots: ReadonlyMap<number, Uint8Array>, { size, root }: Pick<TrustedCheckpoint, "size" | "root">) {
  const computed = roots.get(size);
  return computed !== undefined && equalHashes(computed, root);
}
