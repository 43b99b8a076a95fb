import { createHash, createPublicKey, verify } from "node:crypto";
import { FormatError } from "./errors.ts";
import { createSm2Verifier, isCanonicalSignature, SM2_PUBLIC_KEY_BYTES } from "./sm2.ts";
import { decodeBase64, decodeUtf8, encodeBase64, encodeUtf8, isControlFree } from "./text.ts";
import { type Refusal, refuse } from "./verdict.ts";

/**
 * Signed notes (c2sp.org/signed-note): a text, a blank line, and one line per signature. The text means nothing until
 * `openNote` has found it signed by a key that the reader chose beforehand.
 */

export const NOTE_BYTES_MAX = 1_048_576;

/** The specification asks for at least 16. */
export const NOTE_SIGNATURES_MAX = 64;

/**
 * Signature types: how a key is identified and what its signature covers.
 * - `ed25519`, type 0x01: the text (RFC 8032).
 * - `cosignature/v1`, type 0x04: a witness's statement at a time (c2sp.org/tlog-cosignature).
 * - `sm2`, private type 0xff followed by `SM2_NOTE_TYPE`: the text, by GB/T 32918.2 with SM3, the default signer id
 *   and DER; signed-note assigns no byte to SM2.
 */
export type NoteAlgorithm = "ed25519" | "cosignature/v1" | "sm2";

export const SM2_NOTE_TYPE = "fujie/note/sm2-with-sm3/v1";

export type NoteSignature = { readonly name: string; readonly keyId: number; readonly signature: Uint8Array };

export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] };

/** A public key under a name: 32 bytes for Ed25519 and cosignatures, 65 (0x04 ‖ X ‖ Y) for SM2. */
export type NoteKey = { readonly name: string; readonly algorithm: NoteAlgorithm; readonly publicKey: Uint8Array };

/** A key to check signatures with. `check` never throws; `timestampS` is what a cosignature states (POSIX seconds). */
export type Verifier = NoteKey & {
  readonly keyId: number;
  readonly check: (text: Uint8Array, signature: Uint8Array) => SignatureCheck;
};

export type SignatureCheck = { readonly ok: true; readonly timestampS?: number } | { readonly ok: false };

/** A key to sign with; the private key stays behind the function that makes the signature. */
export type Signer = {
  readonly name: string;
  readonly keyId: number;
  readonly sign: (text: Uint8Array) => Promise<Uint8Array>;
};

