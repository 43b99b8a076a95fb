/** The registry's policy as the gateway asks it. Pure. */
import type { PutPolicyRequest } from "@fujie/api/fujie/trust/v1/policy";
import { DomainError } from "@fujie/kit/errors";
import { type ClaimTypeName, claimTypeName } from "../claims/rules.ts";

export interface PurposeRules {
  readonly claimTypes: ReadonlySet<ClaimTypeName>;
  readonly legalBases: ReadonlySet<string>;
}

export interface ApplicationRules {
  readonly enabled: boolean;
  readonly purposes: ReadonlyMap<string, PurposeRules>;
  /** Verifications per second; 0: the platform's default. */
  readonly ratePerSecond: number;
}

export interface Policy {
  readonly version: number;
  readonly applications: ReadonlyMap<string, ApplicationRules>;
  readonly enabledSources: ReadonlySet<string>;
  readonly withdrawnGrants: ReadonlySet<string>;
}

export function readPolicy(request: PutPolicyRequest): Policy {
  return {
    version: Number(request.version),
    applications: new Map(
      request.applications.map(({ applicationId, enabled, purposes, rateLimitPerSecond }) => [
        applicationId,
        {
          enabled,
          ratePerSecond: rateLimitPerSecond,
          purposes: new Map(
            purposes.map(({ purpose, claimTypes, legalBases }) => [
              purpose,
              {
                claimTypes: new Set(claimTypes.map(claimTypeName).filter((name) => name !== undefined)),
                legalBases: new Set(legalBases),
              },
            ]),
          ),
        },
      ]),
    ),
    enabledSources: new Set(request.sources.filter(({ enabled }) => enabled).map(({ sourceId }) => sourceId)),
    withdrawnGrants: new Set(request.withdrawnGrantIds),
  };
}

/** After this long without renewal nothing is answered any more: fail closed. */
export const STALE_AFTER_MS = 30_000;

export function isStale(renewedAtMs: number, nowMs: number): boolean {
  return nowMs - renewedAtMs > STALE_AFTER_MS;
}

/**
 * Whether the application may ask for this, and at which pace.
 * Throws APPLICATION_SUSPENDED (an unknown one too) and PURPOSE_NOT_REGISTERED.
 */
export function requirePurpose(
  policy: Policy,
  ask: { readonly applicationId: string; readonly purpose: string; readonly claimType: ClaimTypeName },
): { readonly application: ApplicationRules; readonly purpose: PurposeRules } {
  const application = policy.applications.get(ask.applicationId);
  if (application?.enabled !== true) throw new DomainError("APPLICATION_SUSPENDED");
  const purpose = application.purposes.get(ask.purpose);
  if (purpose?.claimTypes.has(ask.claimType) !== true) throw new DomainError("PURPOSE_NOT_REGISTERED");
  return { application, purpose };
}

/** Throws CONSENT_REQUIRED unless the legal basis is registered for application and purpose. */
export function requireLegalBasis({ legalBases }: PurposeRules, code: string): void {
  if (!legalBases.has(code)) throw new DomainError("CONSENT_REQUIRED");
}
