import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { FormatError } from "./errors.ts";
import { isHash, isSize, type MerkleRefusal, verifyInclusion } from "./merkle.ts";
import {
  type NoteAlgorithm,
  type NoteRefusal,
  openNote,
  parseNote,
  type VerifiedSignature,
  type Verifier,
} from "./note.ts";
import { decodeBase64, encodeBase64, parseDecimal } from "./text.ts";
import { type Refusal, refuse } from "./verdict.ts";

/**
 * A proof that anybody checks offline (c2sp.org/tlog-proof): a leaf's index, its path, and the signed checkpoint that
 * the path leads to, in one text. Stored as `*.tlog-proof`.
 */
export type ProofBundle = {
  readonly index: number;
  readonly path: readonly Uint8Array[];
  /** The signed note, as the log published it. */
  readonly checkpoint: string;
  /** Whatever an application adds. Nothing signs it: never trust it. */
  readonly extra?: Uint8Array;
};

const HEADER = "c2sp.org/tlog-proof@v1";
const PATH_HASHES_MAX = 63;
const BUNDLE_CHARACTERS_MAX = 2 * 1_048_576;

/** Writes a bundle. Throws FormatError for one that `parseProofBundle` would refuse. */
export function formatProofBundle({ index, path, checkpoint, extra }: ProofBundle): string {
  if (!isSize(index)) throw new FormatError("index", "not an integer from 0 to 2^53 − 1");
  if (path.length > PATH_HASHES_MAX || !path.every(isHash)) throw new FormatError("path", "not at most 63 hashes");
  parseNote(checkpoint);
  const extraLine = extra === undefined ? [] : [`extra ${encodeBase64(extra)}`];
  return [HEADER, ...extraLine, `index ${index}`, ...path.map(encodeBase64), "", checkpoint].join("\n");
}

/** Reads a bundle's form; it proves nothing before `verifyProofBundle`. Errors: FormatError. */
export function parseProofBundle(text: string): ProofBundle {
  if (text.length > BUNDLE_CHARACTERS_MAX) throw new FormatError("bundle", "longer than 2 MiB");
  const split = text.indexOf("\n\n");
  if (split < 0) throw new FormatError("bundle", "no blank line before the checkpoint");
  const [header, ...lines] = text.slice(0, split).split("\n");
  if (header !== HEADER) throw new FormatError("bundle", `does not start with ${HEADER}`);

  const extra = lines[0]?.startsWith("extra ") ? lines.shift()?.slice("extra ".length) : undefined;
  const index = lines.shift() ?? "";
  if (!index.startsWith("index ")) throw new FormatError("bundle.index", "missing");
  if (lines.length > PATH_HASHES_MAX) throw new FormatError("bundle.path", "more than 63 hashes");
  const checkpoint = text.slice(split + 2);
  parseNote(checkpoint);
  return {
    index: parseDecimal(index.slice("index ".length), "bundle.index"),
    path: lines.map(parseHash),
    checkpoint,
    ...(extra === undefined ? {} : { extra: decodeBase64(extra, "bundle.extra") }),
  };
}

/** The keys that a reader knows: the log's own (`ed25519`, `sm2`) and witnesses' (`cosignature/v1`). */
export type ProofVerifiers = { readonly log: readonly Verifier[]; readonly witnesses: readonly Verifier[] };

/** What a reader asks for. */
export type ProofPolicy = {
  /** The one log that is accepted. */
  readonly origin: string;
  /** How many distinct witnesses must have cosigned. 0 accepts an unwitnessed log, which could show each reader another tree. */
  readonly witnessesMin: number;
  /** Signature algorithms of which the log must have used *each*; one signature by any of its keys when left out. */
  readonly logAlgorithms?: readonly NoteAlgorithm[];
};

export type ProofRefusal =
  | NoteRefusal
  | MerkleRefusal
  | "BUNDLE_MALFORMED"
  | "POLICY_INVALID"
  | "ORIGIN_NOT_ACCEPTED"
  | "LOG_SIGNATURE_MISSING"
  | "WITNESSES_MISSING";

