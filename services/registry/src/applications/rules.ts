import { fieldError } from "@fujie/kit/errors";
import type { Application, MutableField, MutableValues } from "./application.ts";

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
  "registry.accounts.suspend",
  "registry.archive.read",
  "registry.counter",
  "registry.sources.write",
  "registry.sources.approve",
  "registry.sources.suspend",
  "registry.policies.propose",
  "registry.policies.approve",
  "registry.blocks.write",
  "trust.sources.read",
  "audit.read",
  "audit.hold",
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

/** The values that an update may leave out, as it sends them. */
export interface UpdateValues extends Omit<MutableValues, "providerName" | "name"> {
  readonly providerName: string | undefined;
  readonly name: string | undefined;
}

/**
 * What an application is after an update: of the fields that the mask names the new values, of the others the old.
 * Throws FIELD_INVALID naming a field that is to be cleared and cannot be.
 */
export function applyUpdate(before: Application, fields: ReadonlySet<MutableField>, wish: UpdateValues): Application {
  return {
    ...before,
    ...(fields.has("provider_name") && { providerName: requirePresent("provider_name", wish.providerName) }),
    ...(fields.has("name") && { name: requirePresent("name", wish.name) }),
    ...(fields.has("redirect_uris") && { redirectUris: wish.redirectUris }),
    ...(fields.has("scopes") && { scopes: wish.scopes }),
    ...(fields.has("purposes") && { purposes: wish.purposes }),
    ...(fields.has("rate_limit_per_second") && { rateLimitPerSecond: wish.rateLimitPerSecond }),
    ...(fields.has("daily_limit") && { dailyLimit: wish.dailyLimit }),
    ...(fields.has("weight") && { weight: wish.weight }),
  };
}

function requirePresent(field: MutableField, value: string | undefined): string {
  if (value === undefined) throw fieldError("FIELD_INVALID", field, "cannot be cleared");
  return value;
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
