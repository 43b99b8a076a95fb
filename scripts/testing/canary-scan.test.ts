import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { NAMED_PEOPLE, personAt } from "../../sandbox/src/people/index.ts";
import { canariesIn, scanForCanaries } from "./canary-scan.ts";

const { citizenId, name, phone, bankCard } = NAMED_PEOPLE.match.person;

test("the canary scan finds each kind of canary that is planted, and names the file and the kind alone", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fujie-canaries-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "one.test.ts"));
  writeFileSync(join(folder, "one.test.ts", "log-1"), '{"level":"info","message":"things happened"}\n');
  assert.deepEqual(scanForCanaries(folder).findings, []);
  const planted: Record<string, [string, string]> = {
    url: [`/people/${personAt(7).citizenId}/checks`, "a citizen id"],
    error: [`\\x${Buffer.from(citizenId).toString("hex")}`, "a citizen id"],
    log: [`{"name":"${name}"}`, "a name"],
    encoded: [`/?name=${encodeURIComponent(name)}`, "a name"],
    telemetry: [`\u0000\u0012${phone}\u0001`, "a phone number"],
    metrics: [`checks{card="${bankCard}"} 1`, "a bank card"],
    form: ["login=a&password=correct horse battery", "a password"],
  };
  for (const [file, [text]] of Object.entries(planted)) writeFileSync(join(folder, "one.test.ts", file), text);
  const { files, bytes, findings } = scanForCanaries(folder);
  assert.equal(files, 8);
  assert.ok(bytes > 100);
  const expected = Object.entries(planted).map(([file, [, kind]]) => `one.test.ts/${file}: ${kind}`);
  assert.deepEqual(findings.toSorted(), expected.toSorted());
});

test("numbers that are like a person's and are none are no canaries", () => {
  const digest = "a1540123456 7f99990000123456789b";
  for (const text of ["1767225600000000000", "110101199003070000", "0.15401234567", "9999000012345679", digest]) {
    assert.deepEqual(canariesIn(text), [], text);
  }
});
