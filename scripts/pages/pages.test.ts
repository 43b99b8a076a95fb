// Pages written by hand say nothing of the code that is not so.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../testing/programs.ts";

const read = (file: string) => readFileSync(join(root, file), "utf8");

test("every test that the threat model names is in the file that it names", () => {
  const named = [...read("docs/threat-model.md").matchAll(/\]\(\.\.\/([^)]+\.test\.ts)\) "([^"]+)"/g)];
  assert.ok(named.length > 50);
  const absent = named.filter(([, file = "", title = ""]) => !read(file).includes(title));
  assert.deepEqual(
    absent.map(([, file, title]) => `${file}: ${title}`),
    [],
  );
});

test("every path that the threat model and the pages for callers name exists", () => {
  for (const page of ["threat-model.md", "applications.md", "platform-teams.md"]) {
    const text = read(`docs/${page}`);
    const linked = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path = ""]) => join("docs", path));
    const quoted = [...text.matchAll(/`((?:docs|packages|scripts|services)\/[\w./-]+)`/g)].map(([, path = ""]) => path);
    const absent = [...linked, ...quoted].filter((path) => !existsSync(join(root, path)));
    assert.deepEqual(absent, [], page);
  }
});
