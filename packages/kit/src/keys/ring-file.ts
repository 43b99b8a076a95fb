/**
 * The file behind a file ring: one JSON document, replaced as a whole, readable by its owner only. One file, so that
 * a rotation is atomic and a half-written ring cannot exist.
 */
import { createHash, type JsonWebKey, randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { generateSigningKey } from "./algorithms.ts";
import { KeyError, type KeyUse } from "./key-ring.ts";
import { KEY_BYTES } from "./sealing.ts";
import { isKeyUse, isSigningUse, signingAlgorithms } from "./uses.ts";

export interface StoredKey {
  readonly use: KeyUse;
  readonly version: number;
  /** Signs, digests and seals from this time on. */
  readonly notBeforeMs: number;
  /** Signing keys only: does not sign any more after this. */
  readonly notAfterMs?: number;
  /** Signing keys only. */
  readonly keyId?: string;
  readonly jwk?: JsonWebKey;
  /** Base64url; absent once a retired signing key's private half was destroyed. */
  readonly secret?: string;
}

export interface StoredRing {
  readonly service: string;
  readonly keys: readonly StoredKey[];
}

export function ringPath(dir: string): string {
  return join(dir, "ring.json");
}

/** A fresh key of that use. Key ids carry a thumbprint (RFC 7638), so that two rings never share one. */
export function generateStoredKey(service: string, use: KeyUse, version: number, notBeforeMs: number): StoredKey {
  if (!isSigningUse(use)) {
    return { use, version, notBeforeMs, secret: randomBytes(KEY_BYTES).toString("base64url") };
  }
  const { jwk, secret } = generateSigningKey(signingAlgorithms[use]);
  const keyId = `${service}-${use}-${thumbprint(jwk)}`;
  return { use, version, notBeforeMs, keyId, jwk, secret: secret.toString("base64url") };
}

function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  const members = y === undefined ? { crv, kty, x } : { crv, kty, x, y };
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url").slice(0, 16);
}

/** Reads and checks a ring. Throws KeyError naming what is wrong, never quoting the file. */
export function readRing(path: string): StoredRing {
  let text: string;
  try {
    if ((statSync(path).mode & 0o007) !== 0) throw new KeyError(`${path} is accessible to everybody; make it 0600`);
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof KeyError) throw error;
    throw new KeyError(`${path} cannot be read`);
  }
  const parsed = parseJson(text);
  if (!isRing(parsed)) throw new KeyError(`${path} is not a key ring`);
  return parsed;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds keys.
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isRing(value: unknown): value is StoredRing {
  return (
    isRecord(value) &&
    typeof value["service"] === "string" &&
    Array.isArray(value["keys"]) &&
    value["keys"].every(isStoredKey)
  );
}

function isStoredKey(value: unknown): value is StoredKey {
  if (!isRecord(value) || !isKeyUse(value["use"])) return false;
  const { version, notBeforeMs, notAfterMs, keyId, jwk, secret } = value;
  const isTime = (time: unknown) => typeof time === "number" && Number.isSafeInteger(time) && time >= 0;
  const framed =
    isTime(notBeforeMs) &&
    typeof version === "number" &&
    Number.isInteger(version) &&
    version >= 1 &&
    version <= 0xffff &&
    (notAfterMs === undefined || isTime(notAfterMs));
  if (!framed) return false;
  if (!isSigningUse(value["use"])) return isKeySecret(secret);
  return typeof keyId === "string" && isRecord(jwk) && (secret === undefined || typeof secret === "string");
}

function isKeySecret(secret: unknown): boolean {
  return typeof secret === "string" && Buffer.from(secret, "base64url").length === KEY_BYTES;
}

/** Writes a ring that did not exist. False when another process was first: its ring then counts. */
export function createRing(path: string, ring: StoredRing): boolean {
  const temporary = writeTemporary(path, JSON.stringify(ring, null, 1));
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  } finally {
    unlinkSync(temporary);
  }
}

export function replaceRing(path: string, ring: StoredRing): void {
  replaceFile(path, JSON.stringify(ring, null, 1), 0o600);
}

/** Replaces a file as a whole, durably: a reader sees the old or the new one, never a part. */
export function replaceFile(path: string, text: string, mode: number): void {
  const temporary = writeTemporary(path, text);
  chmodSync(temporary, mode);
  renameSync(temporary, path);
}

function writeTemporary(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const file = openSync(temporary, "wx", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return temporary;
}
