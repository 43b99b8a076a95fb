/**
 * Gives every service its keys and publishes the public halves:
 *
 *   <rootDir>/root/bundle-root.key   the bundle root's private key: kept away from every service
 *   <rootDir>/<service>/ring.json    each service's own ring: mounted into that service only
 *   <rootDir>/bundle-root.pem        what everybody trusts
 *   <rootDir>/public-keys.json       the signed bundle
 *
 * Running it again changes nothing but what is missing; the bundle gets a new version only when its keys changed.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../clock/index.ts";
import { readBundle, signBundle } from "./bundle.ts";
import { type FileKeyRing, openFileKeyRing } from "./file-ring.ts";
import { KeyError, type KeyUse, type PublicKeyEntry } from "./key-ring.ts";
import { generateStoredKey, readRing, replaceFile, replaceRing, ringPath, type StoredKey } from "./ring-file.ts";
import { sharedUses, usesOf } from "./uses.ts";

export interface ProvisionOptions {
  readonly rootDir: string;
  /** "auth", "registry", "trust-gateway", "audit" */
  readonly services: readonly string[];
  readonly clock?: Clock;
}

export interface Provisioned {
  readonly bundleFile: string;
  readonly bundleRootFile: string;
  readonly bundleVersion: number;
  /** Directory of each service's ring, for FUJIE_KEYS_DIR. */
  keysDir(service: string): string;
}

/** Makes whatever is missing of the keys of these services, and publishes the bundle. */
export function provisionKeys({ rootDir, services, clock = systemClock }: ProvisionOptions): Provisioned {
  const keysDir = (service: string) => join(rootDir, service);
  for (const service of services) openFileKeyRing(keysDir(service), { service, create: true, clock });
  for (const use of sharedUses)
    shareSecret(
      use,
      services.filter((service) => usesOf(service).includes(use)),
      keysDir,
      clock,
    );
  return { ...publishBundle({ rootDir, services, clock }), keysDir };
}

/**
 * Rotates one key: of one service, or of all holders when it is shared. Signing keys become active after an hour by
 * default, so that every reader of the bundle knows them by then. Publishes the bundle and returns the version.
 */
export function rotateKey(
  options: ProvisionOptions & { readonly service: string; readonly use: KeyUse; readonly activateAfterMs?: number },
): number {
  const { rootDir, services, service, use, activateAfterMs = 60 * 60_000, clock = systemClock } = options;
  if (!usesOf(service).includes(use)) throw new KeyError(`${service} has no key for ${use}`);
  const version = sharedUses.includes(use)
    ? rotateShared(options, activateAfterMs, clock)
    : openFileKeyRing(join(rootDir, service), { service, clock }).rotate(use, { activateAfterMs });
  publishBundle({ rootDir, services, clock });
  return version;
}

/** Signs the present public keys of these services as the next version, unless they are what was published. */
export function publishBundle({
  rootDir,
  services,
  clock = systemClock,
}: ProvisionOptions): Omit<Provisioned, "keysDir"> {
  const bundleFile = join(rootDir, "public-keys.json");
  const bundleRootFile = join(rootDir, "bundle-root.pem");
  const root = ensureRoot(rootDir, bundleRootFile);
  const rings: readonly FileKeyRing[] = services.map((service) =>
    openFileKeyRing(join(rootDir, service), { service, clock }),
  );
  const known = existsSync(bundleFile)
    ? readBundle(readFileSync(bundleFile, "utf8"), readFileSync(bundleRootFile))
    : { version: 0, keys: [] };
  const keys = mergeEntries(
    known.keys,
    rings.flatMap((ring) => ring.publicKeys()),
  );
  if (JSON.stringify(keys) === JSON.stringify(known.keys)) {
    return { bundleFile, bundleRootFile, bundleVersion: known.version };
  }
  const bundleVersion = known.version + 1;
  replaceFile(bundleFile, signBundle({ version: bundleVersion, issuedAtMs: clock.nowMs(), keys }, root), 0o644);
  return { bundleFile, bundleRootFile, bundleVersion };
}

/** What was published once stays, so that old receipts and checkpoints verify for as long as they are kept. */
function mergeEntries(published: readonly PublicKeyEntry[], present: readonly PublicKeyEntry[]): PublicKeyEntry[] {
  const byId = new Map(published.map((entry) => [entry.keyId, entry]));
  for (const entry of present) byId.set(entry.keyId, entry);
  return [...byId.values()].toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1));
}

function ensureRoot(rootDir: string, publicFile: string): KeyObject {
  const privateFile = join(rootDir, "root", "bundle-root.key");
  if (!existsSync(privateFile)) {
    // A root that was lost must not be replaced unseen: everybody who trusts the old one would be cut off.
    if (existsSync(publicFile)) throw new KeyError("the bundle root's private key is missing");
    const { privateKey } = generateKeyPairSync("ed25519");
    replaceFile(privateFile, privateKey.export({ format: "pem", type: "pkcs8" }).toString(), 0o600);
  }
  const root = readPrivateKey(privateFile);
  if (!existsSync(publicFile)) {
    replaceFile(publicFile, createPublicKey(root).export({ format: "pem", type: "spki" }).toString(), 0o644);
  }
  return root;
}

function readPrivateKey(file: string): KeyObject {
  try {
    return createPrivateKey(readFileSync(file));
  } catch {
    throw new KeyError(`${file} is not a private key`);
  }
}

type KeysDir = (service: string) => string;

/** Every holder gets the versions of the first one that has any. */
function shareSecret(use: KeyUse, holders: readonly string[], keysDir: KeysDir, clock: Clock): void {
  const rings = holders.map((service) => readRing(ringPath(keysDir(service))));
  const versionsIn = (keys: readonly StoredKey[]) => keys.filter((key) => key.use === use);
  const source = rings.map((ring) => versionsIn(ring.keys)).find((versions) => versions.length > 0);
  const versions = source ?? [generateStoredKey("shared", use, 1, clock.nowMs())];
  for (const ring of rings) {
    if (versionsIn(ring.keys).length > 0) continue;
    replaceRing(ringPath(keysDir(ring.service)), { service: ring.service, keys: [...ring.keys, ...versions] });
  }
}

function rotateShared(
  options: ProvisionOptions & { readonly use: KeyUse },
  activateAfterMs: number,
  clock: Clock,
): number {
  const { rootDir, services, use } = options;
  const rings = services
    .filter((service) => usesOf(service).includes(use))
    .map((service) => readRing(ringPath(join(rootDir, service))));
  const versions = rings.flatMap((ring) => ring.keys.filter((key) => key.use === use).map((key) => key.version));
  const fresh = generateStoredKey("shared", use, Math.max(0, ...versions) + 1, clock.nowMs() + activateAfterMs);
  for (const ring of rings) {
    replaceRing(ringPath(join(rootDir, ring.service)), { service: ring.service, keys: [...ring.keys, fresh] });
  }
  return fresh.version;
}
