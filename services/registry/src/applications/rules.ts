import { fieldError } from "@fujie/kit/errors";
import type { Application } from "./application.ts";

/** Scopes of an application's own tokens (client credentials): they need a secret. */
const OWN_SCOPES: ReadonlySet<string> = new Set(["trust.verify", "application.read", "registry.registrations.write"]);
/** Scopes that people and operators may use through it; each still needs his own right to them (docs/design.md). */
const USER_SCOPES: ReadonlySet<string> = new Set([
  "openid",
  "account.read",
  "account.write",
  "organisation.register",
  "organisation.read",
  "delegation.read",
  "delegation.write",
  "consent.read",
  "consent.write",
  "registry.applications.write",
  "registry.operators.propose",
  "registry.operators.approve",
  "registry.operators.read",
  "registry.accounts.read",
  "registry.counter",
  "trust.sources.read",
  "audit.read",
]);

type Wish = Pick<Application, "kind" | "redirectUris" | "scopes" | "purposes">;

/** Throws FIELD_INVALID naming the field. `allowClearLoopback`: a sandbox's server may redirect to its own machine. */
export function requireRegistrable(wish: Wish, options: { readonly allowClearLoopback: boolean }): void {
  for (const [i, uri] of wish.redirectUris.entries()) {
    const isFine = wish.kind === "NATIVE" ? isLoopbackUri(uri) : isServerUri(uri, options.allowClearLoopback);
    if (!isFine) {
      const expected = wish.kind === "NATIVE" ? "must be loopback (RFC 8252 §7.3)" : "must be https";
      throw fieldError("FIELD_INVALID", `redirect_uris[${i}]`, expected);
    }
  }
  for (const [i, scope] of wish.scopes.entries()) {
    const isKnown = USER_SCOPES.has(scope) || (wish.kind === "CONFIDENTIAL" && OWN_SCOPES.has(scope));
    if (!isKnown) throw fieldError("FIELD_INVALID", `scopes[${i}]`, "is no scope that such an application may have");
  }
  requireDistinct("redirect_uris", wish.redirectUris);
  requireDistinct("scopes", wish.scopes);
  requireDistinct(
    "purposes",
    wish.purposes.map(({ purpose }) => purpose),
  );
}

function requireDistinct(field: string, values: readonly string[]): void {
  if (new Set(values).size !== values.length) throw fieldError("FIELD_INVALID", field, "repeats a value");
}

function isServerUri(text: string, allowClearLoopback: boolean): boolean {
  const uri = readUri(text);
  return uri?.protocol === "https:" || (allowClearLoopback && isLoopbackUri(text));
}

function isLoopbackUri(text: string): boolean {
  const uri = readUri(text);
  return uri?.protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(uri.hostname);
}

/** Undefined for what is no URL, or one that could hide where it leads: with a user, a fragment or a wildcard. */
function readUri(text: string): URL | undefined {
  const uri = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = uri !== undefined && uri.username === "" && uri.password === "" && !/[#*\\]/.test(text);
  return isPlain ? uri : undefined;
}
