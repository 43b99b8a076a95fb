export type ClaimTypeName = "PERSON_TWO_ELEMENT" | "LEGAL_PERSON" | "LEGAL_REPRESENTATIVE";

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
}
