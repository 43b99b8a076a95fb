/**
 * Public keys and signatures: RSA and ECDSA by OpenSSL through Node, SM2 by sm-crypto-v2.
 *
 * Node's own SM2 does not interoperate (it signs with an empty signer id), hence the second library. Every signature
 * here is checked in its one DER form: sm-crypto-v2 alone would accept bytes after it.
 */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { sm2 } from "sm-crypto-v2";
import {
  DerError,
  derInteger,
  derSequence,
  type Element,
  fieldsOf,
  readBitBytes,
  readDer,
  readInteger,
  readOid,
  sameBytes,
  TAG,
  toHex,
} from "./der.ts";

export type KeyFamily = "RSA" | "ECDSA" | "SM2";
export type HashName = "sha256" | "sha384" | "sha512" | "sm3";
export type SignatureAlgorithm = { readonly family: KeyFamily; readonly hash: HashName };

/** A subject's public key. `bits` is the BIT STRING's content, which key identifiers (RFC 5280, RFC 6960) hash. */
export type PublicKey = { readonly spki: Uint8Array; readonly bits: Uint8Array } & (
  | { readonly family: "RSA"; readonly key: KeyObject }
  | { readonly family: "ECDSA"; readonly key: KeyObject; readonly curve: "P-256" | "P-384" }
  | { readonly family: "SM2"; readonly point: string }
);

/** The signer id that GM/T 0009-2012 §10 fixes for certificates; a signature made with another id does not verify. */
export const SM2_DEFAULT_ID = "1234567812345678";

const OID_RSA_KEY = "1.2.840.113549.1.1.1";
const OID_EC_KEY = "1.2.840.10045.2.1";
const OID_CURVES: Readonly<Record<string, "P-256" | "P-384" | "SM2">> = {
  "1.2.840.10045.3.1.7": "P-256",
  "1.3.132.0.34": "P-384",
  "1.2.156.10197.1.301": "SM2",
};

/** SHA-1 and MD5 are absent on purpose: an algorithm that is not listed does not verify. */
export const SIGNATURE_ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = {
  "1.2.840.113549.1.1.11": { family: "RSA", hash: "sha256" },
  "1.2.840.113549.1.1.12": { family: "RSA", hash: "sha384" },
  "1.2.840.113549.1.1.13": { family: "RSA", hash: "sha512" },
  "1.2.840.10045.4.3.2": { family: "ECDSA", hash: "sha256" },
  "1.2.840.10045.4.3.3": { family: "ECDSA", hash: "sha384" },
  "1.2.840.10045.4.3.4": { family: "ECDSA", hash: "sha512" },
  "1.2.156.10197.1.501": { family: "SM2", hash: "sm3" },
};

export const HASH_ALGORITHMS: Readonly<Record<string, HashName>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
  "1.2.156.10197.1.401": "sm3",
};

/** An AlgorithmIdentifier's OID. Parameters may only be absent or NULL: nothing in use here has others. */
export function readAlgorithmOid(element: Element): string {
  const fields = fieldsOf(element);
  const oid = readOid(fields.take(TAG.oid, "algorithm"));
  const parameters = fields.takeIf(TAG.null);
  fields.end();
  if (parameters !== undefined && parameters.content.length > 0) throw new DerError("a NULL with content");
  return oid;
}

/**
 * Reads a SubjectPublicKeyInfo. Undefined when the kind of key is not supported or too weak: RSA from 2048 to 8192
 * bits, P-256, P-384 and SM2 are accepted.
 */
export function readPublicKey(element: Element): PublicKey | undefined {
  const fields = fieldsOf(element);
  const algorithm = fieldsOf(fields.take(TAG.sequence, "key algorithm"));
  const oid = readOid(algorithm.take(TAG.oid, "key algorithm"));
  const parameters = algorithm.takeIf(TAG.oid, TAG.null);
  algorithm.end();
  const bits = readBitBytes(fields.take(TAG.bitString, "public key"));
  fields.end();
  const base = { spki: element.raw, bits };
  if (oid === OID_RSA_KEY && parameters?.tag === TAG.null) return rsaKey(base);
  if (oid === OID_EC_KEY && parameters?.tag === TAG.oid) return ecKey(base, OID_CURVES[readOid(parameters)]);
  return undefined;
}

type KeyBytes = { readonly spki: Uint8Array; readonly bits: Uint8Array };

function rsaKey(base: KeyBytes): PublicKey | undefined {
  const key = importKey(base.spki);
  const bits = key?.asymmetricKeyDetails?.modulusLength ?? 0;
  return key === undefined || bits < 2048 || bits > 8192 ? undefined : { ...base, family: "RSA", key };
}

function ecKey(base: KeyBytes, curve: "P-256" | "P-384" | "SM2" | undefined): PublicKey | undefined {
  if (curve === undefined) return undefined;
  if (curve !== "SM2") {
    const key = importKey(base.spki);
    return key === undefined ? undefined : { ...base, family: "ECDSA", key, curve };
  }
  const point = toHex(base.bits);
  return point.length === 130 && point.startsWith("04") && isOnCurve(point)
    ? { ...base, family: "SM2", point }
    : undefined;
}

function importKey(spki: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

function isOnCurve(point: string): boolean {
  try {
    return sm2.verifyPublicKey(point);
  } catch {
    return false;
  }
}

/** True only for a valid signature by `key` under exactly `algorithm`. Never throws. */
export function verifySignature(
  key: PublicKey,
  algorithm: SignatureAlgorithm,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (key.family !== algorithm.family) return false;
  try {
    if (key.family !== "SM2") return verify(algorithm.hash, bytes, key.key, signature);
    if (!isStrictDerPair(signature)) return false;
    return sm2.doVerifySignature(bytes, toHex(signature), precomputedPoint(key.point), {
      hash: true,
      der: true,
      userId: SM2_DEFAULT_ID,
    });
  } catch {
    return false;
  }
}

/** Multiples of recently used SM2 keys. A small window costs less than one plain verification and saves six sevenths. */
const POINTS_MAX = 64;
const WINDOW_BITS = 4;
const points = new Map<string, ReturnType<typeof sm2.precomputePublicKey>>();

function precomputedPoint(hex: string) {
  const point = points.get(hex) ?? sm2.precomputePublicKey(hex, WINDOW_BITS);
  // Least recently used first: setting again moves a key to the end.
  points.delete(hex);
  points.set(hex, point);
  for (const oldest of points.keys()) {
    if (points.size <= POINTS_MAX) break;
    points.delete(oldest);
  }
  return point;
}

function isStrictDerPair(signature: Uint8Array): boolean {
  const fields = fieldsOf(readDer(signature));
  const r = readInteger(fields.take(TAG.integer, "r"));
  const s = readInteger(fields.take(TAG.integer, "s"));
  fields.end();
  return r > 0n && s > 0n && sameBytes(signature, derSequence(derInteger(r), derInteger(s)));
}

/** The signature algorithm a key signs a challenge with when the format itself names none. */
export function defaultAlgorithm(key: PublicKey): SignatureAlgorithm {
  if (key.family === "SM2") return { family: "SM2", hash: "sm3" };
  return { family: key.family, hash: key.family === "ECDSA" && key.curve === "P-384" ? "sha384" : "sha256" };
}

export const digest = (hash: HashName | "sha1", bytes: Uint8Array): Uint8Array =>
  createHash(hash).update(bytes).digest();
