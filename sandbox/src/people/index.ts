/** Synthetic people and organisations, the same for ever for one seed, none of whom can be anybody real. */
export { faceImageOf, LIKENESS_GOOD, similarityTo } from "./face.ts";
export { guardianOf } from "./guardian.ts";
export { lookupOrganisation, lookupPerson, NO_RECORDS, RECORDS, type Records } from "./lookup.ts";
export {
  ORGANISATIONS_COUNT_DEFAULT,
  ORGANISATIONS_COUNT_MAX,
  type OrganisationOutcome,
  type OrganisationsOptions,
  organisationAt,
  type SyntheticOrganisation,
  syntheticOrganisations,
} from "./organisation.ts";
export { NAMED_ORGANISATIONS, NAMED_PEOPLE, type NamedOrganisation, type NamedPerson } from "./outcomes.ts";
export {
  type IdentityDocument,
  PEOPLE_COUNT_DEFAULT,
  PEOPLE_COUNT_MAX,
  type PeopleOptions,
  type PersonOutcome,
  personAt,
  SANDBOX_SEED,
  type SyntheticPerson,
  syntheticPeople,
} from "./person.ts";
