import type { ClaimElements } from "@fujie/identity";

export type ClaimTypeName = ClaimElements["type"];

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
] as const;

export type MutableField = (typeof MUTABLE_FIELDS)[number];

export type MutableValues = Pick<
  Application,
  "providerName" | "name" | "redirectUris" | "scopes" | "purposes" | "rateLimitPerSecond"
>;
