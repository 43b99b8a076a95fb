import { checkpointVerifiers } from "@fujie/audit/log";
import { loadKeyBundle, type PublicKeyEntry } from "@fujie/kit/keys";
import { type Checkpoint, openNote, parseCheckpoint, parseVerifierKey, type Verifier } from "@fujie/transparency";

/** Whom the verifier believes: the platform's published keys, and the witnesses that he chose himself. */
export interface Trust {
  readonly keys: readonly PublicKeyEntry[];
  readonly witnesses: readonly Verifier[];
}

/** Throws KeyError for a bundle that its root did not sign, FormatError for a witness's key that is none. */
export function openTrust(files: {
  readonly bundleFile: string;
  readonly bundleRootFile: string;
  readonly witnessKeys: readonly string[];
}): Trust {
  const { entries } = loadKeyBundle(files.bundleFile, files.bundleRootFile);
  return { keys: entries, witnesses: files.witnessKeys.map(parseVerifierKey) };
}

export interface Cosignature {
  readonly name: string;
  readonly timestampS: number;
}

/** A checkpoint that the log signed with every kind of key that its bundle has. */
export interface TrustedCheckpoint extends Checkpoint {
  readonly note: string;
  readonly cosignatures: readonly Cosignature[];
}

/**
 * Opens a checkpoint: signed by the log's Ed25519 key and, where the bundle has one, its SM2 key, and by whichever
 * trusted witnesses cosigned it. Undefined for anything else, a wrong signature by a known key included.
 */
export function openCheckpoint(note: string, { keys, witnesses }: Trust): TrustedCheckpoint | undefined {
  const log = logVerifiers(note, keys);
  const opened = openNote(note, [...log, ...witnesses]);
  if (!opened.ok) return undefined;
  const signedBy = new Set(opened.verified.map(({ verifier }) => verifier.algorithm));
  if (log.some(({ algorithm }) => !signedBy.has(algorithm))) return undefined;
  const cosignatures = opened.verified.flatMap(({ verifier, timestampS }) =>
    witnesses.includes(verifier) && timestampS !== undefined ? [{ name: verifier.name, timestampS }] : [],
  );
  const checkpoint = parseCheckpoint(opened.text);
  return checkpoint.origin === originOf(note) ? { ...checkpoint, note, cosignatures } : undefined;
}

/** The log's keys under the origin that the note states; their signatures decide whether that holds. */
export function logVerifiers(note: string, keys: readonly PublicKeyEntry[]): Verifier[] {
  const origin = originOf(note);
  // The name of a key; anything else signs nothing.
  return /^[^\s+]+$/.test(origin) ? checkpointVerifiers(keys, origin) : [];
}

export function originOf(note: string): string {
  return note.slice(0, Math.max(0, note.indexOf("\n")));
}
