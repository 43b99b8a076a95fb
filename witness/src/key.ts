import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { formatVerifierKey, type SignBytes } from "@fujie/transparency";

/** The witness's own Ed25519 key. It serves this witness only: cosigned bytes do not name who cosigned them. */
export interface WitnessKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly sign: SignBytes;
}

/** Makes a new key; `file` gets it as PEM (PKCS #8), readable by its owner alone. Throws when the file exists. */
export function createWitnessKey(file: string): WitnessKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(file, privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600, flag: "wx" });
  return keyOf(privateKey);
}

/** Reads the key. Throws for a file that is missing, not PEM, or not of an Ed25519 key. */
export function readWitnessKey(file: string): WitnessKey {
  const privateKey = createPrivateKey(readFileSync(file));
  if (privateKey.asymmetricKeyType !== "ed25519") throw new TypeError("the witness's key is not an Ed25519 key");
  return keyOf(privateKey);
}

/** The key as whoever trusts the witness configures it (c2sp.org/signed-note, type 0x04). */
export function verifierKeyOf(name: string, { publicKey }: WitnessKey): string {
  return formatVerifierKey({ name, algorithm: "cosignature/v1", publicKey });
}

function keyOf(privateKey: KeyObject): WitnessKey {
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return {
    publicKey: new Uint8Array(Buffer.from(x, "base64url")),
    sign: (bytes) => new Uint8Array(sign(null, bytes, privateKey)),
  };
}
