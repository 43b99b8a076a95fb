import { NAMED_PEOPLE } from "./outcomes.ts";

/** Citizen ids of wards with their guardian's: who may apply and consent for whom (NI-15). */
const GUARDIANS: ReadonlyMap<string, string> = new Map([
  [NAMED_PEOPLE["minor-under-14"].person.citizenId, NAMED_PEOPLE.match.person.citizenId],
  // Of age and without capacity.
  [NAMED_PEOPLE["name-variant"].person.citizenId, NAMED_PEOPLE.match.person.citizenId],
]);

/** The guardian of whoever has this number, as the base has it registered. */
export function guardianOf(wardCitizenId: string): string | undefined {
  return GUARDIANS.get(wardCitizenId);
}
