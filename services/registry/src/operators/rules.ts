import { fieldError } from "@fujie/kit/errors";

export const operatorRoles = [
  "SYSTEM_ADMINISTRATOR",
  "SECURITY_ADMINISTRATOR",
  "AUDIT_ADMINISTRATOR",
  "COUNTER_OPERATOR",
] as const;
export type OperatorRoleName = (typeof operatorRoles)[number];

/** What each role may do (docs/design.md). No role may both propose and approve, nor act and audit (SU-8.1.2). */
const SCOPES: Readonly<Record<OperatorRoleName, readonly string[]>> = {
  SYSTEM_ADMINISTRATOR: [
    "registry.applications.write",
    "registry.operators.propose",
    "registry.operators.read",
    "registry.accounts.read",
    "registry.sources.write",
    "registry.sources.suspend",
    "registry.policies.propose",
    "registry.disclose",
    "trust.sources.read",
  ],
  SECURITY_ADMINISTRATOR: [
    "registry.operators.approve",
    "registry.operators.read",
    "registry.accounts.suspend",
    "registry.sources.approve",
    "registry.sources.suspend",
    "registry.policies.approve",
    "registry.blocks.write",
    "trust.sources.read",
    "audit.calendar",
    "audit.cases.approve",
  ],
  AUDIT_ADMINISTRATOR: [
    "registry.archive.read",
    "audit.read",
    "audit.hold",
    "audit.incidents",
    "audit.calendar",
    "audit.cases.propose",
  ],
  COUNTER_OPERATOR: ["registry.counter", "registry.archive.read"],
};

/** The scopes that an operator's token may carry now: none once the rights have lapsed. */
export function operatorScopes(
  operator: { readonly role: OperatorRoleName; readonly reviewedUntil: Date },
  now: Date,
): readonly string[] {
  return operator.reviewedUntil > now ? SCOPES[operator.role] : [];
}

/**
 * Until when rights last that are given or reviewed now: a review's period, and never beyond a vendor's engagement
 * (SU-7.3.2, SU-8.3).
 */
export function reviewedUntil(nowMs: number, reviewMs: number, engagementEnd: Date | null): Date {
  return new Date(Math.min(nowMs + reviewMs, engagementEnd?.getTime() ?? Number.POSITIVE_INFINITY));
}

/** The longest engagement of a vendor that one proposal covers. */
const ENGAGEMENT_MS_MAX = 366 * 24 * 60 * 60_000;

/** Throws FIELD_INVALID for an engagement that has ended, or lasts longer than a year. */
export function checkEngagement(end: Date | null, nowMs: number): void {
  if (end === null) return;
  const lastsMs = end.getTime() - nowMs;
  if (!(lastsMs > 0 && lastsMs <= ENGAGEMENT_MS_MAX))
    throw fieldError("FIELD_INVALID", "engagement_end", "is not within a year from now");
}

/** The bytes that a proposed person signs. */
export function proposalMessage(requestId: string, role: OperatorRoleName): Uint8Array {
  return Buffer.from(`fujie-operator-proposal-v1\n${requestId}\n${role}\n`);
}
