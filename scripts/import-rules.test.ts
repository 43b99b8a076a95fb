import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { cruise, type IConfiguration } from "dependency-cruiser";
import { root } from "./testing/programs.ts";

type Tree = Record<string, string>;

const { forbidden = [], options = {} } = createRequire(import.meta.url)(
  join(root, ".dependency-cruiser.cjs"),
) as IConfiguration;

/** A small repository that keeps every rule. */
const lawful: Tree = {
  "node_modules/pg/package.json": '{ "name": "pg", "version": "1.0.0", "main": "index.js" }',
  "node_modules/pg/index.js": "",
  "packages/api/src/gen/person_pb.js": "export const person = 1;",
  "packages/kit/src/db/index.ts": 'import pg from "pg"; export const db = pg;',
  "packages/kit/src/serve/index.ts":
    'import { person } from "../../../api/src/gen/person_pb.js"; export const serve = person;',
  "packages/kit/src/errors/index.ts": "export const fail = 1; export type Fail = number;",
  "packages/identity/src/index.ts": "export const isValid = 1;",
  "packages/transparency/src/index.ts": 'import { createHash } from "node:crypto"; export const hash = createHash;',
  "packages/certificates/src/index.ts": "export const parse = 1;",
  "packages/embedded/src/index.ts": "export const startPostgres = 1;",
  "packages/embedded/src/testing.ts":
    'import { startPostgres } from "./index.ts"; export const testDatabase = startPostgres;',
  "packages/cli/src/main.ts": 'import "../../../sandbox/src/index.ts"; import "../../../services/auth/src/server.ts";',
  "sandbox/src/index.ts": "export const ca = 1;",
  "services/auth/src/main.ts": 'import { start } from "./server.ts"; start;',
  "services/auth/src/server.ts":
    'import { rpc } from "./sessions/rpc.ts"; import { context } from "./context.ts"; export const start = [rpc, context];',
  "services/auth/src/context.ts":
    'import { db } from "../../../packages/kit/src/db/index.ts"; export const context = db;',
  "services/auth/src/sessions/rpc.ts":
    'import { decide } from "./rules.ts"; import { load } from "./store.ts"; export const rpc = [decide, load];',
  "services/auth/src/sessions/rules.ts":
    'import { fail } from "../../../../packages/kit/src/errors/index.ts"; export const decide = fail;',
  "services/auth/src/sessions/store.ts":
    'import { decide } from "./rules.ts"; import pg from "pg"; export const load = [pg, decide];',
  "services/auth/src/sessions/rules.test.ts": 'import { decide } from "./rules.ts"; decide;',
  "services/auth/tests/sign-in.test.ts":
    'import "../src/server.ts"; import "../../../packages/embedded/src/testing.ts"; import "../../../sandbox/src/index.ts";',
  "services/audit/src/server.ts": "export const start = 1;",
};

