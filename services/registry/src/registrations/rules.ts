import {
  type CitizenId,
  guardianshipOn,
  type IsoDate,
  type PersonName,
  parseCitizenId,
  parseLoginName,
  parsePersonName,
} from "@fujie/identity";
import { DomainError, fieldError } from "@fujie/kit/errors";

export type RegistrationStateName = "SUBMITTED" | "VERIFIED" | "REJECTED" | "CONFIRMED" | "EXPIRED";

export interface Applicant {
  readonly citizenId: CitizenId;
  readonly name: PersonName;
  readonly loginName: string;
}

export interface ReadingOptions {
  readonly today: IsoDate;
  /** Fictional people exist in the sandbox only. */
  readonly allowFictional: boolean;
}

const CHINA_OFFSET_MS = 8 * 60 * 60_000;

/** The day it is in China, which decides about birthdays. */
export function dayInChina(nowMs: number): IsoDate {
  return new Date(nowMs + CHINA_OFFSET_MS).toISOString().slice(0, 10);
}

/**
 * Reads what a person registers with (SZ-3.2, SZ-13.3).
 * Throws CITIZEN_ID_INVALID, NAME_INVALID, LOGIN_NAME_INVALID naming the field and the rule, never the value;
 * GUARDIAN_REQUIRED for who is under 14 (NI-15).
 */
export function readApplicant(
  input: { readonly citizenId: string; readonly name: string; readonly loginName: string },
  options: ReadingOptions,
): Applicant {
  const citizenId = readCitizenId(input.citizenId, options);
  const name = parsePersonName(input.name);
  if (!name.ok) throw fieldError("NAME_INVALID", "name", name.reason);
  const loginName = parseLoginName(input.loginName);
  if (!loginName.ok) throw fieldError("LOGIN_NAME_INVALID", "login_name", loginName.reason);
  const { birthDate } = citizenId;
  if (birthDate !== undefined && guardianshipOn(birthDate, options.today) === "guardian-applies") {
    throw new DomainError("GUARDIAN_REQUIRED");
  }
  return { citizenId, name: name.value, loginName: loginName.value };
}

/** One account for every spelling of a number: what is returned is canonical. Throws CITIZEN_ID_INVALID. */
export function readCitizenId(input: string, options: ReadingOptions): CitizenId {
  const parsed = parseCitizenId(input, options);
  if (!parsed.ok) throw fieldError("CITIZEN_ID_INVALID", "citizen_id", parsed.reason);
  return parsed.value;
}

/** Whether a registration can still be decided. */
export function isOpen(registration: { readonly state: RegistrationStateName; readonly expireAt: Date }, now: Date) {
  return (registration.state === "SUBMITTED" || registration.state === "VERIFIED") && registration.expireAt > now;
}
