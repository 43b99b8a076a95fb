/** Who plays in the journey, and what must be remembered of them between two runs on the same platform. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { organisationAt, personAt, type SyntheticOrganisation, type SyntheticPerson } from "@fujie/sandbox/people";
import type { Credential } from "./certificates.ts";

/** The operators and applications, bound once per platform. */
export interface Staff {
  readonly systemAdministrator: Credential;
  readonly securityAdministrator: Credential;
  readonly auditAdministrator: Credential;
  readonly counterOperator: Credential;
  readonly portal: ApplicationCredential;
  readonly housingFund: ApplicationCredential;
}

export interface ApplicationCredential {
  readonly applicationId: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface Memory {
  staff?: Staff;
  /** Journeys that were begun: each takes people of its own. */
  runs: number;
}

/** The synthetic people of the operators: the first four that the population base knows. */
export const STAFF_PEOPLE_MAX = 4;

export function remember(folder: string): { memory: Memory; save(): void } {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, "memory.json");
  const memory: Memory = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Memory) : { runs: 0 };
  const save = () => {
    writeFileSync(`${file}.new`, JSON.stringify(memory, undefined, 2), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  return { memory, save };
}

export function staffPerson(index: number): SyntheticPerson {
  return nthMatch(personAt, index);
}

export interface Players {
  readonly organisation: SyntheticOrganisation;
  readonly legalRepresentative: SyntheticPerson;
  readonly administrator: SyntheticPerson;
  readonly clerk: SyntheticPerson;
}

/** The players of one run: an organisation whose representative is known, and two people of nobody else's. */
export function castPlayers(run: number): Players {
  const taken = new Set(Array.from({ length: STAFF_PEOPLE_MAX }, (_, index) => staffPerson(index).citizenId));
  const people = new Map<string, SyntheticPerson>();
  for (let index = 0; index < 10_000; index += 1) people.set(personAt(index).citizenId, personAt(index));
  const represented = (organisation: SyntheticOrganisation) => {
    const person = people.get(organisation.legalRepresentativeCitizenId);
    return organisation.outcome === "match" && person?.outcome === "match" && !taken.has(person.citizenId);
  };
  const organisations: SyntheticOrganisation[] = [];
  const representatives = new Set<string>();
  for (let index = 0; index < 2_000 && organisations.length <= run; index += 1) {
    const organisation = organisationAt(index);
    if (!represented(organisation) || representatives.has(organisation.legalRepresentativeCitizenId)) continue;
    representatives.add(organisation.legalRepresentativeCitizenId);
    organisations.push(organisation);
  }
  const organisation = organisations[run];
  const legalRepresentative = people.get(organisation?.legalRepresentativeCitizenId ?? "");
  if (organisation === undefined || legalRepresentative === undefined) {
    throw new RangeError("the sandbox has no organisation left: delete the data folder to begin anew");
  }
  // From the far end of the population, so that no representative of an organisation is among them.
  const free = [...people.values()]
    .reverse()
    .filter(
      (person) => person.outcome === "match" && !isRepresentative(person.citizenId) && !taken.has(person.citizenId),
    );
  const [administrator, clerk] = free.slice(run * 2, run * 2 + 2);
  if (administrator === undefined || clerk === undefined) throw new RangeError("the sandbox has no person left");
  return { organisation, legalRepresentative, administrator, clerk };
}

let representativesOfAll: Set<string> | undefined;
function isRepresentative(citizenId: string): boolean {
  representativesOfAll ??= new Set(
    Array.from({ length: 2_000 }, (_, index) => organisationAt(index).legalRepresentativeCitizenId),
  );
  return representativesOfAll.has(citizenId);
}

function nthMatch(at: (index: number) => SyntheticPerson, n: number): SyntheticPerson {
  let found = -1;
  for (let index = 0; ; index += 1) {
    const person = at(index);
    if (person.outcome === "match") found += 1;
    if (found === n) return person;
  }
}
