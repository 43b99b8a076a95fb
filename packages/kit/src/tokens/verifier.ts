/**
 * Verifies access tokens of auth (RFC 9068). The order of the steps is the security argument:
 *
 *   size → header (alg, typ, kid, nothing that points elsewhere) → key of the issuer → signature → claims
 *        → [cached under SHA-256 of the token] → expiry → revocation
 *
 * The steps after the cache are asked on every call.
 */
import { hash } from "node:crypto";
import { compactVerify } from "jose/jws/compact/verify";
import type { Clock } from "../clock/index.ts";
import { DomainError } from "../errors/index.ts";
import { CLOCK_SKEW_MS, fail, type Payload, readClaims, TokenCheckError } from "./claims.ts";
import type { JwksSource, TokenAlgorithm, TokenKey } from "./jwks.ts";
import type { RevocationList } from "./revocation-list.ts";
import type { VerifiedToken } from "./verified-token.ts";

export interface TokenVerifier {
  /**
   * Verifies an access token; synchronous when the same token was seen before. Throws DomainError TOKEN_INVALID (the
   * cause names the check), TOKEN_EXPIRED, TOKEN_REVOKED, or DEPENDENCY_UNAVAILABLE when the issuer's keys cannot be
   * learned. Staleness of the revocations is for the pipeline to judge: only privileged methods mind it.
   */
  verify(rawToken: string): VerifiedToken | Promise<VerifiedToken>;
}

export interface TokenVerifierOptions {
  readonly issuer: string;
  /** "urn:fujie:api" */
  readonly audience: string;
  readonly jwks: JwksSource;
  readonly revocations: Pick<RevocationList, "isRevoked">;
  readonly clock: Clock;
  /** How many verified tokens are remembered; the oldest makes room. */
  readonly cacheMax: number;
}

const TOKEN_CHARACTERS_MAX = 8_192;
const KEY_ID = /^[A-Za-z0-9._~-]{1,128}$/;
/** The only header members an access token of ours has; jku, jwk, x5u, x5c, crit, b64, zip … refuse the token. */
const HEADER_MEMBERS: ReadonlySet<string> = new Set(["alg", "typ", "kid"]);
const BASE64URL = /^[A-Za-z0-9_-]+$/;

export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { issuer, audience, jwks, revocations, clock, cacheMax } = options;
  const verified = new Map<string, VerifiedToken>();

  const remember = (digest: string, token: VerifiedToken) => {
    const oldest = verified.size >= cacheMax ? verified.keys().next().value : undefined;
    if (oldest !== undefined) verified.delete(oldest);
    verified.set(digest, token);
  };

  const admit = (digest: string, token: VerifiedToken): VerifiedToken => {
    if (clock.nowMs() >= token.expiresAtMs + CLOCK_SKEW_MS) {
      verified.delete(digest);
      throw new DomainError("TOKEN_EXPIRED");
    }
    if (revocations.isRevoked(token)) throw new DomainError("TOKEN_REVOKED");
    return token;
  };

  const verifyNew = async (digest: string, raw: string): Promise<VerifiedToken> => {
    try {
      const { keyId, algorithm } = readHeader(raw);
      const key = checkKey(await jwks.find(keyId), algorithm);
      const payload = await checkSignature(raw, key);
      const token = readClaims(payload, raw, { issuer, audience, nowMs: clock.nowMs() });
      if (clock.nowMs() < token.expiresAtMs + CLOCK_SKEW_MS) remember(digest, token);
      return admit(digest, token);
    } catch (error) {
      throw error instanceof TokenCheckError ? new DomainError("TOKEN_INVALID", { cause: error }) : error;
    }
  };

  return {
    verify(raw) {
      if (raw.length > TOKEN_CHARACTERS_MAX) {
        throw new DomainError("TOKEN_INVALID", { cause: new TokenCheckError("size") });
      }
      const digest = hash("sha256", raw, "base64url");
      const known = verified.get(digest);
      return known === undefined ? verifyNew(digest, raw) : admit(digest, known);
    },
  };
}

function readHeader(raw: string): { keyId: string; algorithm: TokenAlgorithm } {
  const parts = raw.split(".");
  const encoded = parts[0];
  if (parts.length !== 3 || encoded === undefined || !parts.every((part) => BASE64URL.test(part))) fail("form");
  const header = parseObject(Buffer.from(encoded, "base64url"), "header");
  const unknown = Object.keys(header).find((member) => !HEADER_MEMBERS.has(member));
  // The name is echoed only when it is one of the standard's: a token is free to put anything there.
  if (unknown !== undefined) fail(/^(jku|jwk|kid|x5u|x5c|x5t|crit|b64|zip|cty)$/.test(unknown) ? unknown : "header");
  const algorithm = header["alg"];
  if (algorithm !== "ES256" && algorithm !== "EdDSA") return fail("alg");
  checkType(header);
  const keyId = header["kid"];
  if (typeof keyId !== "string" || !KEY_ID.test(keyId)) return fail("kid");
  return { keyId, algorithm };
}

/** RFC 9068 §4: "at+jwt", with or without the prefix, in any case. Keeps id tokens and other JWTs out. */
function checkType(header: Payload): void {
  const type = header["typ"];
  if (typeof type !== "string" || !/^(application\/)?at\+jwt$/i.test(type)) fail("typ");
}

/** The key decides the algorithm, never the token: this is what stops HS256 under a public key. */
function checkKey(key: TokenKey | undefined, algorithm: TokenAlgorithm): TokenKey {
  if (key === undefined) return fail("kid");
  return key.algorithm === algorithm ? key : fail("alg");
}

async function checkSignature(raw: string, { key, algorithm }: TokenKey): Promise<Payload> {
  const { payload } = await compactVerify(raw, key, { algorithms: [algorithm] }).catch(() => fail("signature"));
  return parseObject(payload, "payload");
}

function parseObject(bytes: Uint8Array, check: string): Payload {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return fail(check);
  }
  return isPayload(parsed) ? parsed : fail(check);
}

function isPayload(value: unknown): value is Payload {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
