import { ageOn, type IsoDate } from "./date.ts";

/**
 * Whose consent a minor's application needs (NI-15): under 14 the guardian consents and applies; from 14 to 17 the
 * minor acts under guardianship; from the eighteenth birthday on nobody else is needed.
 */
export type Guardianship = "guardian-applies" | "under-guardianship" | "none";

/** The guardianship on a day. Throws RangeError when a date does not exist or the day is before birth. */
export function guardianshipOn(birthDate: IsoDate, on: IsoDate): Guardianship {
  const age = ageOn(birthDate, on);
  if (age < 0) throw new RangeError("the day must not be before birth");
  if (age < 14) return "guardian-applies";
  return age < 18 ? "under-guardianship" : "none";
}

/** True until the day before the fourteenth birthday (NI-15). */
export function isUnderFourteen(birthDate: IsoDate, on: IsoDate): boolean {
  return guardianshipOn(birthDate, on) === "guardian-applies";
}

/** True until the day before the eighteenth birthday (NI-15). */
export function isUnderGuardianship(birthDate: IsoDate, on: IsoDate): boolean {
  return guardianshipOn(birthDate, on) !== "none";
}
