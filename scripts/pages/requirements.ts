// docs/requirements.md: every requirement with the tests that carry its id in their names. It cannot drift from the
// tests, because it is made from them.
import { readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { findTestFiles } from "../testing/discover.ts";
import { root } from "../testing/programs.ts";

type Requirement = { id: string; section: string; text: string; owner: string; acceptance: string };

const TITLE = /\b(?:test|it)\(\s*(["'`])((?:(?!\1).)*)\1/gs;
const ID = /\b(?:SZ|SU|NI|ICP)-[A-Z]?\d+(?:\.\d+)*[a-e]?/g;

export function renderRequirements(): string {
  const requirements = JSON.parse(readFileSync(`${root}/docs/requirements.json`, "utf8")) as Requirement[];
  const tests = testsById();
  const sections = [...new Set(requirements.map(({ section }) => section))];
  const covered = requirements.filter((requirement) => testsOf(requirement, tests).size > 0).length;
  return [
    "# Requirements and their tests",
    "",
    "Made from the names of the tests by `node scripts/generate.ts`; the catalogue is `requirements.json`. A row with tests is covered to the depth that the tests name; *not yet* means that nothing claims it.",
    "",
    "The id names the source: **SZ** Shenzhen interim measures on unified identity authentication, by article; **SU** Suzhou standard DB3205/T 1129-2024, by clause; **NI** national network identity authentication public service measures; **ICP** MIIT pilot on electronic verification of ICP filing subjects. Owner: A auth, R registry, T trust-gateway, L audit, C console, O operations.",
    "",
    `${covered} of ${requirements.length} rows have tests.`,
    ...sections.flatMap((section) => [
      "",
      `## ${section}`,
      "",
      "| id | requirement | owner | acceptance | tests |",
      "|---|---|---|---|---|",
      ...requirements.filter((row) => row.section === section).map((row) => renderRow(row, tests)),
    ]),
    "",
  ].join("\n");
}

function renderRow(requirement: Requirement, tests: ReadonlyMap<string, ReadonlyMap<string, number>>): string {
  const files = [...testsOf(requirement, tests)].map(([file, count]) => `[${file}](../${file}) (${count})`);
  const { id, text, owner, acceptance } = requirement;
  return `| ${id} | ${text} | ${owner} | ${acceptance} | ${files.length === 0 ? "not yet" : files.join("<br>")} |`;
}

/** By file, how many tests name one of the requirement's ids. */
function testsOf(
  { id }: Requirement,
  tests: ReadonlyMap<string, ReadonlyMap<string, number>>,
): ReadonlyMap<string, number> {
  const files = new Map<string, number>();
  for (const each of expandIds(id)) {
    for (const [file, count] of tests.get(each) ?? []) files.set(file, (files.get(file) ?? 0) + count);
  }
  return files;
}

/** "SU-6.2.5, 6.2.6" and "ICP-9–14" name several. */
function expandIds(text: string): string[] {
  const prefix = text.slice(0, text.indexOf("-") + 1);
  return text.split(", ").flatMap((part) => {
    const id = part.startsWith(prefix) || /^[A-Z]+-/.test(part) ? part : prefix + part;
    const range = /^([A-Z]+-)(\d+)–(\d+)$/.exec(id);
    if (range === null) return [id];
    const [, kind = "", first = "", last = ""] = range;
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, offset) => `${kind}${Number(first) + offset}`);
  });
}

function testsById(): Map<string, Map<string, number>> {
  const found = new Map<string, Map<string, number>>();
  for (const path of findTestFiles(".test.ts").toSorted()) {
    const file = relative(root, resolve(root, path));
    for (const [, , title = ""] of readFileSync(resolve(root, path), "utf8").matchAll(TITLE)) {
      for (const [id] of title.matchAll(ID)) {
        const files = found.get(id) ?? new Map<string, number>();
        found.set(id, files.set(file, (files.get(file) ?? 0) + 1));
      }
    }
  }
  return found;
}
