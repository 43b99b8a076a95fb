/**
 * A service's mutual-TLS identity from three PEM files. They may be replaced at any time (a renewal); a set that does
 * not fit together, such as a new key beside the old certificate, is not taken over.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { type Clock, systemClock } from "../clock/index.ts";
import { peerNameFromCertificate } from "./peer-name.ts";

export interface IdentityFiles {
  /** PEM: the service's certificate and, after it, any intermediates. */
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM: the authorities whose peers are accepted. */
  readonly caFile: string;
}

/** The PEM texts that TLS wants, as they are now. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Who this service is by mutual TLS. The texts always are the newest that the files held together. */
export interface Identity extends TlsMaterial, Disposable {
  /** "auth", "registry" …, from the certificate's SAN spiffe://fujie/<name>. */
  readonly name: string;
  readonly expiresAtMs: number;
  /** Calls the listener after each renewal, for server.setSecureContext and the like. */
  onReload(listener: (material: TlsMaterial) => void): Disposable;
  /** Reads the files now; false when they are unchanged or do not fit together (the old identity then stays). */
  reload(): boolean;
}

export interface IdentityOptions {
  readonly clock?: Clock;
  /** How often the files are looked at; 0: never. */
  readonly watchIntervalMs?: number;
}

/** The identity's files are missing, malformed or do not belong together. Never quotes a file's contents. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
}

interface Loaded extends TlsMaterial {
  readonly name: string;
  readonly expiresAtMs: number;
}

const WATCH_INTERVAL_MS = 10_000;

/** Loads the identity; throws IdentityError that names what is wrong. Dispose to stop watching the files. */
export function loadIdentity(files: IdentityFiles, options: IdentityOptions = {}): Identity {
  const { clock = systemClock, watchIntervalMs = WATCH_INTERVAL_MS } = options;
  let current = readIdentity(files, clock.nowMs());
  const listeners = new Set<(material: TlsMaterial) => void>();

  const reload = (): boolean => {
    let next: Loaded;
    try {
      next = readIdentity(files, clock.nowMs());
    } catch (error) {
      // Half of a renewal, seen between two writes: the other half changes the files again.
      if (error instanceof IdentityError) return false;
      throw error;
    }
    // A renewal renews who one is; it never makes one somebody else.
    const unchanged = next.cert === current.cert && next.key === current.key && next.ca === current.ca;
    if (unchanged || next.name !== current.name) return false;
    current = next;
    for (const listener of listeners) listener(current);
    return true;
  };

  const watched = watchIntervalMs > 0 ? [files.certFile, files.keyFile, files.caFile] : [];
  for (const file of watched) watchFile(file, { interval: watchIntervalMs, persistent: false }, reload);

  return {
    get name() {
      return current.name;
    },
    get cert() {
      return current.cert;
    },
    get key() {
      return current.key;
    },
    get ca() {
      return current.ca;
    },
    get expiresAtMs() {
      return current.expiresAtMs;
    },
    onReload(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    reload,
    [Symbol.dispose]() {
      for (const file of watched) unwatchFile(file, reload);
    },
  };
}

function readIdentity(files: IdentityFiles, nowMs: number): Loaded {
  const [cert, key, ca] = [readText(files.certFile), readText(files.keyFile), readText(files.caFile)];
  const certificate = parseCertificate(cert, files.certFile);
  parseCertificate(ca, files.caFile);
  if (!certificate.checkPrivateKey(parseKey(key, files.keyFile))) {
    throw new IdentityError(`${files.keyFile} is not the key of ${files.certFile}`);
  }
  const name = peerNameFromCertificate(certificate);
  if (name === undefined) throw new IdentityError(`${files.certFile} names no service (SAN spiffe://fujie/<name>)`);
  const expiresAtMs = certificate.validToDate.getTime();
  if (expiresAtMs <= nowMs) throw new IdentityError(`${files.certFile} has expired`);
  return { name, expiresAtMs, cert, key, ca };
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new IdentityError(`${file} cannot be read`);
  }
}

function parseCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new IdentityError(`${file} is not a certificate in PEM`);
  }
}

function parseKey(pem: string, file: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new IdentityError(`${file} is not a private key in PEM`);
  }
}
