/** node src/main.ts [suite…]: runs the suites, prints their tables, keeps results/<suite>.json; fails on a missed target. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import type { SuiteResult } from "./suite.ts";

const suites: Readonly<Record<string, () => Promise<{ run(machine: string): Promise<SuiteResult> }>>> = {
  rpc: () => import("./rpc.ts"),
  audit: () => import("./audit.ts"),
  search: () => import("./search.ts"),
  gateway: () => import("./gateway.ts"),
};

const wanted = process.argv.slice(2);
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`;
let met = true;
for (const name of wanted.length === 0 ? Object.keys(suites) : wanted) {
  const load = suites[name];
  if (load === undefined) throw new Error(`no suite "${name}"; there are ${Object.keys(suites).join(", ")}`);
  const result = await (await load()).run(machine);
  console.table(
    result.rows.map(({ measure, value, unit, baseline, ratio, target, bound, ok }) => ({
      measure,
      value: `${round(value)} ${unit}`,
      baseline: round(baseline),
      ratio: ratio.toFixed(2),
      target: `${bound === "at most" ? "≤" : "≥"} ${target}`,
      ok,
    })),
  );
  for (const { measure, notes = [] } of result.rows)
    for (const note of notes) process.stdout.write(`${measure}: ${note}\n`);
  const results = new URL("../results/", import.meta.url);
  mkdirSync(results, { recursive: true });
  // A run of some rows must not pass for one of all.
  if (process.env["BENCH_ONLY"] === undefined)
    writeFileSync(new URL(`${name}.json`, results), `${JSON.stringify(result, undefined, 2)}\n`);
  met &&= result.rows.every(({ ok }) => ok);
}
process.exitCode = met ? 0 : 1;

function round(value: number): number {
  return value < 100 ? Math.round(value * 100) / 100 : Math.round(value);
}
