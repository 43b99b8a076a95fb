import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { root, runProgram } from "../../scripts/testing/programs.ts";

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const file = "deploy/alerts/fujie.yaml";
const { groups } = parse(readFileSync(join(root, file), "utf8")) as { groups: { rules: Rule[] }[] };
const alerts = groups.flatMap(({ rules }) => rules.filter(({ alert }) => alert !== undefined));
const runbooks = "docs/runbooks";

async function promtool(...args: string[]): Promise<void> {
  const { code, output } = await runProgram("promtool", args);
  assert.equal(code, 0, output);
}

test("Prometheus accepts the rules", async () => {
  await promtool("check", "rules", file);
});

test("each alert fires when it should and is silent when it should be", async () => {
  await promtool("test", "rules", "deploy/alerts/fujie.promtool.yaml");
  const proof = readFileSync(join(root, "deploy/alerts/fujie.promtool.yaml"), "utf8");
  for (const { alert } of alerts) assert.ok(proof.includes(`alertname: ${alert}\n`), `${alert} is not tried`);
});

test("each alert says how urgent it is and has a runbook of its name, and each runbook has an alert", () => {
  for (const { alert = "", labels, annotations } of alerts) {
    assert.match(labels?.["severity"] ?? "", /^(page|ticket)$/, alert);
    assert.ok(annotations?.["summary"], alert);
    const name = alert.replace(/(?<!^)[A-Z]/g, "-$&").toLowerCase();
    assert.equal(annotations["runbook"], `${runbooks}/${name}.md`);
    assert.ok(existsSync(join(root, runbooks, `${name}.md`)), `${alert} has no runbook`);
  }
  const named = new Set(alerts.map(({ annotations }) => annotations?.["runbook"]));
  const unused = readdirSync(join(root, runbooks)).filter(
    (page) => page.startsWith("fujie-") && !named.has(`${runbooks}/${page}`),
  );
  assert.deepEqual(unused, []);
});
