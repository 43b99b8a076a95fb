/*
 * NI-12: to authorities the platform tells the identity behind a number and the authentication log, nothing else; for
 * one account, against a legal document, after a second person agreed, for a limited time.
 *
 *   OPEN ──second person──▶ APPROVED ──30 days──▶ EXPIRED
 *     └──14 days──▶ EXPIRED      └─ or REFUSED, final
 */
import { DomainError, fieldError } from "@fujie/kit/errors";

export const caseScopes = ["IDENTITY_BEHIND_NUMBER", "AUTHENTICATION_LOG"] as const;
export type CaseScopeName = (typeof caseScopes)[number];
export type CaseStateName = "OPEN" | "APPROVED" | "REFUSED" | "EXPIRED";

const DAY_MS = 24 * 60 * 60_000;
const OPEN_FOR_MS = 14 * DAY_MS;
const APPROVED_FOR_MS = 30 * DAY_MS;
/** The longest log that one case covers. */
const PERIOD_MS_MAX = 366 * DAY_MS;

/** The types of events that are an authentication log: who signed in when, how, and where it ended. */
export const AUTHENTICATION_TYPES: ReadonlySet<string> = new Set([
  "session.started",
  "session.renewed",
  "session.ended",
  "session.refused",
  "client.allowed",
  "token.refused",
]);

export interface CaseFacts {
  readonly openedAtMs: number;
  readonly openedBy: string;
  readonly accountId: string;
  readonly scopes: readonly CaseScopeName[];
  readonly decision: { readonly approved: boolean; readonly decidedAtMs: number } | undefined;
}

/** When the case's time is over. */
export function expiryMs({ openedAtMs, decision }: CaseFacts): number {
  return decision?.approved === true ? decision.decidedAtMs + APPROVED_FOR_MS : openedAtMs + OPEN_FOR_MS;
}

export function stateAt(facts: CaseFacts, nowMs: number): CaseStateName {
  if (facts.decision?.approved === false) return "REFUSED";
  if (nowMs >= expiryMs(facts)) return "EXPIRED";
  return facts.decision === undefined ? "OPEN" : "APPROVED";
}

/** Throws unless the case may be decided by that person now: FOUR_EYES_REQUIRED, CASE_DECIDED, CASE_EXPIRED. */
export function requireDecidable(facts: CaseFacts, decidedBy: string, nowMs: number): void {
  if (facts.openedBy === decidedBy) throw new DomainError("FOUR_EYES_REQUIRED");
  if (facts.decision !== undefined) throw new DomainError("CASE_DECIDED");
  if (nowMs >= expiryMs(facts)) throw new DomainError("CASE_EXPIRED");
}

/**
 * Throws unless what is asked may be told about that account now: CASE_NOT_APPROVED, CASE_EXPIRED, CASE_SUBJECT_REFUSED,
 * CASE_SCOPE_REFUSED.
 */
export function requireTellable(facts: CaseFacts, scope: CaseScopeName, accountId: string, nowMs: number): void {
  if (facts.decision?.approved !== true) throw new DomainError("CASE_NOT_APPROVED");
  if (nowMs >= expiryMs(facts)) throw new DomainError("CASE_EXPIRED");
  if (facts.accountId !== accountId) throw new DomainError("CASE_SUBJECT_REFUSED");
  if (!facts.scopes.includes(scope)) throw new DomainError("CASE_SCOPE_REFUSED");
}

/** The one account. Throws CASE_BULK_REFUSED. */
export function oneAccount(accounts: readonly string[]): string {
  const [account, ...others] = accounts;
  if (account === undefined || others.length > 0)
    throw fieldError("CASE_BULK_REFUSED", "accounts", "names not exactly one account");
  return account;
}

export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

/** The period of the log: required where the log is asked for, and not of the future. Throws FIELD_INVALID. */
export function readPeriod(
  scopes: readonly CaseScopeName[],
  startMs: number | undefined,
  endMs: number | undefined,
  nowMs: number,
): Period | undefined {
  if (!scopes.includes("AUTHENTICATION_LOG")) return undefined;
  if (startMs === undefined || endMs === undefined || endMs <= startMs || endMs - startMs > PERIOD_MS_MAX)
    throw fieldError("FIELD_INVALID", "period_end", "is missing, not after the start, or more than a year after it");
  if (startMs > nowMs) throw fieldError("FIELD_INVALID", "period_start", "lies in the future");
  return { startMs, endMs };
}
