/**
 * The KeyRing on one private file: for development, and for production where a mounted secret is the rule.
 *
 * A rotation adds a version beside the old ones. The new version has a time from which it signs, so that every reader
 * of the bundle knows it before it is used; old versions verify, open and look up until they are retired.
 */
import { createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import { existsSync, type StatsListener, unwatchFile, watchFile } from "node:fs";
import { type Clock, systemClock } from "../clock/index.ts";
import { importSigningKey, importVerificationKey, type SigningKey, type VerificationKey } from "./algorithms.ts";
import { type HmacKey, hmacKey } from "./hmac.ts";
import {
  KeyError,
  type KeyRing,
  type KeyUse,
  type PublicKeyEntry,
  type SigningUse,
  type VersionedDigest,
} from "./key-ring.ts";
import {
  createRing,
  generateStoredKey,
  readRing,
  replaceRing,
  ringPath,
  type StoredKey,
  type StoredRing,
} from "./ring-file.ts";
import { generateDataKey, open, seal } from "./sealing.ts";
import { isSigningUse, sharedUses, signingAlgorithms, usesOf } from "./uses.ts";

export interface FileKeyRingOptions {
  /** Whose ring it is; the file must say the same. */
  readonly service: string;
  /** Make the ring, or keys that it lacks. Shared secrets are never made here: provisionKeys gives them out. */
  readonly create?: boolean;
  /** Keys to make; by default those of the service. */
  readonly uses?: readonly KeyUse[];
  readonly clock?: Clock;
  /** How often the file is looked at for a rotation by another process; 0 (the default): never. */
  readonly watchIntervalMs?: number;
}

export interface FileKeyRing extends KeyRing, Disposable {
  /** Adds a version that becomes active after `activateAfterMs` (default 0) and returns its number. */
  rotate(use: KeyUse, options?: { readonly activateAfterMs?: number }): number;
  /** Destroys the key of an old version for good; of a signing key only the private half. Not the active one. */
  retire(use: KeyUse, version: number): void;
  /** Reads the file now. Throws KeyError, and keeps the old keys, when it is not a ring of this service. */
  reload(): void;
}

/** How long replicas that have not noticed a rotation yet may go on signing with the old key. */
const ROTATION_GRACE_MS = 10 * 60_000;
/** Sealed and wrapped data starts with its format and the version of its key. */
const FORMAT = 1;
const PREFIX_BYTES = 3;

interface LoadedSigningKey {
  readonly entry: PublicKeyEntry;
  readonly verification: VerificationKey;
  readonly signing: SigningKey | undefined;
}

interface LoadedSecret {
  readonly version: number;
  readonly notBeforeMs: number;
  /** For sealing. */
  readonly key: KeyObject;
  /** For digests. */
  readonly digest: HmacKey;
}

interface LoadedRing {
  /** Newest first. */
  readonly signing: ReadonlyMap<KeyUse, readonly LoadedSigningKey[]>;
  readonly secrets: ReadonlyMap<KeyUse, readonly LoadedSecret[]>;
}

/** Opens the ring in `dir`. Throws KeyError when it is absent (without `create`), malformed or of another service. */
export function openFileKeyRing(dir: string, options: FileKeyRingOptions): FileKeyRing {
  const { service, create = false, uses = usesOf(service), clock = systemClock, watchIntervalMs = 0 } = options;
  const path = ringPath(dir);
  if (create) ensureKeys(path, service, uses, clock.nowMs());

  const read = (): StoredRing => {
    const ring = readRing(path);
    if (ring.service !== service) throw new KeyError(`${path} is not the ring of ${service}`);
    return ring;
  };
  let stored = read();
  let loaded = loadRing(stored);
  const reload = () => {
    const next = read();
    loaded = loadRing(next);
    stored = next;
  };
  const change = (keys: readonly StoredKey[]) => {
    replaceRing(path, { service, keys });
    reload();
  };

  const activeOf = <Key extends { notBeforeMs: number }>(keys: readonly Key[], use: KeyUse): Key => {
    const nowMs = clock.nowMs();
    const active = keys.find((key) => key.notBeforeMs <= nowMs);
    if (active === undefined) throw new KeyError(`${service} has no active key for ${use}`);
    return active;
  };
  const secretsOf = (use: KeyUse) => loaded.secrets.get(use) ?? [];
  const secretOf = (use: KeyUse, version: number): KeyObject => {
    const secret = secretsOf(use).find((candidate) => candidate.version === version);
    if (secret === undefined) throw new KeyError(`${service} has no version ${version} of the key for ${use}`);
    return secret.key;
  };
  const signingOf = (use: SigningUse): LoadedSigningKey => {
    const nowMs = clock.nowMs();
    const active = (loaded.signing.get(use) ?? []).find(
      (key) => key.entry.notBeforeMs <= nowMs && mayStillSign(key, nowMs),
    );
    if (active === undefined) throw new KeyError(`${service} has no active key for ${use}`);
    return active;
  };
  const sealUnder = (use: KeyUse, aad: Uint8Array | string, plaintext: Uint8Array): Buffer => {
    const { version, key } = activeOf(secretsOf(use), use);
    return Buffer.concat([prefixOf(version), seal(key, aad, plaintext)]);
  };
  const openUnder = (use: KeyUse, aad: Uint8Array | string, sealed: Uint8Array): Buffer =>
    open(secretOf(use, versionOf(sealed)), aad, sealed.subarray(PREFIX_BYTES));

  const onFileChange: StatsListener = () => {
    try {
      reload();
    } catch {
      // A ring that cannot be read right now leaves the keys as they are; the next change is looked at again.
    }
  };
  if (watchIntervalMs > 0) watchFile(path, { interval: watchIntervalMs, persistent: false }, onFileChange);

  return {
    service,
    async sign(use, bytes) {
      const { entry, signing } = signingOf(use);
      if (signing === undefined) throw new KeyError(`${service} has no active key for ${use}`);
      return { keyId: entry.keyId, signature: await signing.sign(bytes) };
    },
    verify(use, keyId, bytes, signature) {
      const key = loaded.signing.get(use)?.find(({ entry }) => entry.keyId === keyId);
      return key?.verification.verify(bytes, signature) ?? false;
    },
    publicKeys: () => [...loaded.signing.values()].flatMap((keys) => keys.map(({ entry }) => entry)),
    hmac(use, bytes) {
      return digestUnder(activeOf(secretsOf(use), use), bytes);
    },
    hmacAll(use, bytes) {
      const secrets = secretsOf(use);
      if (secrets.length === 0) throw new KeyError(`${service} has no active key for ${use}`);
      return secrets.map((secret) => digestUnder(secret, bytes));
    },
    hmacMatches(use, bytes, digest) {
      // Every version is tried, so that the time does not tell which one fitted.
      const fits = secretsOf(use).map((secret) => sameBytes(digestUnder(secret, bytes).digest, digest));
      return fits.includes(true);
    },
    async newDataKey(context) {
      const dataKey = generateDataKey();
      return { dataKey, wrapped: sealUnder("data-key", context, dataKey.export()) };
    },
    async unwrap(wrapped, context) {
      const bytes = openUnder("data-key", context, wrapped);
      const dataKey = createSecretKey(bytes);
      bytes.fill(0);
      return dataKey;
    },
    seal: sealUnder,
    open: openUnder,
    rotate(use, { activateAfterMs = 0 } = {}) {
      if (sharedUses.includes(use)) throw new KeyError(`the key for ${use} is shared: rotate it with rotateKey`);
      reload();
      const nowMs = clock.nowMs();
      const versions = stored.keys.filter((key) => key.use === use).map((key) => key.version);
      const fresh = generateStoredKey(service, use, Math.max(0, ...versions) + 1, nowMs + activateAfterMs);
      const notAfterMs = fresh.notBeforeMs + ROTATION_GRACE_MS;
      const outgoing = (key: StoredKey) => key.use === use && isSigningUse(use) && key.notAfterMs === undefined;
      change([...stored.keys.map((key) => (outgoing(key) ? { ...key, notAfterMs } : key)), fresh]);
      return fresh.version;
    },
    retire(use, version) {
      reload();
      const active = isSigningUse(use) ? signingOf(use).entry : activeOf(secretsOf(use), use);
      if (version >= active.version) throw new KeyError(`version ${version} for ${use} is still needed`);
      const affected = (key: StoredKey) => key.use === use && key.version === version;
      if (!stored.keys.some(affected)) throw new KeyError(`there is no version ${version} for ${use}`);
      change(stored.keys.flatMap((key) => (affected(key) ? withoutSecret(key, clock.nowMs()) : [key])));
    },
    reload,
    [Symbol.dispose]: () => unwatchFile(path, onFileChange),
  };
}

/** Makes the ring, or adds the keys that it lacks, for example after an upgrade that brought a new use. */
function ensureKeys(path: string, service: string, uses: readonly KeyUse[], nowMs: number): void {
  const generate = (wanted: readonly KeyUse[]) => wanted.map((use) => generateStoredKey(service, use, 1, nowMs));
  const own = uses.filter((use) => !sharedUses.includes(use));
  if (!existsSync(path) && createRing(path, { service, keys: generate(own) })) return;
  const ring = readRing(path);
  const missing = own.filter((use) => !ring.keys.some((key) => key.use === use));
  if (ring.service === service && missing.length > 0) {
    replaceRing(path, { service, keys: [...ring.keys, ...generate(missing)] });
  }
}

function loadRing(ring: StoredRing): LoadedRing {
  const signing = new Map<KeyUse, LoadedSigningKey[]>();
  const secrets = new Map<KeyUse, LoadedSecret[]>();
  for (const key of ring.keys.toSorted((a, b) => b.version - a.version)) {
    if (isSigningUse(key.use)) listUnder(signing, key.use).push(loadSigningKey(ring.service, key.use, key));
    else listUnder(secrets, key.use).push(loadSecret(key));
  }
  return { signing, secrets };
}

function listUnder<Item>(lists: Map<KeyUse, Item[]>, use: KeyUse): Item[] {
  const list = lists.get(use) ?? [];
  lists.set(use, list);
  return list;
}

function loadSigningKey(service: string, use: SigningUse, key: StoredKey): LoadedSigningKey {
  const { keyId, jwk, version, notBeforeMs, notAfterMs, secret } = key;
  if (keyId === undefined || jwk === undefined) throw new KeyError(`version ${version} for ${use} is incomplete`);
  const algorithm = signingAlgorithms[use];
  const entry: PublicKeyEntry = {
    keyId,
    service,
    use,
    version,
    algorithm,
    jwk,
    notBeforeMs,
    ...(notAfterMs === undefined ? {} : { notAfterMs }),
  };
  try {
    const signing =
      secret === undefined ? undefined : importSigningKey(algorithm, Buffer.from(secret, "base64url"), jwk);
    return { entry, verification: importVerificationKey(algorithm, jwk), signing };
  } catch {
    // OpenSSL's message is dropped: it may describe the key.
    throw new KeyError(`version ${version} for ${use} is not a key`);
  }
}

function loadSecret({ use, version, notBeforeMs, secret }: StoredKey): LoadedSecret {
  if (secret === undefined) throw new KeyError(`version ${version} for ${use} is incomplete`);
  const bytes = Buffer.from(secret, "base64url");
  return { version, notBeforeMs, key: createSecretKey(bytes), digest: hmacKey(bytes) };
}

function withoutSecret(key: StoredKey, nowMs: number): StoredKey[] {
  if (!isSigningUse(key.use)) return [];
  const { secret: _destroyed, ...publicHalf } = key;
  return [{ ...publicHalf, notAfterMs: Math.min(nowMs, key.notAfterMs ?? nowMs) }];
}

function mayStillSign({ entry, signing }: LoadedSigningKey, nowMs: number): boolean {
  return signing !== undefined && (entry.notAfterMs === undefined || nowMs < entry.notAfterMs);
}

function digestUnder(secret: LoadedSecret, bytes: Uint8Array | string): VersionedDigest {
  return { version: secret.version, digest: secret.digest(bytes) };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function prefixOf(version: number): Buffer {
  return Buffer.of(FORMAT, version >>> 8, version & 0xff);
}

function versionOf(sealed: Uint8Array): number {
  const [format, high, low] = sealed;
  if (format !== FORMAT || high === undefined || low === undefined)
    throw new KeyError("sealed data has no known format");
  return high * 256 + low;
}
