/** NI-12: the identity behind a number is told against an approved case about this very account, by a third person. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AssistanceCase, CaseScope, CaseState } from "@fujie/api/fujie/audit/v1/cases";
import { DomainError } from "@fujie/kit/errors";

/**
 * Throws unless the case lets that operator disclose who the account is, now: CASE_NOT_APPROVED, CASE_EXPIRED,
 * CASE_SUBJECT_REFUSED, CASE_SCOPE_REFUSED, FOUR_EYES_REQUIRED. The case's own time is checked again by this clock.
 */
export function requireDisclosable(
  assistance: AssistanceCase,
  accountId: string,
  operatorId: string,
  nowMs: number,
): void {
  const { state, expireTime } = assistance;
  const isOver = expireTime === undefined || timestampMs(expireTime) <= nowMs;
  if (state === CaseState.EXPIRED || (state === CaseState.APPROVED && isOver)) throw new DomainError("CASE_EXPIRED");
  if (state !== CaseState.APPROVED) throw new DomainError("CASE_NOT_APPROVED");
  if (assistance.accountId !== accountId) throw new DomainError("CASE_SUBJECT_REFUSED");
  if (!assistance.scopes.includes(CaseScope.IDENTITY_BEHIND_NUMBER)) throw new DomainError("CASE_SCOPE_REFUSED");
  if (assistance.openedBy === operatorId || assistance.decidedBy === operatorId)
    throw new DomainError("FOUR_EYES_REQUIRED");
}
