import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { NAMED_PEOPLE } from "../../sandbox/src/people/index.ts";
import { scanForCanaries } from "./canary-scan.ts";
import { root } from "./programs.ts";
import { runTestFile } from "./run-file.ts";

const { citizenId, phone } = NAMED_PEOPLE.match.person;

test("a person in a cache key, in an address that a server is asked for, or in its error is found", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fujie-observe-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "it.test.ts");
  writeFileSync(
    file,
    `import { createServer } from "node:http";
     import { test } from "node:test";
     import { memoryEphemeral } from "${root}/packages/kit/src/ephemeral/index.ts";
     test("careless", async () => {
       const store = memoryEphemeral({ maxEntries: 10, clock: { nowMs: () => 0 } });
       await store.set("words:${citizenId}", "1", { ttlMs: 1_000 });
       const server = createServer((_, response) => response.writeHead(404).end("nobody has ${phone}"));
       await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
       await fetch("http://127.0.0.1:" + server.address().port + "/people/${citizenId}");
       server.close();
     });`,
  );
  const observedFolder = join(folder, "observed");
  const { signal } = new AbortController();
  const { tests, output } = await runTestFile(file, { timeoutMs: 60_000, env: {}, signal, observedFolder });
  assert.deepEqual(
    tests.map(({ status }) => status),
    ["passed"],
    output,
  );
  const { findings } = scanForCanaries(observedFolder);
  assert.deepEqual(findings.map((finding) => finding.replace(/-\d+:/, ":")).toSorted(), [
    "ephemeral: a citizen id",
    "error: a phone number",
    "url: a citizen id",
  ]);
});
