/** Which scopes there are and who may carry them (docs/design.md, Scopes). */

/** The one API that access tokens are for. */
export const API = "urn:fujie:api";

/** Scopes of OpenID Connect itself; they are no rights at the API. */
export const openidScopes = ["openid", "offline_access"] as const;

export const personScopes = [
  "account.read",
  "account.write",
  "organisation.register",
  "organisation.read",
  "delegation.read",
  "delegation.write",
  "consent.read",
  "consent.write",
] as const;

export const operatorScopes = [
  "registry.applications.write",
  "registry.operators.propose",
  "registry.operators.approve",
  "registry.operators.read",
  "registry.accounts.read",
  "registry.accounts.suspend",
  "registry.counter",
  "registry.archive.read",
  "registry.sources.write",
  "registry.sources.approve",
  "registry.sources.suspend",
  "registry.policies.propose",
  "registry.policies.approve",
  "registry.blocks.write",
  "trust.sources.read",
  "registry.disclose",
  "audit.read",
  "audit.hold",
  "audit.incidents",
  "audit.calendar",
  "audit.cases.propose",
  "audit.cases.approve",
] as const;

export const applicationScopes = ["trust.verify", "application.read", "registry.registrations.write"] as const;

/** The scopes that somebody of that kind may carry at most. */
export const scopesOfKind: Readonly<Record<"person" | "operator" | "application", readonly string[]>> = {
  person: personScopes,
  operator: operatorScopes,
  application: applicationScopes,
};

/** What is in both, in the order of the first. */
export function intersect(wanted: Iterable<string>, allowed: Iterable<string>): readonly string[] {
  const set = new Set(allowed);
  return [...new Set(wanted)].filter((scope) => set.has(scope));
}
