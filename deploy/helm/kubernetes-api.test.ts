import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { root, runProgram } from "../../scripts/testing/programs.ts";
import type { KubernetesObject } from "./render.ts";
import { type Rendered, renderVariants } from "./variants.ts";

/** Where kubernetes-types, made from the API's own OpenAPI document, has the types of each group. */
const modules: Readonly<Record<string, string>> = {
  v1: "core/v1",
  "apps/v1": "apps/v1",
  "autoscaling/v2": "autoscaling/v2",
  "batch/v1": "batch/v1",
  "networking.k8s.io/v1": "networking/v1",
  "policy/v1": "policy/v1",
};
/** Kinds of other projects: their contents are compared with what is expected in the chart's own tests. */
const foreign = /^(monitoring\.coreos\.com|cert-manager\.io)\//;

let rendered: Rendered;
before(async () => {
  rendered = await renderVariants();
});

/** What the compiler says when the objects are written as literals: an unknown field is an error in each of them. */
async function compile(objects: readonly KubernetesObject[]): Promise<{ ok: boolean; output: string }> {
  const lines = objects.map((object, index) => {
    const module = modules[object.apiVersion];
    assert.ok(module !== undefined, `${object.apiVersion} ${object.kind}`);
    const path = join(root, "node_modules/kubernetes-types", module);
    return `export const object${index}: import("${path}").${object.kind} = ${JSON.stringify(object)};`;
  });
  const folder = mkdtempSync(join(tmpdir(), "fujie-objects-"));
  try {
    const file = join(folder, "objects.ts");
    writeFileSync(file, lines.join("\n"));
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"];
    const { code, output } = await runProgram("tsc", [...options, "--ignoreConfig", "--pretty", "false", file]);
    return { ok: code === 0, output };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("every rendered object has only fields that the Kubernetes API knows, of its types", async () => {
  const objects: KubernetesObject[] = [];
  rendered.onEach((all) => objects.push(...all.filter(({ apiVersion }) => !foreign.test(apiVersion))));
  assert.ok(objects.length > 150);
  const { ok, output } = await compile(objects);
  assert.ok(ok, output);
});

test("the check finds a field that does not exist and a value of another type", async () => {
  const metadata = { name: "wrong" };
  const typo = { apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata, spec: { maxUnavailble: 1 } };
  const type = { apiVersion: "batch/v1", kind: "Job", metadata, spec: { backoffLimit: "3", template: {} } };
  const { ok, output } = await compile([typo, type]);
  assert.equal(ok, false);
  assert.match(output, /maxUnavailble\W+ does not exist in type/);
  assert.match(output, /Type 'string' is not assignable to type 'number'/);
});
