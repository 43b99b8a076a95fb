import { sm2 } from "sm-crypto-v2";
import { FormatError } from "./errors.ts";

/**
 * SM2 signatures over SM3 (GB/T 32918.2), as DER SEQUENCE { r, s }, with the default signer id of GM/T 0009.
 * Node has no SM2 that interoperates: its own uses an empty signer id.
 */

export const SM2_USER_ID = "1234567812345678";
export const SM2_PUBLIC_KEY_BYTES = 65;

const ORDER = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n;

/** A sequence of two integers of 33 bytes, each part after its tag and length. */
const SIGNATURE_BYTES_MAX = 2 + 2 * (2 + 33);

/** A small table takes as long as two plain checks, and makes each three times as fast; a larger one gains no more. */
const WINDOW_BITS = 4;

/** Checks one signature; never throws on a bad one. */
export type VerifySm2 = (message: Uint8Array, signature: Uint8Array) => boolean;

/**
 * A verifier for one uncompressed public key (0x04 ‖ X ‖ Y). Its small table is computed at first use and makes each
 * check about three times faster. Throws FormatError unless the key is a point of the curve.
 */
export function createSm2Verifier(publicKey: Uint8Array, userId: string = SM2_USER_ID): VerifySm2 {
  const keyHex = toHex(publicKey);
  if (publicKey.length !== SM2_PUBLIC_KEY_BYTES || publicKey[0] !== 4 || !isOnCurve(keyHex))
    throw new FormatError("publicKey", "not an uncompressed point of the SM2 curve");
  let point: ReturnType<typeof sm2.precomputePublicKey> | undefined;
  return (message, signature) => {
    // The library skips trailing bytes and odd encodings: only the one right encoding may reach it.
    if (!isCanonicalSignature(signature)) return false;
    point ??= sm2.precomputePublicKey(keyHex, WINDOW_BITS);
    try {
      return sm2.doVerifySignature(message, toHex(signature), point, { hash: true, der: true, userId });
    } catch {
      return false; // it throws for scalars that it can't multiply by: no signature either
    }
  };
}

/** DER of a raw r ‖ s signature of 64 bytes, as hardware modules give it. Throws FormatError for any other length. */
export function encodeSm2Signature(raw: Uint8Array): Uint8Array {
  if (raw.length !== 64) throw new FormatError("signature", "not 64 bytes");
  return encodeSignature(toInteger(raw.subarray(0, 32)), toInteger(raw.subarray(32)));
}

/** Whether bytes are exactly one DER signature with r and s in [1, n − 1]. */
export function isCanonicalSignature(bytes: Uint8Array): boolean {
  if (bytes.length > SIGNATURE_BYTES_MAX) return false;
  const rEnd = 4 + (bytes[3] ?? 0);
  const r = toInteger(bytes.subarray(4, rEnd));
  const s = toInteger(bytes.subarray(rEnd + 2));
  if (r < 1n || r >= ORDER || s < 1n || s >= ORDER) return false;
  return Buffer.compare(encodeSignature(r, s), bytes) === 0;
}

function encodeSignature(r: bigint, s: bigint): Uint8Array {
  const body = [...encodeInteger(r), ...encodeInteger(s)];
  return Uint8Array.of(0x30, body.length, ...body);
}

function encodeInteger(value: bigint): Uint8Array {
  const hex = value.toString(16);
  const magnitude = Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex");
  // DER integers are signed: a leading 1-bit needs a zero byte before it.
  const bytes = (magnitude[0] ?? 0) < 0x80 ? magnitude : Buffer.concat([Uint8Array.of(0), magnitude]);
  return Uint8Array.of(0x02, bytes.length, ...bytes);
}

function isOnCurve(keyHex: string): boolean {
  try {
    return sm2.verifyPublicKey(keyHex);
  } catch {
    return false;
  }
}

function toInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
