/** The registry's policy as the gateway asks it. Pure. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ApplicationPolicy, PutPolicyRequest, SourcePolicy } from "@fujie/api/fujie/trust/v1/policy";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { type ClaimTypeName, claimTypeName } from "../claims/rules.ts";
import { type ClaimPolicies, readClaimPolicies } from "../plan/policies.ts";
import type { SourceTerms } from "../sources/quota.ts";
import type { MaintenanceWindow } from "../sources/source.ts";
import { type Blocks, readBlocks } from "./blocks.ts";

export interface PurposeRules {
  readonly claimTypes: ReadonlySet<ClaimTypeName>;
  readonly legalBases: ReadonlySet<string>;
}

export interface ApplicationRules {
  readonly enabled: boolean;
  readonly purposes: ReadonlyMap<string, PurposeRules>;
  /** Verifications per second; 0: the platform's default. */
  readonly ratePerSecond: number;
  /** Verifications per day (UTC); 0: no limit. */
  readonly dailyLimit: number;
  /** Its share where a source is the limit, relative to others; at least 1. */
  readonly weight: number;
}

export interface SourceRules {
  readonly enabled: boolean;
  /** Calls per second and per day (UTC) that the source grants; 0: no limit of ours. */
  readonly ratePerSecond: number;
  readonly dailyLimit: number;
  /** Planned maintenance, soonest first. */
  readonly maintenance: readonly MaintenanceWindow[];
}

/** 0: the gateway's setting. */
export interface PolicyCaps {
  readonly perIdentifierPerDay: number;
  readonly perNetworkPerMinute: number;
}

export interface Policy {
  readonly version: number;
  readonly applications: ReadonlyMap<string, ApplicationRules>;
  /** By id; one that is not there is not asked. */
  readonly sources: ReadonlyMap<string, SourceRules>;
  readonly enabledSources: ReadonlySet<string>;
  readonly withdrawnGrants: ReadonlySet<string>;
  readonly blocks: Blocks;
  readonly caps: PolicyCaps;
  readonly claimPolicies: ClaimPolicies;
}

/** Reads a policy. Throws FIELD_INVALID naming the field; then whichever is in force stays. */
export function readPolicy(request: PutPolicyRequest): Policy {
  const { version, applications, sources, withdrawnGrantIds, claimPolicies, blockRules, caps } = request;
  requireDistinct(
    "applications",
    applications.map(({ applicationId }) => applicationId),
  );
  requireDistinct(
    "sources",
    sources.map(({ sourceId }) => sourceId),
  );
  return {
    version: Number(version),
    applications: new Map(applications.map((each) => [each.applicationId, readApplication(each)])),
    sources: new Map(sources.map((each, i) => [each.sourceId, readSource(each, `sources[${i}]`)])),
    enabledSources: new Set(sources.filter(({ enabled }) => enabled).map(({ sourceId }) => sourceId)),
    withdrawnGrants: new Set(withdrawnGrantIds),
    blocks: readBlocks(blockRules),
    caps: {
      perIdentifierPerDay: caps?.perIdentifierPerDay ?? 0,
      perNetworkPerMinute: caps?.perNetworkPerMinute ?? 0,
    },
    claimPolicies: readClaimPolicies(claimPolicies),
  };
}

function readApplication(policy: ApplicationPolicy): ApplicationRules {
  const { enabled, purposes, rateLimitPerSecond, dailyLimit, weight } = policy;
  return {
    enabled,
    ratePerSecond: rateLimitPerSecond,
    dailyLimit,
    weight: Math.max(1, weight),
    purposes: new Map(
      purposes.map(({ purpose, claimTypes, legalBases }) => [
        purpose,
        {
          claimTypes: new Set(claimTypes.map(claimTypeName).filter((name) => name !== undefined)),
          legalBases: new Set(legalBases),
        },
      ]),
    ),
  };
}

function readSource({ enabled, rateLimitPerSecond, dailyLimit, maintenance }: SourcePolicy, field: string) {
  const windows = maintenance.map(({ startTime, endTime }, i) => {
    const startMs = startTime === undefined ? Number.NaN : timestampMs(startTime);
    const endMs = endTime === undefined ? Number.NaN : timestampMs(endTime);
    if (!(startMs < endMs))
      throw fieldError("FIELD_INVALID", `${field}.maintenance[${i}]`, "does not end after it starts");
    return { startMs, endMs };
  });
  const soonestFirst = windows.toSorted((a, b) => a.startMs - b.startMs);
  return { enabled, ratePerSecond: rateLimitPerSecond, dailyLimit, maintenance: soonestFirst };
}

function requireDistinct(field: string, ids: readonly string[]): void {
  const seen = new Set<string>();
  for (const [i, id] of ids.entries()) {
    if (id === "" || seen.has(id)) throw fieldError("FIELD_INVALID", `${field}[${i}]`, "has no id, or another's");
    seen.add(id);
  }
}

/** On which terms a source may be asked now; undefined: it may not. */
export function sourceTerms({ sources }: Policy, sourceId: string): SourceTerms | undefined {
  const rules = sources.get(sourceId);
  return rules?.enabled === true ? { ratePerSecond: rules.ratePerSecond, perDay: rules.dailyLimit } : undefined;
}

/** The caps that hold: the policy's, or the gateway's settings where it has none. */
export function capsUnder<Settings extends PolicyCaps>(caps: Settings, policy: PolicyCaps): Settings {
  return {
    ...caps,
    perIdentifierPerDay: policy.perIdentifierPerDay || caps.perIdentifierPerDay,
    perNetworkPerMinute: policy.perNetworkPerMinute || caps.perNetworkPerMinute,
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
  const application = requireApplication(policy, ask.applicationId);
  const purpose = application.purposes.get(ask.purpose);
  if (purpose?.claimTypes.has(ask.claimType) !== true) throw new DomainError("PURPOSE_NOT_REGISTERED");
  return { application, purpose };
}

/** Throws APPLICATION_SUSPENDED unless the application is registered and enabled. */
export function requireApplication(policy: Policy, applicationId: string): ApplicationRules {
  const application = policy.applications.get(applicationId);
  if (application?.enabled !== true) throw new DomainError("APPLICATION_SUSPENDED");
  return application;
}

/** Throws CONSENT_REQUIRED unless the legal basis is registered for application and purpose. */
export function requireLegalBasis({ legalBases }: PurposeRules, code: string): void {
  if (!legalBases.has(code)) throw new DomainError("CONSENT_REQUIRED");
}
