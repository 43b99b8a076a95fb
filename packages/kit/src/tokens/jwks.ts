/**
 * The issuer's public keys. Only the configured address is ever asked: nothing in a token (jku, x5u) can change where
 * keys come from, and unknown key ids cannot make the service ask more than once per cool-down.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { get as httpGet } from "node:http";
import { get as httpsGet } from "node:https";
import { type Clock, systemClock } from "../clock/index.ts";
import { DomainError } from "../errors/index.ts";

export type TokenAlgorithm = "ES256" | "EdDSA";

export interface TokenKey {
  readonly keyId: string;
  readonly algorithm: TokenAlgorithm;
  readonly key: KeyObject;
}

/** Where the verifier finds the issuer's public keys. */
export interface JwksSource {
  /** The key of that id, at once when it is known, or undefined when the issuer has no such key. */
  find(keyId: string): TokenKey | undefined | Promise<TokenKey | undefined>;
}

export interface RemoteJwksOptions {
  /** PEM of the authorities to accept for the address; absent: the system's. */
  readonly ca?: string | undefined;
  readonly clock?: Clock;
  /** Gives the parsed JWKS document; replaces the fetch from the address. */
  readonly load?: () => Promise<unknown>;
}

/** Shortest time between two questions to the issuer, whatever tokens come in. */
const COOL_DOWN_MS = 10_000;
/** From this age on the keys are renewed in the background. */
const REFRESH_AFTER_MS = 5 * 60_000;
/** Beyond this age the keys are not believed any more: the issuer may have withdrawn one. */
const MAX_AGE_MS = 60 * 60_000;
const FETCH_TIMEOUT_MS = 5_000;
const DOCUMENT_BYTES_MAX = 256 * 1024;
const KEYS_MAX = 64;

/** A fixed set of keys, from a JWKS document. Throws on a document without a usable key. */
export function staticJwks(document: unknown): JwksSource {
  const keys = readJwks(document);
  return { find: (keyId) => keys.get(keyId) };
}

/**
 * Keys that are read from the issuer's address when first needed, renewed in the background, and asked for again
 * (at most every 10 s) when a token names an unknown key. `find` throws DEPENDENCY_UNAVAILABLE while there are none.
 */
export function remoteJwks(url: string, options: RemoteJwksOptions = {}): JwksSource {
  const clock = options.clock ?? systemClock;
  const load = options.load ?? (() => fetchDocument(url, options.ca));
  let keys: ReadonlyMap<string, TokenKey> = new Map();
  let loadedAtMs = Number.NEGATIVE_INFINITY;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let underWay: Promise<void> | undefined;

  const refresh = (): Promise<void> => {
    underWay ??= (async () => {
      askedAtMs = clock.nowMs();
      try {
        keys = readJwks(await load());
        loadedAtMs = clock.nowMs();
      } finally {
        underWay = undefined;
      }
    })();
    return underWay;
  };
  const mayAsk = () => underWay !== undefined || clock.nowMs() - askedAtMs >= COOL_DOWN_MS;

  const findLater = async (keyId: string): Promise<TokenKey | undefined> => {
    const believed = () => clock.nowMs() - loadedAtMs < MAX_AGE_MS;
    try {
      if (mayAsk()) await refresh();
    } catch (cause) {
      if (!believed()) throw new DomainError("DEPENDENCY_UNAVAILABLE", { cause });
    }
    if (!believed()) throw new DomainError("DEPENDENCY_UNAVAILABLE");
    return keys.get(keyId);
  };

  return {
    find(keyId) {
      const ageMs = clock.nowMs() - loadedAtMs;
      const known = keys.get(keyId);
      if (known === undefined || ageMs >= MAX_AGE_MS) return findLater(keyId);
      // The old keys still serve; a failure here is told by the next find that needs the answer.
      if (ageMs >= REFRESH_AFTER_MS && mayAsk()) refresh().catch(() => undefined);
      return known;
    },
  };
}

/** Reads the usable keys of a JWKS document (RFC 7517 §5): public, for signatures, ES256 or EdDSA, with a key id. */
function readJwks(document: unknown): ReadonlyMap<string, TokenKey> {
  const listed = isRecord(document) ? document["keys"] : undefined;
  if (!Array.isArray(listed) || listed.length > KEYS_MAX) throw new TypeError("not a JWKS document");
  const keys = new Map<string, TokenKey>();
  for (const entry of listed) {
    const key = isRecord(entry) ? readJwk(entry) : undefined;
    if (key === undefined) continue;
    if (keys.has(key.keyId)) throw new TypeError("the JWKS document repeats a key id");
    keys.set(key.keyId, key);
  }
  if (keys.size === 0) throw new TypeError("the JWKS document holds no usable key");
  return keys;
}

function readJwk(jwk: Record<string, unknown>): TokenKey | undefined {
  const algorithm = algorithmOf(jwk);
  const keyId = jwk["kid"];
  const foreignUse = jwk["use"] !== undefined && jwk["use"] !== "sig";
  if (algorithm === undefined || typeof keyId !== "string" || keyId === "" || foreignUse) return undefined;
  if (jwk["alg"] !== undefined && jwk["alg"] !== algorithm) return undefined;
  if (jwk["d"] !== undefined) throw new TypeError("the JWKS document holds a private key");
  return { keyId, algorithm, key: createPublicKey({ key: jwk, format: "jwk" }) };
}

function algorithmOf(jwk: Record<string, unknown>): TokenAlgorithm | undefined {
  if (jwk["kty"] === "EC" && jwk["crv"] === "P-256") return "ES256";
  if (jwk["kty"] === "OKP" && jwk["crv"] === "Ed25519") return "EdDSA";
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** GET without redirects, bounded in size and time. */
async function fetchDocument(url: string, ca: string | undefined): Promise<unknown> {
  const { protocol } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const options = { headers: { accept: "application/json" }, signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) };
  const request =
    protocol === "https:" ? httpsGet(url, { ...options, ...(ca === undefined ? {} : { ca }) }) : httpGet(url, options);
  request.on("error", reject);
  request.on("response", (response) => {
    if (response.statusCode !== 200) {
      request.destroy(new Error(`the JWKS address answered ${response.statusCode}`));
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("error", reject);
    response.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > DOCUMENT_BYTES_MAX) request.destroy(new Error("the JWKS document is too large"));
      else chunks.push(chunk);
    });
    response.on("end", () => resolve(Buffer.concat(chunks)));
  });
  return JSON.parse((await promise).toString("utf8"));
}