export type Cosignature = { readonly name: string; readonly timestampS: number };

export type ProvenBundle = {
  readonly ok: true;
  readonly index: number;
  readonly checkpoint: Checkpoint;
  /** Valid cosignatures by known witnesses, with the times that they state; age limits are the caller's. */
  readonly cosignatures: readonly Cosignature[];
};

/**
 * Verifies that the log of `policy.origin` contains a leaf, in the order of c2sp.org/tlog-proof: the checkpoint's
 * signatures and origin, the witnesses, then the path. `leafHash` is the caller's own, computed from what the leaf
 * must be; nothing in the bundle may decide it. Never throws on a bad bundle.
 */
export function verifyProofBundle(
  bundle: ProofBundle | string,
  leafHash: Uint8Array,
  verifiers: ProofVerifiers,
  policy: ProofPolicy,
): ProvenBundle | Refusal<ProofRefusal> {
  if (!isSoundPolicy(verifiers, policy)) return refuse("POLICY_INVALID");
  const parsed = typeof bundle === "string" ? attempt(() => parseProofBundle(bundle)) : bundle;
  if (parsed === undefined) return refuse("BUNDLE_MALFORMED");

  const opened = openNote(parsed.checkpoint, [...verifiers.log, ...verifiers.witnesses]);
  if (!opened.ok) return opened;
  const checkpoint = attempt(() => parseCheckpoint(opened.text));
  if (checkpoint === undefined) return refuse("BUNDLE_MALFORMED");
  if (checkpoint.origin !== policy.origin) return refuse("ORIGIN_NOT_ACCEPTED");
  if (!isSignedByLog(opened.verified, verifiers.log, policy)) return refuse("LOG_SIGNATURE_MISSING");
  const witnessed = opened.verified.filter(({ verifier }) => verifiers.witnesses.includes(verifier));
  if (countDistinct(witnessed) < policy.witnessesMin) return refuse("WITNESSES_MISSING");

  const { size, root } = checkpoint;
  const included = verifyInclusion({ leafHash, index: parsed.index, size, path: parsed.path, root });
  if (!included.ok) return included;
  const cosignatures = witnessed.map(({ verifier, timestampS = 0 }) => ({ name: verifier.name, timestampS }));
  return { ok: true, index: parsed.index, checkpoint, cosignatures };
}

/**
 * A log can't be its own witness, not even with its key in the other form; and "k of n" with k above n is a mistake.
 */
function isSoundPolicy({ log, witnesses }: ProofVerifiers, { witnessesMin }: ProofPolicy): boolean {
  return (
    isSize(witnessesMin) &&
    witnessesMin <= witnesses.length &&
    log.length > 0 &&
    log.every(({ algorithm }) => algorithm !== "cosignature/v1") &&
    witnesses.every(({ algorithm }) => algorithm === "cosignature/v1") &&
    !witnesses.some((witness) => log.some(({ publicKey }) => Buffer.compare(publicKey, witness.publicKey) === 0))
  );
}

function isSignedByLog(
  verified: readonly VerifiedSignature[],
  logKeys: readonly Verifier[],
  policy: ProofPolicy,
): boolean {
  const used = verified.map(({ verifier }) => verifier).filter((verifier) => logKeys.includes(verifier));
  if (policy.logAlgorithms === undefined) return used.length > 0;
  const algorithms = new Set(used.map(({ algorithm }) => algorithm));
  return used.length > 0 && policy.logAlgorithms.every((algorithm) => algorithms.has(algorithm));
}

/** Cosigned bytes don't name the witness, so one key under two names is still one witness, as is one name with two keys. */
function countDistinct(witnessed: readonly VerifiedSignature[]): number {
  const names = new Set(witnessed.map(({ verifier }) => verifier.name));
  const keys = new Set(witnessed.map(({ verifier }) => encodeBase64(verifier.publicKey)));
  return Math.min(names.size, keys.size);
}

function parseHash(line: string): Uint8Array {
  const hash = decodeBase64(line, "bundle.path");
  if (!isHash(hash)) throw new FormatError("bundle.path", "a hash is not 32 bytes");
  return hash;
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
