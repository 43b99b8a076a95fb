/** What the registry's answer allows a token to say. */
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import type { GetOperatorResponse, GetSubjectResponse } from "@fujie/api/fujie/registry/v1/directory";
import type { Reason } from "@fujie/kit/errors";
import type { OrganisationRole } from "@fujie/kit/tokens";
import { operatorScopes, personScopes } from "../openid/scopes.ts";

/** What a token about somebody may say now. */
export interface Standing {
  readonly kind: "person" | "operator";
  /** 1 to 3; 0 for an operator. */
  readonly level: number;
  readonly scopes: readonly string[];
  readonly organisation?: { readonly id: string; readonly role: OrganisationRole };
}

export type Judged =
  | { readonly ok: true; readonly standing: Standing }
  | { readonly ok: false; readonly reason: Reason };

const roles: Readonly<Partial<Record<Role, OrganisationRole>>> = {
  [Role.LEGAL_REPRESENTATIVE]: "LEGAL_REPRESENTATIVE",
  [Role.ADMINISTRATOR]: "ADMINISTRATOR",
  [Role.CLERK]: "CLERK",
};

/**
 * A person's standing. Only ACTIVE and PENDING accounts get tokens; a pending one is not real-name yet and stays at
 * level 1 (SU-7.1.1c), whatever the registry may say of its level.
 */
export function judgePerson(answer: GetSubjectResponse, organisationId: string | undefined): Judged {
  const level = levelOf(answer);
  if (level === undefined) return { ok: false, reason: "ACCOUNT_STATE_INVALID" };
  const base: Standing = { kind: "person", level, scopes: personScopes };
  if (organisationId === undefined) return { ok: true, standing: base };
  const role = roles[answer.role];
  if (role === undefined) return { ok: false, reason: "ROLE_FORBIDDEN" };
  return { ok: true, standing: { ...base, organisation: { id: organisationId, role } } };
}

function levelOf({ state, level }: GetSubjectResponse): number | undefined {
  if (state === AccountState.PENDING) return 1;
  const known = level === 1 || level === 2 || level === 3;
  return state === AccountState.ACTIVE && known ? level : undefined;
}

/** An operator's standing: the scopes of the role, and none once the rights have lapsed (ADR on reviewed rights). */
export function judgeOperator(answer: GetOperatorResponse, nowMs: number): Judged {
  const lapsed = answer.reviewedUntil === undefined || Number(answer.reviewedUntil.seconds) * 1000 <= nowMs;
  const scopes = lapsed ? [] : answer.scopes.filter((scope) => operatorScopes.some((known) => known === scope));
  return { ok: true, standing: { kind: "operator", level: 0, scopes } };
}
