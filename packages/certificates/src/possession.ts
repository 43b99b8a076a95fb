/** Proof that a client holds the private key of a certificate, over bytes that say what the proof is for. */
import { timingSafeEqual } from "node:crypto";
import type { Certificate } from "./certificate.ts";
import { DerError, sameBytes } from "./der.ts";
import { defaultAlgorithm, digest, verifySignature } from "./signature.ts";
import { readSignedData, type SignedData } from "./signed-data.ts";

export type PossessionFormat = "raw" | "pkcs7";

export type PossessionReason =
  | "POSSESSION_MALFORMED"
  | "POSSESSION_ALGORITHM"
  | "POSSESSION_SIGNER"
  | "POSSESSION_CONTENT"
  | "POSSESSION_SIGNATURE";

export type PossessionResult = { readonly ok: true } | { readonly ok: false; readonly reason: PossessionReason };

export type PossessionInput = {
  /** The certificate, from a checked path, whose key must have signed. */
  readonly certificate: Certificate;
  /** What must have been signed: `possessionMessage(…)`, rebuilt by the verifier and never taken from the client. */
  readonly signedBytes: Uint8Array;
  readonly signature: Uint8Array;
  /**
   * raw: a DER signature (SM2 with SM3 and the default id, ECDSA with the curve's hash) or RSA PKCS#1 v1.5 with SHA-256.
   * pkcs7: DER of a CMS SignedData, attached or detached, with or without signed attributes.
   */
  readonly format: PossessionFormat;
};

const SIGNATURE_BYTES_MAX = 128 * 1024;
const DOMAIN_TAG = "fujie possession v1";

/**
 * The bytes to sign: a domain tag, then purpose, origin, session and nonce, each behind its length in two bytes
 * (big-endian), so that no two different challenges share an encoding and no other protocol's message looks like one.
 * Throws `RangeError` for an empty or oversized field, text that is not well-formed, or a nonce under 64 bits.
 */
export function possessionMessage(challenge: {
  /** What the proof is used for, e.g. "sign-in" or "register". */
  readonly purpose: string;
  readonly origin: string;
  /** The session or transaction that the challenge belongs to. */
  readonly session: string;
  /** Random, used once, short-lived. 8 to 64 bytes. */
  readonly nonce: Uint8Array;
}): Uint8Array {
  if (challenge.nonce.length < 8 || challenge.nonce.length > 64) throw new RangeError("nonce: 8 to 64 bytes");
  const texts = { purpose: challenge.purpose, origin: challenge.origin, session: challenge.session };
  const fields = Object.entries(texts).map(([name, text]) => {
    const bytes = Buffer.from(text, "utf8");
    if (!text.isWellFormed() || bytes.length === 0 || bytes.length > 1024) {
      throw new RangeError(`${name}: 1 to 1024 bytes of well-formed text`);
    }
    return bytes;
  });
  const parts = [Buffer.from(DOMAIN_TAG, "utf8"), ...fields, challenge.nonce];
  return Uint8Array.from(Buffer.concat(parts.flatMap((part) => [lengthPrefix(part.length), part])));
}

const lengthPrefix = (length: number): Uint8Array => Uint8Array.of(length >> 8, length & 0xff);

/** Verifies a proof of possession. Never throws on a bad signature. */
export function verifyPossession(input: PossessionInput): PossessionResult {
  if (input.signature.length > SIGNATURE_BYTES_MAX) return refuse("POSSESSION_MALFORMED");
  if (input.format === "pkcs7") return verifyPkcs7(input);
  const { publicKey } = input.certificate;
  const valid = verifySignature(publicKey, defaultAlgorithm(publicKey), input.signedBytes, input.signature);
  return valid ? { ok: true } : refuse("POSSESSION_SIGNATURE");
}

const refuse = (reason: PossessionReason): PossessionResult => ({ ok: false, reason });

function verifyPkcs7({ certificate, signedBytes, signature }: PossessionInput): PossessionResult {
  let data: SignedData;
  try {
    data = readSignedData(Uint8Array.from(signature));
  } catch (error) {
    if (error instanceof DerError) return refuse("POSSESSION_MALFORMED");
    throw error;
  }
  const { algorithm, hash } = data;
  if (algorithm === undefined || hash === undefined || algorithm.family !== certificate.publicKey.family) {
    return refuse("POSSESSION_ALGORITHM");
  }
  if (!data.isSigner(certificate)) return refuse("POSSESSION_SIGNER");
  if (data.content !== undefined && !sameBytes(data.content, signedBytes)) return refuse("POSSESSION_CONTENT");
  if (data.attributes !== undefined && !sameDigest(data.attributes.messageDigest, digest(hash, signedBytes))) {
    return refuse("POSSESSION_CONTENT");
  }
  const signed = data.attributes?.signed ?? signedBytes;
  const valid = verifySignature(certificate.publicKey, algorithm, signed, data.signature);
  return valid ? { ok: true } : refuse("POSSESSION_SIGNATURE");
}

const sameDigest = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
