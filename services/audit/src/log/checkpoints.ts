import type { KeyRing, PublicKeyEntry } from "@fujie/kit/keys";
import {
  type Checkpoint,
  createVerifier,
  encodeSm2Signature,
  formatCheckpoint,
  formatNote,
  type NoteKey,
  type NoteSignature,
  noteKeyId,
  openNote,
  parseCheckpoint,
  type Verifier,
} from "@fujie/transparency";

type CheckpointUse = "checkpoint" | "checkpoint-sm2";

/** A C2SP checkpoint signed by the log's Ed25519 key and its SM2 key, both under the log's origin as their name. */
export async function signCheckpoint(
  ring: Pick<KeyRing, "sign" | "publicKeys">,
  { origin, size, root }: Omit<Checkpoint, "extensions">,
): Promise<string> {
  const text = formatCheckpoint({ origin, size, root, extensions: [] });
  const uses: readonly CheckpointUse[] = ["checkpoint", "checkpoint-sm2"];
  const signatures = await Promise.all(uses.map((use) => signText(ring, use, origin, text)));
  return formatNote({ text, signatures });
}

async function signText(
  ring: Pick<KeyRing, "sign" | "publicKeys">,
  use: CheckpointUse,
  name: string,
  text: string,
): Promise<NoteSignature> {
  const { keyId, signature } = await ring.sign(use, Buffer.from(text, "utf8"));
  const entry = ring.publicKeys().find((key) => key.keyId === keyId);
  if (entry === undefined) throw new Error(`the ring signed for ${use} with a key that it does not publish`);
  const key = noteKeyOf(entry, name);
  return {
    name,
    keyId: noteKeyId(key),
    signature: key.algorithm === "sm2" ? encodeSm2Signature(signature) : signature,
  };
}

/** The log's own keys, retired ones included, as verifiers under its origin. */
export function checkpointVerifiers(keys: readonly PublicKeyEntry[], origin: string): Verifier[] {
  return keys
    .filter(({ service, use }) => service === "audit" && (use === "checkpoint" || use === "checkpoint-sm2"))
    .map((entry) => createVerifier(noteKeyOf(entry, origin)));
}

/** The checkpoint of a note that the log itself signed; undefined for anything else. */
export function openCheckpoint(note: string, verifiers: readonly Verifier[], origin: string): Checkpoint | undefined {
  const opened = openNote(note, verifiers);
  if (!opened.ok) return undefined;
  const checkpoint = parseCheckpoint(opened.text);
  return checkpoint.origin === origin ? checkpoint : undefined;
}

function noteKeyOf({ algorithm, jwk }: PublicKeyEntry, name: string): NoteKey & { algorithm: "ed25519" | "sm2" } {
  const x = Buffer.from(jwk.x ?? "", "base64url");
  if (algorithm === "Ed25519") return { name, algorithm: "ed25519", publicKey: x };
  const y = Buffer.from(jwk.y ?? "", "base64url");
  return { name, algorithm: "sm2", publicKey: Buffer.concat([Buffer.of(4), x, y]) };
}