/** Signs bytes with a private key held elsewhere: 64 bytes for Ed25519, DER for SM2. */
export type SignBytes = (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>;

const SIGNATURE_BYTES = 64;
const TIMESTAMP_BYTES = 8;
const SIGNATURE_START = "\u2014 ";

// Keys

/** The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key), as an unsigned number. */
export function noteKeyId(key: NoteKey): number {
  return createHash("sha256").update(`${key.name}\n`, "utf8").update(encodeKey(key)).digest().readUInt32BE(0);
}

/** A key as text: `name+keyid+base64(type ‖ public key)`. */
export function formatVerifierKey(key: NoteKey): string {
  requireName(key.name, "name");
  return `${key.name}+${formatKeyId(noteKeyId(key))}+${encodeBase64(encodeKey(key))}`;
}

/** Reads a key from its text. Throws FormatError for an unknown type, a wrong key id or any other spelling. */
export function parseVerifierKey(text: string): Verifier {
  const [, name, id, material] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/u.exec(text) ?? [];
  if (name === undefined || id === undefined || material === undefined)
    throw new FormatError("verifierKey", "not of the form name+keyid+key");
  const verifier = createVerifier({ name, ...decodeKey(decodeBase64(material, "verifierKey.key")) });
  if (formatKeyId(verifier.keyId) !== id) throw new FormatError("verifierKey.keyId", "not the id of this name and key");
  return verifier;
}

/** Makes a verifier of a key. Throws FormatError for a bad name or a malformed key. */
export function createVerifier(key: NoteKey): Verifier {
  requireName(key.name, "name");
  const check = createCheck(key);
  return { ...key, keyId: noteKeyId(key), check };
}

/** Makes a signer of the text itself. The key says what is on the other side of `sign`. Errors: FormatError. */
export function createSigner(
  key: NoteKey & { readonly algorithm: Exclude<NoteAlgorithm, "cosignature/v1"> },
  sign: SignBytes,
): Signer {
  requireName(key.name, "name");
  const wellFormed = key.algorithm === "sm2" ? isCanonicalSignature : isEd25519Signature;
  return {
    name: key.name,
    keyId: noteKeyId(key),
    sign: async (text) => requireSignature(await sign(text), wellFormed),
  };
}

/**
 * Makes a witness's signer: each signature states the time that `nowS` gives (POSIX seconds). The signed bytes do not
 * name the witness, so an Ed25519 key may serve one witness only. Errors: FormatError.
 */
export function createCosigner(key: Omit<NoteKey, "algorithm">, sign: SignBytes, nowS: () => number): Signer {
  requireName(key.name, "name");
  return {
    name: key.name,
    keyId: noteKeyId({ ...key, algorithm: "cosignature/v1" }),
    sign: async (text) => {
      const timestampS = nowS();
      if (!Number.isSafeInteger(timestampS) || timestampS < 0)
        throw new FormatError("nowS", "not whole seconds since 1970");
      const signature = requireSignature(await sign(cosignedBytes(timestampS, text)), isEd25519Signature);
      const stamped = Buffer.alloc(TIMESTAMP_BYTES + SIGNATURE_BYTES);
      stamped.writeBigUInt64BE(BigInt(timestampS));
      stamped.set(signature, TIMESTAMP_BYTES);
      return new Uint8Array(stamped);
    },
  };
}

// Notes

/** A text signed by one or more keys, in their order. Throws FormatError for a text that can't be a note's. */
export async function signNote(text: string, signers: readonly Signer[]): Promise<string> {
  return formatNote(await addSignatures({ text, signatures: [] }, signers));
}

/** Adds signatures to a note, as a witness does to a checkpoint, after those that it has. Errors: FormatError. */
export async function addSignatures(note: Note, signers: readonly Signer[]): Promise<Note> {
  requireText(note.text);
  const bytes = encodeUtf8(note.text, "text");
  const added = await Promise.all(
    signers.map(async ({ name, keyId, sign }) => ({ name, keyId, signature: await sign(bytes) })),
  );
  return { text: note.text, signatures: [...note.signatures, ...added] };
}

/** Writes a note. Throws FormatError for one that `parseNote` would refuse. */
export function formatNote(note: Note): string {
  requireText(note.text);
  if (note.signatures.length < 1 || note.signatures.length > NOTE_SIGNATURES_MAX)
    throw new FormatError("signatures", "not 1 to 64 of them");
  return `${note.text}\n${note.signatures.map(formatSignature).join("")}`;
}

/** One signature line, newline included; a witness answers with these. */
export function formatSignature({ name, keyId, signature }: NoteSignature): string {
  requireName(name, "signature.name");
  if (signature.length === 0) throw new FormatError("signature", "empty");
  const id = new Uint8Array(4);
  new DataView(id.buffer).setUint32(0, keyId);
  return `${SIGNATURE_START}${name} ${encodeBase64(Buffer.concat([id, signature]))}\n`;
}

/** Reads a note without judging its signatures: use `openNote` for that. Errors: FormatError. */
export function parseNote(note: string | Uint8Array): Note {
  if (note.length > NOTE_BYTES_MAX) throw new FormatError("note", "longer than 1 MiB");
  const whole = typeof note === "string" ? note : decodeUtf8(note, "note");
  const split = whole.lastIndexOf("\n\n");
  const text = whole.slice(0, split + 1);
  const lines = whole.slice(split + 2).split("\n");
  if (split < 0 || lines.pop() !== "") throw new FormatError("note", "not a text, a blank line and signature lines");
  if (lines.length < 1 || lines.length > NOTE_SIGNATURES_MAX)
    throw new FormatError("signatures", "not 1 to 64 of them");
  requireText(text);
  return { text, signatures: lines.map(parseSignature) };
}

export type VerifiedSignature = { readonly verifier: Verifier; readonly timestampS?: number };

export type NoteRefusal = "NOTE_MALFORMED" | "VERIFIERS_AMBIGUOUS" | "SIGNATURE_INVALID" | "SIGNED_BY_NO_KNOWN_KEY";

export type OpenedNote = {
  readonly ok: true;
  readonly text: string;
  readonly verified: readonly [VerifiedSignature, ...VerifiedSignature[]];
};

/**
 * Reads a note and checks it against known keys; never throws on a bad note. As signed-note asks, signatures by
 * unknown keys are ignored, one bad signature by a known key refuses the whole note, and so does having none. A key
 * that signed twice counts once, its first time.
 */
export function openNote(note: string | Uint8Array, verifiers: readonly Verifier[]): OpenedNote | Refusal<NoteRefusal> {
  const known = new Map(verifiers.map((verifier) => [identify(verifier), verifier]));
  if (known.size !== verifiers.length) return refuse("VERIFIERS_AMBIGUOUS");
  const parsed = tryParse(note);
  if (parsed === undefined) return refuse("NOTE_MALFORMED");

  const bytes = encodeUtf8(parsed.text, "text");
  const verified: VerifiedSignature[] = [];
  for (const signature of parsed.signatures) {
    const verifier = known.get(identify(signature));
    if (verifier === undefined) continue;
    known.delete(identify(signature));
    const check = verifier.check(bytes, signature.signature);
    if (!check.ok) return refuse("SIGNATURE_INVALID");
    verified.push(check.timestampS === undefined ? { verifier } : { verifier, timestampS: check.timestampS });
  }
  const [first, ...rest] = verified;
  return first === undefined
    ? refuse("SIGNED_BY_NO_KNOWN_KEY")
    : { ok: true, text: parsed.text, verified: [first, ...rest] };
}

function tryParse(note: string | Uint8Array): Note | undefined {
  try {
    return parseNote(note);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function parseSignature(line: string): NoteSignature {
  const [name, encoded, ...rest] = line.startsWith(SIGNATURE_START)
    ? line.slice(SIGNATURE_START.length).split(" ")
    : [];
  if (name === undefined || encoded === undefined || rest.length > 0)
    throw new FormatError("signature", "not of the form — name base64");
  requireName(name, "signature.name");
  const bytes = decodeBase64(encoded, "signature");
  if (bytes.length < 5) throw new FormatError("signature", "too short");
  return { name, keyId: new DataView(bytes.buffer).getUint32(0), signature: bytes.slice(4) };
}

function identify({ name, keyId }: { readonly name: string; readonly keyId: number }): string {
  return `${name}+${formatKeyId(keyId)}`;
}

function formatKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, "0");
}

function requireText(text: string): void {
  if (!text.endsWith("\n")) throw new FormatError("text", "does not end in a newline");
  if (!text.split("\n").every(isControlFree)) throw new FormatError("text", "holds a control character");
  if (!text.isWellFormed()) throw new FormatError("text", "not well-formed Unicode");
}

function requireName(name: string, field: string): void {
  if (name === "" || /[+\p{White_Space}\p{Cc}]/u.test(name) || !name.isWellFormed())
    throw new FormatError(field, "empty, or holds a space, a plus or a control character");
}

// Algorithms

const SM2_KEY_PREFIX = Buffer.concat([Uint8Array.of(0xff), Buffer.from(SM2_NOTE_TYPE, "ascii")]);

const KEY_FORMS = [
  { algorithm: "ed25519", prefix: Uint8Array.of(0x01), keyBytes: 32 },
  { algorithm: "cosignature/v1", prefix: Uint8Array.of(0x04), keyBytes: 32 },
  { algorithm: "sm2", prefix: new Uint8Array(SM2_KEY_PREFIX), keyBytes: SM2_PUBLIC_KEY_BYTES },
] as const satisfies readonly { algorithm: NoteAlgorithm; prefix: Uint8Array; keyBytes: number }[];

function encodeKey({ algorithm, publicKey }: NoteKey): Uint8Array {
  const form = KEY_FORMS.find((each) => each.algorithm === algorithm);
  if (form === undefined) throw new FormatError("algorithm", "unknown");
  if (publicKey.length !== form.keyBytes) throw new FormatError("publicKey", `not ${form.keyBytes} bytes`);
  return new Uint8Array(Buffer.concat([form.prefix, publicKey]));
}

function decodeKey(bytes: Uint8Array): Omit<NoteKey, "name"> {
  const form = KEY_FORMS.find(
    ({ prefix, keyBytes }) =>
      bytes.length === prefix.length + keyBytes && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0,
  );
  if (form === undefined) throw new FormatError("verifierKey.key", "of unknown type or wrong length");
  return { algorithm: form.algorithm, publicKey: bytes.slice(form.prefix.length) };
}

function createCheck({ algorithm, publicKey }: NoteKey): Verifier["check"] {
  if (algorithm === "sm2") {
    const verifySm2 = createSm2Verifier(publicKey);
    return (text, signature) => ({ ok: verifySm2(text, signature) });
  }
  const verifyEd25519 = createEd25519Verifier(publicKey);
  if (algorithm === "ed25519") return (text, signature) => ({ ok: verifyEd25519(text, signature) });
  return (text, stamped) => {
    if (stamped.length !== TIMESTAMP_BYTES + SIGNATURE_BYTES) return { ok: false };
    const timestampS = Number(new DataView(stamped.buffer, stamped.byteOffset).getBigUint64(0));
    if (!Number.isSafeInteger(timestampS)) return { ok: false };
    const signed = cosignedBytes(timestampS, text);
    return verifyEd25519(signed, stamped.subarray(TIMESTAMP_BYTES)) ? { ok: true, timestampS } : { ok: false };
  };
}

function createEd25519Verifier(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean {
  if (publicKey.length !== 32) throw new FormatError("publicKey", "not 32 bytes");
  const x = Buffer.from(publicKey).toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return (message, signature) => isEd25519Signature(signature) && verify(null, message, key, signature);
}

/** What a cosignature signs: a header, the time, then the checkpoint's text (c2sp.org/tlog-cosignature). */
function cosignedBytes(timestampS: number, text: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`cosignature/v1\ntime ${timestampS}\n`, "ascii"), text]);
}

function isEd25519Signature(signature: Uint8Array): boolean {
  return signature.length === SIGNATURE_BYTES;
}

function requireSignature(signature: Uint8Array, wellFormed: (signature: Uint8Array) => boolean): Uint8Array {
  if (!wellFormed(signature)) throw new FormatError("signature", "the signer gave something other than a signature");
  return signature;
}
