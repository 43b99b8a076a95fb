export interface Consent {
  readonly grantId: string;
  readonly accountId: string;
  readonly applicationId: string;
  readonly purpose: string;
  readonly claimType: string;
  readonly grantedAt: Date;
  readonly expireAt: Date;
  readonly withdrawnAt: Date | null;
}
