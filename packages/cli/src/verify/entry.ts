/**
 * Checks an audit entry against the public keys and nothing else:
 *
 *   preimage + salt ─▶ leaf hash ─▶ inclusion path ─▶ checkpoint ─▶ signatures by the audit service's published keys
 */
import { readFileSync } from "node:fs";
import { checkpointVerifiers } from "@fujie/audit/log";
import { loadKeyBundle } from "@fujie/kit/keys";
import {
  decodeEntry,
  entryLeafHash,
  type LogEntry,
  parseProofBundle,
  type Verifier,
  verifyProofBundle,
} from "@fujie/transparency";

/** An entry as `LogService.GetEntry` gives it, in a JSON file; byte fields in base64. */
export interface EntryFile {
  readonly preimage: string;
  readonly salt: string;
  readonly proofBundle: string;
}

export type EntryVerdict =
  | {
      readonly ok: true;
      readonly entry: LogEntry;
      readonly index: number;
      readonly size: number;
      readonly origin: string;
    }
  | { readonly ok: false; readonly reason: string };

export interface PublicKeys {
  readonly bundleFile: string;
  readonly bundleRootFile: string;
}

export type EntryVerifier = (entry: EntryFile) => EntryVerdict;

/** Opens the public keys once, for any number of entries. Throws KeyError for a bundle that its root did not sign. */
export function entryVerifier({ bundleFile, bundleRootFile }: PublicKeys): EntryVerifier {
  const { entries: keys } = loadKeyBundle(bundleFile, bundleRootFile);
  const known = new Map<string, Verifier[]>();
  return (entry) => {
    const origin = originOf(entry.proofBundle);
    const log = known.get(origin) ?? checkpointVerifiers(keys, origin);
    known.set(origin, log);
    return verifyEntry(entry, origin, log);
  };
}

export function readEntryFile(file: string): EntryFile {
  return JSON.parse(readFileSync(file, "utf8")) as EntryFile;
}

function verifyEntry(entry: EntryFile, origin: string, log: readonly Verifier[]): EntryVerdict {
  const preimage = Buffer.from(entry.preimage, "base64");
  const hash = entryLeafHash(preimage, Buffer.from(entry.salt, "base64"));
  const proven = verifyProofBundle(
    entry.proofBundle,
    hash,
    { log, witnesses: [] },
    { origin, witnessesMin: 0, logAlgorithms: ["ed25519", "sm2"] },
  );
  if (!proven.ok) return proven;
  return { ok: true, entry: decodeEntry(preimage), index: proven.index, size: proven.checkpoint.size, origin };
}

/** The origin that the checkpoint states; the signatures by the bundle's keys under that name decide whether it holds. */
function originOf(bundle: string): string {
  const note = parseProofBundle(bundle).checkpoint;
  return note.slice(0, note.indexOf("\n"));
}
