import { fieldError } from "@fujie/kit/errors";

export const roleNames = ["LEGAL_REPRESENTATIVE", "ADMINISTRATOR", "CLERK"] as const;
export type RoleName = (typeof roleNames)[number];

/** Who names, and takes back, whom (SU-7.1.2b, c). The legal representative is named by the legal-person base only. */
const MAY_DECIDE_ON: Readonly<Record<RoleName, readonly RoleName[]>> = {
  LEGAL_REPRESENTATIVE: ["ADMINISTRATOR", "CLERK"],
  ADMINISTRATOR: ["CLERK"],
  CLERK: [],
};

/** Whether a holder of `own` (undefined: no role) may give or take `role`. */
export function mayDecideOn(own: RoleName | undefined, role: RoleName): boolean {
  return own !== undefined && MAY_DECIDE_ON[own].includes(role);
}

/** Whether a holder of the role sees who else has one. */
export function mayListRoles(own: RoleName | undefined): boolean {
  return own === "LEGAL_REPRESENTATIVE" || own === "ADMINISTRATOR";
}

const YEAR_MS = 365 * 24 * 60 * 60_000;
const YEARS_MAX = 5;

/** When a role ends: as asked, else in a year. Throws FIELD_INVALID when that is past or more than five years off. */
export function delegationExpiry(askedMs: number | undefined, nowMs: number): Date {
  const expireMs = askedMs ?? nowMs + YEAR_MS;
  if (expireMs <= nowMs || expireMs > nowMs + YEARS_MAX * YEAR_MS) {
    throw fieldError("FIELD_INVALID", "expire_time", "must be in the future, within five years");
  }
  return new Date(expireMs);
}
