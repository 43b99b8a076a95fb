import { FormatError } from "./errors.ts";
import { isHash, isSize } from "./merkle.ts";
import { formatSignature, type NoteSignature, openNote, parseNote, type Verifier } from "./note.ts";
import { decodeBase64, decodeUtf8, encodeBase64, parseDecimal } from "./text.ts";

/** What a log sends to a witness (c2sp.org/tlog-witness, add-checkpoint): a checkpoint and why it continues the last. */
export type AddCheckpoint = {
  /** The size that the witness cosigned last, as the sender believes; 0 when it never did. */
  readonly oldSize: number;
  /** Consistency proof (RFC 9162 §2.1.4) from the old size; empty from 0 and between equal sizes. */
  readonly proof: readonly Uint8Array[];
  /** The signed note. */
  readonly checkpoint: string;
};

const PROOF_HASHES_MAX = 63;

/** Writes the request's body. Throws FormatError for one that `parseAddCheckpoint` would refuse. */
export function formatAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): string {
  if (!isSize(oldSize)) throw new FormatError("old", "not an integer from 0 to 2^53 − 1");
  if (proof.length > PROOF_HASHES_MAX || !proof.every(isHash)) throw new FormatError("proof", "not at most 63 hashes");
  parseNote(checkpoint);
  return [`old ${oldSize}`, ...proof.map(encodeBase64), "", checkpoint].join("\n");
}

/** Reads the request's form; it proves nothing. Errors: FormatError. */
export function parseAddCheckpoint(body: Uint8Array): AddCheckpoint {
  const text = decodeUtf8(body, "body");
  const split = text.indexOf("\n\n");
  if (split < 0) throw new FormatError("body", "no blank line before the checkpoint");
  const [old = "", ...proof] = text.slice(0, split).split("\n");
  if (!old.startsWith("old ")) throw new FormatError("old", "missing");
  if (proof.length > PROOF_HASHES_MAX) throw new FormatError("proof", "more than 63 hashes");
  const checkpoint = text.slice(split + 2);
  parseNote(checkpoint);
  return { oldSize: parseDecimal(old.slice("old ".length), "old"), proof: proof.map(parseHash), checkpoint };
}

/**
 * The signatures by these witnesses among the lines that a witness answered with, each checked over the note's text;
 * undefined when there is none, or when one of them is wrong. Lines by unknown keys are left out, as tlog-witness asks.
 */
export function readCosignatures(
  note: string,
  answer: string,
  witnesses: readonly Verifier[],
): readonly NoteSignature[] | undefined {
  const text = note.slice(0, note.lastIndexOf("\n\n") + 1);
  const opened = openNote(`${text}\n${answer}`, witnesses);
  if (!opened.ok) return undefined;
  const known = new Set(opened.verified.map(({ verifier }) => `${verifier.name} ${verifier.keyId}`));
  return parseNote(`${text}\n${answer}`).signatures.filter((each) => known.delete(`${each.name} ${each.keyId}`));
}

/** A note with further signatures after those that it has. A key that signed already is replaced by its newer line. */
export function appendSignatures(note: string, signatures: readonly NoteSignature[]): string {
  const parsed = parseNote(note);
  const fresh = new Set(signatures.map(({ name, keyId }) => `${name} ${keyId}`));
  const kept = parsed.signatures.filter(({ name, keyId }) => !fresh.has(`${name} ${keyId}`));
  return `${parsed.text}\n${[...kept, ...signatures].map(formatSignature).join("")}`;
}

function parseHash(line: string): Uint8Array {
  const hash = decodeBase64(line, "proof");
  if (!isHash(hash)) throw new FormatError("proof", "a hash is not 32 bytes");
  return hash;
}
