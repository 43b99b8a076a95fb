import { randomBytes } from "node:crypto";

/** Whose credential a code lets bind: a person's account, or an application's client. */
export interface EnrolmentHolder {
  readonly kind: "account" | "client";
  readonly id: string;
}

const LIFETIME_MS = { account: 15 * 60_000, client: 24 * 60 * 60_000 } as const;

/** 160 random bits in base64url, 27 characters. */
export function generateEnrolmentCode(): string {
  return randomBytes(20).toString("base64url");
}

/** A person takes the code on the spot; an application's owner may need the day. */
export function enrolmentExpiry(kind: EnrolmentHolder["kind"], nowMs: number): Date {
  return new Date(nowMs + LIFETIME_MS[kind]);
}

/** What of a code is digested. A code itself is never stored. */
export function enrolmentDigestInput(code: string): string {
  return `enrolment-code:${code}`;
}
