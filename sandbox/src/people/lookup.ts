import { type SyntheticOrganisation, syntheticOrganisations } from "./organisation.ts";
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "./outcomes.ts";
import { type SyntheticPerson, syntheticPeople } from "./person.ts";

let people: ReadonlyMap<string, SyntheticPerson> | undefined;
let organisations: ReadonlyMap<string, SyntheticOrganisation> | undefined;

/**
 * The named or default synthetic person with this canonical number, or undefined. The maps are built at first use, so
 * that a program which only imports this pays nothing. A person with the outcome `no-record` is found too: the source
 * decides what to answer.
 */
export function lookupPerson(citizenId: string): SyntheticPerson | undefined {
  people ??= new Map([...allPeople()].map((person) => [person.citizenId, person]));
  return people.get(citizenId);
}

/** The named or default synthetic organisation with this canonical code, or undefined. */
export function lookupOrganisation(uscc: string): SyntheticOrganisation | undefined {
  organisations ??= new Map([...allOrganisations()].map((organisation) => [organisation.uscc, organisation]));
  return organisations.get(uscc);
}

/** What the sources have on file. */
export type Records = {
  readonly lookupPerson: (citizenId: string) => SyntheticPerson | undefined;
  readonly lookupOrganisation: (uscc: string) => SyntheticOrganisation | undefined;
};

export const RECORDS: Records = { lookupPerson, lookupOrganisation };

/** Of a source that has lost its files. */
export const NO_RECORDS: Records = { lookupPerson: () => undefined, lookupOrganisation: () => undefined };

function* allPeople(): Generator<SyntheticPerson> {
  yield* Object.values(NAMED_PEOPLE).map((named) => named.person);
  yield* syntheticPeople();
}

function* allOrganisations(): Generator<SyntheticOrganisation> {
  yield* Object.values(NAMED_ORGANISATIONS).map((named) => named.organisation);
  yield* syntheticOrganisations();
}
