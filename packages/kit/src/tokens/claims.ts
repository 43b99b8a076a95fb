/**
 * From the signed payload of an access token to a VerifiedToken: a list of named checks, each of which refuses what it
 * does not know. The claims are those of docs/design.md (RFC 9068 with Fujie's own).
 */
import { type OrganisationRole, organisationRoles, type VerifiedToken } from "./verified-token.ts";

export type Payload = Readonly<Record<string, unknown>>;

/** The name of the check that failed; the cause of a DomainError TOKEN_INVALID. Holds nothing of the token. */
export class TokenCheckError extends Error {
  override readonly name = "TokenCheckError";
}

export interface Expectations {
  readonly issuer: string;
  readonly audience: string;
  readonly nowMs: number;
}

/** How far the clocks of two machines may be apart. */
export const CLOCK_SKEW_MS = 5_000;
const LIFETIME_MAX_MS = 5 * 60_000;

/** Expiry is not judged here: it is asked of every call, on cached tokens too. */
export function readClaims(payload: Payload, raw: string, expected: Expectations): VerifiedToken {
  checkIssuer(payload, expected);
  checkAudience(payload, expected);
  const times = checkTimes(payload, expected);
  const subject = requireText(payload, "sub");
  const clientId = requireText(payload, "client_id");
  const kind = checkKind(payload);
  if (kind === "application" && subject !== clientId) fail("sub");
  return {
    subject,
    kind,
    clientId,
    application: optionalText(payload, "app"),
    scopes: checkScopes(payload),
    level: checkLevel(payload, kind),
    ...checkOrganisation(payload),
    ...checkSession(payload),
    amr: checkAmr(payload),
    ...times,
    raw,
  };
}

export function fail(check: string): never {
  throw new TokenCheckError(check);
}

function checkIssuer(payload: Payload, { issuer }: Expectations): void {
  if (payload["iss"] !== issuer) fail("iss");
}

function checkAudience(payload: Payload, { audience }: Expectations): void {
  const aud = payload["aud"];
  const named = Array.isArray(aud) ? aud : [aud];
  if (!named.includes(audience)) fail("aud");
}

function checkTimes(payload: Payload, { nowMs }: Expectations): { issuedAtMs: number; expiresAtMs: number } {
  const issuedAtMs = requireTimeMs(payload, "iat");
  const expiresAtMs = requireTimeMs(payload, "exp");
  const notBeforeMs = payload["nbf"] === undefined ? issuedAtMs : requireTimeMs(payload, "nbf");
  if (issuedAtMs > nowMs + CLOCK_SKEW_MS) fail("iat");
  if (notBeforeMs > nowMs + CLOCK_SKEW_MS) fail("nbf");
  // Both ends come from the issuer's one clock: no skew between them. A longer life would outlast the revocations.
  if (expiresAtMs <= issuedAtMs || expiresAtMs - issuedAtMs > LIFETIME_MAX_MS) fail("lifetime");
  return { issuedAtMs, expiresAtMs };
}

function checkKind(payload: Payload): VerifiedToken["kind"] {
  const kind = payload["kind"];
  if (kind === "person" || kind === "operator" || kind === "application") return kind;
  return fail("kind");
}

function checkLevel(payload: Payload, kind: VerifiedToken["kind"]): number {
  const level = payload["level"];
  if (kind !== "person") return level === undefined ? 0 : fail("level");
  if (level === 1 || level === 2 || level === 3) return level;
  return fail("level");
}

/** Scopes are separated by single spaces (RFC 6749 §3.3); a token without scopes may do nothing that needs one. */
function checkScopes(payload: Payload): ReadonlySet<string> {
  const scope = payload["scope"] ?? "";
  if (typeof scope !== "string") return fail("scope");
  return new Set(scope.split(" ").filter((name) => name !== ""));
}

function checkOrganisation(payload: Payload): Pick<VerifiedToken, "organisation" | "role"> {
  const organisation = optionalText(payload, "org");
  const role = payload["role"];
  if (organisation === undefined) return role === undefined ? {} : fail("org");
  if (!isOrganisationRole(role)) return fail("role");
  return { organisation, role };
}

function isOrganisationRole(role: unknown): role is OrganisationRole {
  return organisationRoles.some((known) => known === role);
}

function checkSession(payload: Payload): Pick<VerifiedToken, "sessionId" | "authTimeMs"> {
  const sessionId = optionalText(payload, "sid");
  return {
    ...(sessionId === undefined ? {} : { sessionId }),
    ...(payload["auth_time"] === undefined ? {} : { authTimeMs: requireTimeMs(payload, "auth_time") }),
  };
}

function checkAmr(payload: Payload): readonly string[] {
  const amr = payload["amr"] ?? [];
  if (!Array.isArray(amr)) return fail("amr");
  return amr.map((method) => (typeof method === "string" ? method : fail("amr")));
}

function requireText(payload: Payload, claim: string): string {
  return optionalText(payload, claim) ?? fail(claim);
}

function optionalText(payload: Payload, claim: string): string | undefined {
  const value = payload[claim];
  if (value === undefined || (typeof value === "string" && value !== "")) return value;
  return fail(claim);
}

/** A NumericDate (RFC 7519 §2), whole seconds. */
function requireTimeMs(payload: Payload, claim: string): number {
  const seconds = payload[claim];
  if (typeof seconds !== "number" || !Number.isSafeInteger(seconds) || seconds <= 0) return fail(claim);
  return seconds * 1000;
}
