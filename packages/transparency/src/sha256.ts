import { hash } from "node:crypto";

/** SHA-256 in one call: 32 bytes. */
export function sha256(input: Uint8Array): Uint8Array {
  // Measured: a latin-1 string out of OpenSSL costs half of a Buffer, copying included.
  const binary = hash("sha256", input, "binary");
  const digest = new Uint8Array(32);
  for (let at = 0; at < 32; at++) digest[at] = binary.charCodeAt(at);
  return digest;
}
