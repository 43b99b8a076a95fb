import type { JsonWebKey, KeyObject } from "node:crypto";

/** What a signing key is for. A key signs for one use only; the use is checked on verification. */
export type SigningUse =
  | "token"
  | "feed"
  | "receipt"
  | "receipt-sm2"
  | "consent"
  | "checkpoint"
  | "checkpoint-sm2"
  | "report";

/** What a keyed digest is for. */
export type SecretUse =
  | "page-token"
  | "resume-token"
  | "request-digest"
  | "blind-index"
  | "consent-elements"
  | "evidence"
  | "cache-key"
  | "cookie";

/** What is sealed directly under a key of the ring (data keys of subjects are another matter: newDataKey). */
export type SealingUse = "response" | "payload" | "session";

export type KeyUse = SigningUse | SecretUse | SealingUse | "data-key";

export type SigningAlgorithm = "ES256" | "Ed25519" | "SM2";

/** Signatures are fixed-length: r‖s for ES256 and SM2 (signer id 1234567812345678), RFC 8032 for Ed25519; 64 bytes. */
export interface KeyedSignature {
  readonly keyId: string;
  readonly signature: Uint8Array;
}

export interface VersionedDigest {
  readonly version: number;
  /** HMAC-SHA-256, 32 bytes. */
  readonly digest: Buffer;
}

export interface PublicKeyEntry {
  readonly keyId: string;
  readonly service: string;
  readonly use: SigningUse;
  readonly version: number;
  readonly algorithm: SigningAlgorithm;
  readonly jwk: JsonWebKey;
  readonly notBeforeMs: number;
  /** Absent while the key may still sign. */
  readonly notAfterMs?: number;
}

/**
 * The port to a service's keys. Private keys never leave it; a use that the service was not given throws a KeyError.
 * Signing and wrapping are asynchronous because a hardware module may do them.
 */
export interface KeyRing {
  readonly service: string;
  sign(use: SigningUse, bytes: Uint8Array): Promise<KeyedSignature>;
  /** Verifies a signature of this service's own keys, retired ones included; false for anything that does not fit. */
  verify(use: SigningUse, keyId: string, bytes: Uint8Array, signature: Uint8Array): boolean;
  /** The public halves, retired ones included, for the bundle and the JWKS. */
  publicKeys(): readonly PublicKeyEntry[];
  /** HMAC-SHA-256 under the active version. */
  hmac(use: SecretUse, bytes: Uint8Array | string): VersionedDigest;
  /** Under every live version, newest first: what a blind index writes and looks up. */
  hmacAll(use: SecretUse, bytes: Uint8Array | string): readonly VersionedDigest[];
  /** Whether `digest` is the HMAC of `bytes` under any live version, in constant time. */
  hmacMatches(use: SecretUse, bytes: Uint8Array | string, digest: Uint8Array): boolean;
  /** A fresh AES-256 key, and the same wrapped for storage and bound to `context` (for example "subject:<id>"). */
  newDataKey(context: string): Promise<{ readonly dataKey: KeyObject; readonly wrapped: Buffer }>;
  /** Throws KeyError when the wrapped key was altered or belongs to another context. */
  unwrap(wrapped: Uint8Array, context: string): Promise<KeyObject>;
  /** AES-256-GCM under the active version of a ring key, bound to `aad`. */
  seal(use: SealingUse, aad: Uint8Array | string, plaintext: Uint8Array): Buffer;
  /** Throws KeyError when altered, under an unknown version, or under another aad. */
  open(use: SealingUse, aad: Uint8Array | string, sealed: Uint8Array): Buffer;
}

/** The signed list of every service's public keys: the trust root of every offline check. */
export interface KeyBundle {
  /** Grows with every publication. */
  readonly version: number;
  readonly entries: readonly PublicKeyEntry[];
  find(keyId: string): PublicKeyEntry | undefined;
  /**
   * True only if the key is in the bundle for exactly this service and use, was valid at `atMs` (when given: the time
   * that the signed statement claims), and the signature fits.
   */
  verify(check: SignatureCheck): boolean;
}

export interface SignatureCheck {
  readonly keyId: string;
  readonly use: SigningUse;
  readonly service: string;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly atMs?: number;
}

/** A key is missing, malformed, or does not open what it was asked to. Messages never hold key material. */
export class KeyError extends Error {
  override readonly name = "KeyError";
}
