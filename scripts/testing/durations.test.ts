import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { longestFirst, rememberDurations } from "./durations.ts";

test("what took longest runs first, and whole programs before the rest where nothing is known", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fujie-durations-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "cache", "seconds.json");
  const files = ["a/src/unit.test.ts", "b/tests/short.test.ts", "c/tests/long.test.ts"];
  const [unit, short, long] = files;
  assert.deepEqual(longestFirst(files, file), [short, long, unit]);

  rememberDurations([{ file: "c/tests/long.test.ts", seconds: 70.04 }], file);
  rememberDurations([{ file: "b/tests/short.test.ts", seconds: 0.2 }], file);
  assert.deepEqual(longestFirst(files, file), [long, unit, short]);

  writeFileSync(file, '{ "c/tests/long.test.ts": 7');
  assert.deepEqual(longestFirst(files, file), [short, long, unit]);
});
