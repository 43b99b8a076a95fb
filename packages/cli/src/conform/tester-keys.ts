/**
 * A tester's key in three files:
 *
 *   tester.key         Ed25519 private key, PKCS#8 PEM (0600)
 *   tester.pub         its public key, SubjectPublicKeyInfo PEM: what the operator registers (RegisterTester)
 *   tester-keys.json   {"keys": [{"keyId", "publicKeyPem"}]}: what `check` reads
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { testerKeyIdOf } from "@fujie/conformance";
import { UsageError } from "../commands/usage.ts";

/** Makes a key in the folder. Throws UsageError when there is one already. Returns its id. */
export function makeTesterKey(dir: string): string {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const keyId = testerKeyIdOf(publicKey);
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  try {
    writeFileSync(join(dir, "tester.key"), privateKey.export({ type: "pkcs8", format: "pem" }), {
      mode: 0o600,
      flag: "wx",
    });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") {
      throw new UsageError("there is a tester.key already: it is never overwritten");
    }
    throw error;
  }
  writeFileSync(join(dir, "tester.pub"), publicKeyPem);
  const keys = [{ keyId, publicKeyPem }];
  writeFileSync(join(dir, "tester-keys.json"), `${JSON.stringify({ keys }, undefined, 2)}\n`);
  return keyId;
}

/** Reads a tester's private key. Throws UsageError for anything but Ed25519. */
export function readTesterKey(file: string): KeyObject {
  const key = readPem(file, createPrivateKey);
  if (key.asymmetricKeyType !== "ed25519") throw new UsageError(`${file} is not an Ed25519 key`);
  return key;
}

/** Reads tester-keys.json. An id that does not follow from its key is refused. Throws UsageError. */
export function readTesterKeys(file: string): ReadonlyMap<string, KeyObject> {
  const wrong = () => new UsageError(`${file} is not {"keys": [{"keyId", "publicKeyPem"}]} with Ed25519 keys`);
  let list: unknown;
  try {
    list = JSON.parse(readFileSync(file, "utf8")).keys;
  } catch {
    throw wrong();
  }
  if (!Array.isArray(list) || list.length === 0) throw wrong();
  const keys = list.map(({ keyId, publicKeyPem }: { keyId?: unknown; publicKeyPem?: unknown }) => {
    if (typeof keyId !== "string" || typeof publicKeyPem !== "string") throw wrong();
    const key = parsePem(publicKeyPem, createPublicKey);
    if (key?.asymmetricKeyType !== "ed25519" || testerKeyIdOf(key) !== keyId) throw wrong();
    return [keyId, key] as const;
  });
  return new Map(keys);
}

/** A key from a PEM file. Throws UsageError that names the file, never its contents. */
export function readPem(file: string, parse: (pem: string) => KeyObject): KeyObject {
  const key = parsePem(readText(file), parse);
  if (key === undefined) throw new UsageError(`${file} is not a key in PEM`);
  return key;
}

/** Throws UsageError that names the file. */
export function readText(file: string): string {
  return readBytes(file).toString("utf8");
}

/** Throws UsageError that names the file. */
export function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    throw new UsageError(`${file} cannot be read`);
  }
}

function parsePem(pem: string, parse: (pem: string) => KeyObject): KeyObject | undefined {
  try {
    return parse(pem);
  } catch {
    return undefined;
  }
}
