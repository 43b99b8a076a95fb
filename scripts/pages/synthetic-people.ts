// docs/synthetic-people.md: whom to ask about in the sandbox, by what the sources answer.
import { NAMED_ORGANISATIONS, NAMED_PEOPLE } from "../../sandbox/src/people/index.ts";

export function renderSyntheticPeople(): string {
  return [
    "# Synthetic people and organisations, by outcome",
    "",
    "None is real: districts ending in 99 and the organisation-code zone PDY00001–PDY99999 are given to nobody. Production refuses them. The sandbox knows 10,000 people and 2,000 organisations more.",
    "",
    "| outcome | citizen id | name | meaning | 含义 |",
    "|---|---|---|---|---|",
    ...Object.entries(NAMED_PEOPLE).map(
      ([outcome, { person, meaning }]) =>
        `| ${outcome} | \`${person.citizenId}\` | ${person.name} | ${meaning.en} | ${meaning.zh} |`,
    ),
    "",
    "| outcome | USCC | name | meaning | 含义 |",
    "|---|---|---|---|---|",
    ...Object.entries(NAMED_ORGANISATIONS).map(
      ([outcome, { organisation, meaning }]) =>
        `| ${outcome} | \`${organisation.uscc}\` | ${organisation.name} | ${meaning.en} | ${meaning.zh} |`,
    ),
    "",
  ].join("\n");
}
