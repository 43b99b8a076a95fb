/**
 * The signed list of all public keys: a flattened JWS (RFC 7515 §7.2.2, EdDSA) in `public-keys.json`, signed by the
 * bundle root whose public half, `bundle-root.pem`, is all that somebody offline has to trust.
 */
import { createPublicKey, type JsonWebKey, type KeyObject, sign, verify } from "node:crypto";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { importVerificationKey, type VerificationKey } from "./algorithms.ts";
import { type KeyBundle, KeyError, type PublicKeyEntry, type SigningAlgorithm, type SigningUse } from "./key-ring.ts";
import { isSigningUse, signingAlgorithms } from "./uses.ts";

export interface BundleContent {
  readonly version: number;
  readonly issuedAtMs: number;
  readonly keys: readonly PublicKeyEntry[];
}

export interface KeyBundleOptions {
  /** Refuse anything older than the version that is remembered: a rollback would bring withdrawn keys back. */
  readonly versionAtLeast?: number;
  /** How often the file is looked at for a new publication; 0 (the default): never. */
  readonly watchIntervalMs?: number;
}

export interface FileKeyBundle extends KeyBundle, Disposable {
  /** Reads the file now. Throws KeyError, and keeps the old entries, on a bad or older bundle. */
  reload(): void;
}

const PROTECTED = Buffer.from(JSON.stringify({ alg: "EdDSA", typ: "fujie-key-bundle+json" })).toString("base64url");

export function signBundle(content: BundleContent, rootKey: KeyObject): string {
  const payload = Buffer.from(JSON.stringify(content)).toString("base64url");
  const signature = sign(null, Buffer.from(`${PROTECTED}.${payload}`), rootKey).toString("base64url");
  return `${JSON.stringify({ protected: PROTECTED, payload, signature }, null, 1)}\n`;
}

/** Reads a bundle that `rootPem` signed. Throws KeyError on anything else; nothing of it is believed before. */
export function readBundle(text: string, rootPem: string | Buffer): BundleContent {
  const root = readRoot(rootPem);
  const envelope = parseRecord(text);
  const { payload, signature } = envelope;
  if (envelope["protected"] !== PROTECTED || typeof payload !== "string" || typeof signature !== "string") {
    throw new KeyError("the key bundle is not a signed bundle");
  }
  const signed = Buffer.from(`${PROTECTED}.${payload}`);
  if (!verify(null, signed, root, Buffer.from(signature, "base64url"))) {
    throw new KeyError("the key bundle is not signed by the bundle root");
  }
  return readContent(parseRecord(Buffer.from(payload, "base64url").toString("utf8")));
}

/** Loads the bundle from its two files; throws KeyError when they cannot be read or do not belong together. */
export function loadKeyBundle(file: string, rootFile: string, options: KeyBundleOptions = {}): FileKeyBundle {
  const { versionAtLeast = 0, watchIntervalMs = 0 } = options;
  const load = (atLeast: number) => {
    const content = readBundle(readText(file), readText(rootFile));
    if (content.version < atLeast) throw new KeyError("the key bundle is older than the one known");
    return { content, keys: new Map(content.keys.map((entry) => [entry.keyId, importEntry(entry)])) };
  };
  let current = load(versionAtLeast);
  const reload = () => {
    current = load(Math.max(versionAtLeast, current.content.version));
  };
  const onFileChange = () => {
    try {
      reload();
    } catch {
      // The keys that are known stay: a bad publication must not stop verification.
    }
  };
  if (watchIntervalMs > 0) watchFile(file, { interval: watchIntervalMs, persistent: false }, onFileChange);

  return {
    get version() {
      return current.content.version;
    },
    get entries() {
      return current.content.keys;
    },
    find: (keyId) => current.keys.get(keyId)?.entry,
    verify({ keyId, use, service, bytes, signature, atMs }) {
      const key = current.keys.get(keyId);
      if (key === undefined || key.entry.use !== use || key.entry.service !== service) return false;
      if (atMs !== undefined && !wasValidAt(key.entry, atMs)) return false;
      return key.verification.verify(bytes, signature);
    },
    reload,
    [Symbol.dispose]: () => unwatchFile(file, onFileChange),
  };
}

function wasValidAt({ notBeforeMs, notAfterMs }: PublicKeyEntry, atMs: number): boolean {
  return atMs >= notBeforeMs && (notAfterMs === undefined || atMs <= notAfterMs);
}

function importEntry(entry: PublicKeyEntry): { entry: PublicKeyEntry; verification: VerificationKey } {
  try {
    return { entry, verification: importVerificationKey(entry.algorithm, entry.jwk) };
  } catch {
    throw new KeyError(`the key bundle's ${entry.keyId} is not a key`);
  }
}

function readRoot(pem: string | Buffer): KeyObject {
  let root: KeyObject;
  try {
    root = createPublicKey(pem);
  } catch {
    throw new KeyError("the bundle root is not a public key");
  }
  if (root.asymmetricKeyType !== "ed25519") throw new KeyError("the bundle root is not an Ed25519 key");
  return root;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new KeyError(`${file} cannot be read`);
  }
}

type JsonRecord = Readonly<Record<string, unknown>>;

function parseRecord(text: string): JsonRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new KeyError("the key bundle is not JSON");
  }
  if (!isRecord(parsed)) throw new KeyError("the key bundle is not an object");
  return parsed;
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readContent({ version, issuedAtMs, keys }: JsonRecord): BundleContent {
  if (!isCount(version) || !isCount(issuedAtMs) || !Array.isArray(keys)) {
    throw new KeyError("the key bundle lacks its version, time or keys");
  }
  const entries = keys.map(readEntry);
  if (new Set(entries.map((entry) => entry.keyId)).size !== entries.length) {
    throw new KeyError("the key bundle repeats a key id");
  }
  return { version, issuedAtMs, keys: entries };
}

function readEntry(value: unknown): PublicKeyEntry {
  if (!isRecord(value)) throw new KeyError("the key bundle holds a malformed entry");
  const { keyId, service, use, version, algorithm, jwk, notBeforeMs, notAfterMs } = value;
  if (typeof keyId !== "string" || typeof service !== "string" || !isCount(version) || !isPublicJwk(jwk)) {
    throw new KeyError("the key bundle holds a malformed entry");
  }
  if (!isUseWithAlgorithm(use, algorithm) || !isCount(notBeforeMs)) {
    throw new KeyError("the key bundle holds a key of an unknown use or algorithm");
  }
  if (notAfterMs !== undefined && !isCount(notAfterMs)) throw new KeyError("the key bundle holds a malformed time");
  return {
    keyId,
    service,
    use,
    version,
    algorithm: signingAlgorithms[use],
    jwk,
    notBeforeMs,
    ...(notAfterMs === undefined ? {} : { notAfterMs }),
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isPublicJwk(value: unknown): value is JsonWebKey {
  return isRecord(value) && typeof value["kty"] === "string" && value["d"] === undefined;
}

function isUseWithAlgorithm(use: unknown, algorithm: unknown): use is SigningUse {
  const expected: SigningAlgorithm | undefined =
    typeof use === "string" && isSigningUse(use) ? signingAlgorithms[use] : undefined;
  return expected !== undefined && expected === algorithm;
}
