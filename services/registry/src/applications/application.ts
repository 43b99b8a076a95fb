import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";

export type ClaimTypeName = ClaimElements["type"];

export function isClaimTypeName(name: string | undefined): name is ClaimTypeName {
  return name !== undefined && name !== "UNSPECIFIED" && Object.hasOwn(ClaimType, name);
}

export interface Purpose {
  readonly purpose: string;
  readonly claimTypes: readonly ClaimTypeName[];
  readonly legalBases: readonly string[];
}

export interface Application {
  readonly applicationId: string;
  readonly clientId: string;
  readonly providerName: string;
  readonly name: string;
  readonly kind: "CONFIDENTIAL" | "NATIVE";
  readonly redirectUris: readonly string[];
  readonly scopes: readonly string[];
  readonly sector: string;
  readonly purposes: readonly Purpose[];
  /** 0: the platform's default. */
  readonly rateLimitPerSecond: number;
  /** Verifications per day (UTC); 0: no limit. */
  readonly dailyLimit: number;
  /** Its share where a source is the limit, relative to others; 0: 1. */
  readonly weight: number;
  readonly enabled: boolean;
  /** Raised by every change; callers see it as the etag. */
  readonly revision: number;
}

/** What an update may change, by the field's name in the contract. */
export const MUTABLE_FIELDS = [
  "provider_name",
  "name",
  "redirect_uris",
  "scopes",
  "purposes",
  "rate_limit_per_second",
  "daily_limit",
  "weight",
] as const;

export type MutableField = (typeof MUTABLE_FIELDS)[number];

export type MutableValues = Pick<
  Application,
  "providerName" | "name" | "redirectUris" | "scopes" | "purposes" | "rateLimitPerSecond" | "dailyLimit" | "weight"
>;
