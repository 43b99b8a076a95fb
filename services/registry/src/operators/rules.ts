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
    "trust.sources.read",
  ],
  SECURITY_ADMINISTRATOR: ["registry.operators.approve", "registry.operators.read", "trust.sources.read"],
  AUDIT_ADMINISTRATOR: ["audit.read"],
  COUNTER_OPERATOR: ["registry.counter"],
};

/** The scopes that an operator's token may carry now: none once the rights have lapsed. */
export function operatorScopes(
  operator: { readonly role: OperatorRoleName; readonly reviewedUntil: Date },
  now: Date,
): readonly string[] {
  return operator.reviewedUntil > now ? SCOPES[operator.role] : [];
}

/** The bytes that a proposed person signs. */
export function proposalMessage(requestId: string, role: OperatorRoleName): Uint8Array {
  return Buffer.from(`fujie-operator-proposal-v1\n${requestId}\n${role}\n`);
}
