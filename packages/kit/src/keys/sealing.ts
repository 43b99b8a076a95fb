/**
 * AES-256-GCM under KeyObjects: IV (12 bytes) ‖ ciphertext ‖ tag (16 bytes). The IV is random (NIST SP 800-38D
 * §8.2.2), so one key must seal fewer than 2³² messages: data keys are per subject, ring keys are rotated.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomFillSync } from "node:crypto";
import { takeRandomBytes } from "../random/index.ts";
import { KeyError } from "./key-ring.ts";

const CIPHER = "aes-256-gcm";
export const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/**
 * Seals `plaintext` bound to `aad`: what it is and whose, for example "account:<id>:name". Throws KeyError on an empty
 * aad, because an unbound ciphertext can be moved to another row.
 */
export function seal(dataKey: KeyObject, aad: Uint8Array | string, plaintext: Uint8Array): Buffer {
  const iv = takeRandomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, dataKey, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(aadBytes(aad));
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Opens what `seal` made. Throws KeyError when it was altered, or under another key or aad; never says which. */
export function open(dataKey: KeyObject, aad: Uint8Array | string, sealed: Uint8Array): Buffer {
  if (sealed.length < IV_BYTES + TAG_BYTES) throw new KeyError("sealed data is too short");
  const decipher = createDecipheriv(CIPHER, dataKey, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(aadBytes(aad));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const start = decipher.update(sealed.subarray(IV_BYTES, sealed.length - TAG_BYTES));
  try {
    const rest = decipher.final();
    return rest.length === 0 ? start : Buffer.concat([start, rest]);
  } catch {
    throw new KeyError("sealed data does not open");
  }
}

/** A fresh AES-256 key. */
export function generateDataKey(): KeyObject {
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(KEY_BYTES));
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}

function aadBytes(aad: Uint8Array | string): Uint8Array {
  if (aad.length === 0) throw new KeyError("the additional data is empty");
  return typeof aad === "string" ? Buffer.from(aad, "utf8") : aad;
}
