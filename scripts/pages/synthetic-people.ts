// docs/synthetic-people.md: whom to ask about in the sandbox, by what the sources answer.
import { guardianOf, NAMED_ORGANISATIONS, NAMED_PEOPLE, type NamedPerson } from "../../sandbox/src/people/index.ts";

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
    "What else the sources know of them. The face of each is drawn by `faceImageOf(citizenId, likeness)` of `@fujie/sandbox/people`; a minor has no picture on file.",
    "",
    "| outcome | mobile number | bank card | document valid until | guardian |",
    "|---|---|---|---|---|",
    ...Object.entries(NAMED_PEOPLE).map(([outcome, { person }]) => `| ${outcome} | ${renderRecords(person)} |`),
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

function renderRecords({ citizenId, phone, bankCard, document }: NamedPerson["person"]): string {
  const until = document.validUntil.toUpperCase();
  const state = document.status === "valid" ? until : `${until} (${document.status})`;
  const guardian = guardianOf(citizenId);
  return [`\`${phone}\``, `\`${bankCard}\``, state, guardian === undefined ? "" : `\`${guardian}\``].join(" | ");
}
