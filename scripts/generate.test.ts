import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findStaleFiles, type Generator } from "./generate.ts";

test("a generated file that differs, is missing or is left over is named", async (t) => {
  const base = mkdtempSync(join(tmpdir(), "fujie-generated-"));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const write = (folder: string, files: Record<string, string>): void => {
    mkdirSync(join(folder, "gen/deep"), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  };
  const files = { "gen/a": "1", "gen/deep/b": "2", "page.md": "3" };
  const generator: Generator = {
    name: "fixture",
    outputs: ["gen", "page.md"],
    generate: async (fresh) => write(fresh, files),
  };
  write(base, files);
  assert.deepEqual(await findStaleFiles([generator], base), []);
  write(base, { "gen/a": "other", "gen/old": "" });
  rmSync(join(base, "gen/deep/b"));
  rmSync(join(base, "page.md"));
  assert.deepEqual(await findStaleFiles([generator], base), [
    "gen/a differs",
    "gen/deep/b is missing",
    "gen/old is no longer generated",
    "page.md is missing",
  ]);
});