/** For each rule, files that break it and what must then be reported, and nothing else. */
const violations: { rule: string; tree: Tree; reported: string[] }[] = [
  {
    rule: "no-cycles",
    tree: {
      "packages/kit/src/errors/index.ts":
        'import type { Reason } from "./reason.ts"; export const fail = 1; export type Fail = Reason;',
      "packages/kit/src/errors/reason.ts": 'import type { Fail } from "./index.ts"; export type Reason = Fail | 1;',
    },
    reported: ["packages/kit/src/errors/index.ts → packages/kit/src/errors/reason.ts"],
  },
  {
    rule: "no-orphans",
    tree: { "services/auth/src/sessions/forgotten.ts": "export const nobody = 1;" },
    reported: ["services/auth/src/sessions/forgotten.ts"],
  },
  {
    rule: "no-unresolved",
    tree: { "services/audit/src/server.ts": 'import "./gone.ts";' },
    reported: ["services/audit/src/server.ts → ./gone.ts"],
  },
  {
    rule: "no-rooms-without-a-noun",
    tree: {
      "services/audit/src/server.ts":
        'import "./utils/dates.ts"; import "./helpers.ts"; import "./common/a.ts"; import "./shared/b.ts";',
      "services/audit/src/utils/dates.ts": "export {};",
      "services/audit/src/helpers.ts": "export {};",
      "services/audit/src/common/a.ts": "export {};",
      "services/audit/src/shared/b.ts": "export {};",
    },
    reported: ["common/a.ts", "helpers.ts", "shared/b.ts", "utils/dates.ts"].map(
      (file) => `services/audit/src/server.ts → services/audit/src/${file}`,
    ),
  },
  {
    rule: "no-tests-in-production",
    tree: {
      "services/audit/src/server.ts":
        'import "./log.test.ts"; import "../tests/fixture.ts"; import "../../../packages/embedded/src/testing.ts";',
      "services/audit/src/log.test.ts": "export {};",
      "services/audit/tests/fixture.ts": "export {};",
    },
    reported: [
      "services/audit/src/server.ts → packages/embedded/src/testing.ts",
      "services/audit/src/server.ts → services/audit/src/log.test.ts",
      "services/audit/src/server.ts → services/audit/tests/fixture.ts",
    ],
  },
  {
    rule: "rules-are-pure",
    tree: {
      "services/auth/src/sessions/store.ts": "export const load = 1;",
      "services/auth/src/sessions/rules.ts": `
        import type { load } from "./store.ts"; import type { context } from "../context.ts"; import pg from "pg";
        import { readFileSync } from "node:fs"; import { connect } from "node:net"; import { request } from "http";
        import type { db } from "../../../../packages/kit/src/db/index.ts"; export const decide = 1;`,
    },
    reported: [
      "fs",
      "http",
      "net",
      "node_modules/pg/index.js",
      "packages/kit/src/db/index.ts",
      "services/auth/src/context.ts",
      "services/auth/src/sessions/store.ts",
    ].map((to) => `services/auth/src/sessions/rules.ts → ${to}`),
  },
  {
    rule: "store-below-rpc",
    tree: {
      "services/auth/src/sessions/rpc.ts": "export const rpc = 1;",
      "services/auth/src/sessions/store.ts": 'import { rpc } from "./rpc.ts"; export const load = rpc;',
    },
    reported: ["services/auth/src/sessions/store.ts → services/auth/src/sessions/rpc.ts"],
  },
  {
    rule: "rpc-below-entry",
    tree: {
      "services/auth/src/server.ts": "export type Start = 1;",
      "services/auth/src/main.ts": 'import "./sessions/rpc.ts"; import "./context.ts";',
      "services/auth/src/sessions/rpc.ts":
        'import type { Start } from "../server.ts"; import "./rules.ts"; import "./store.ts"; export type Rpc = Start;',
    },
    reported: ["services/auth/src/sessions/rpc.ts → services/auth/src/server.ts"],
  },
  {
    rule: "rpc-is-only-for-the-entry",
    tree: {
      "services/auth/src/context.ts": 'import { rpc } from "./sessions/rpc.ts"; export const context = rpc;',
    },
    reported: ["services/auth/src/context.ts → services/auth/src/sessions/rpc.ts"],
  },
  {
    rule: "services-apart",
    tree: { "services/audit/src/server.ts": 'import "../../auth/src/context.ts";' },
    reported: ["services/audit/src/server.ts → services/auth/src/context.ts"],
  },
  {
    rule: "pure-packages",
    tree: {
      "packages/identity/src/index.ts": 'import "node:fs"; import "../../kit/src/errors/index.ts";',
      "packages/transparency/src/index.ts": 'import "node:net";',
      "packages/certificates/src/index.ts": 'import "https"; import type { ca } from "../../../sandbox/src/index.ts";',
    },
    reported: [
      "packages/certificates/src/index.ts → https",
      "packages/certificates/src/index.ts → sandbox/src/index.ts",
      "packages/identity/src/index.ts → fs",
      "packages/identity/src/index.ts → packages/kit/src/errors/index.ts",
      "packages/transparency/src/index.ts → net",
    ],
  },
  {
    rule: "kit-imports-api-only",
    tree: { "packages/kit/src/errors/index.ts": 'import "../../../identity/src/index.ts"; export const fail = 1;' },
    reported: ["packages/kit/src/errors/index.ts → packages/identity/src/index.ts"],
  },
  {
    rule: "api-imports-nothing",
    tree: { "packages/api/src/gen/person_pb.js": 'import "../../../identity/src/index.ts"; export const person = 1;' },
    reported: ["packages/api/src/gen/person_pb.js → packages/identity/src/index.ts"],
  },
  {
    rule: "sandbox-stays-outside",
    tree: {
      "services/audit/src/server.ts": 'import type { ca } from "../../../sandbox/src/index.ts";',
      "packages/embedded/src/index.ts": 'import "../../../sandbox/src/index.ts"; export const startPostgres = 1;',
    },
    reported: [
      "packages/embedded/src/index.ts → sandbox/src/index.ts",
      "services/audit/src/server.ts → sandbox/src/index.ts",
    ],
  },
];

test("a repository that keeps the import rules has no violation", async (t) => {
  assert.deepEqual(await findViolations(t, lawful), []);
});

for (const { rule, tree, reported } of violations) {
  test(`import rule ${rule} fires`, async (t) => {
    const found = await findViolations(t, { ...lawful, ...tree });
    const ofRule = found.filter((violation) => violation.rule === rule).map((violation) => violation.edge);
    assert.deepEqual(ofRule.sort(), reported);
    // The packages below the services may break their own rule and the one about the sandbox at once.
    const others = found.filter((violation) => violation.rule !== rule).map((violation) => violation.rule);
    assert.deepEqual([...new Set(others)], rule === "pure-packages" ? ["sandbox-stays-outside"] : []);
  });
}

test("every import rule of the configuration is proved to fire here", () => {
  const names = forbidden.map(({ name }) => name);
  assert.deepEqual(names.sort(), violations.map((violation) => violation.rule).sort());
});

type Violation = { rule: string; edge: string };

async function findViolations(t: TestContext, tree: Tree): Promise<Violation[]> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-imports-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [file, text] of Object.entries(tree)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  const { output } = await cruise(["packages", "services", "sandbox"], {
    ...options,
    ruleSet: { forbidden },
    validate: true,
    baseDir: folder,
  });
  assert.ok(typeof output === "object");
  return output.summary.violations.map(({ rule, from, to }) => ({
    rule: rule.name,
    edge: from === to ? from : `${from} → ${to}`,
  }));
}
