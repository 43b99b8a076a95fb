/**
 * The trust-gateway between real callers and the sandbox's sources: what it adds, what it spares, and what it lets a
 * source that is ill do to others. Every figure is the median of five rounds, and all of them are in the row's `rounds`.
 */
import { measureCached } from "./gateway/cached.ts";
import { measureHedging } from "./gateway/hedging.ts";
import { measureIsolation } from "./gateway/isolation.ts";
import { measureBlackHole, measureOutage } from "./gateway/outage.ts";
import { measureOverhead } from "./gateway/overhead.ts";
import { measureOverload } from "./gateway/overload.ts";
import { measureSharing } from "./gateway/sharing.ts";
import { openStage, type Stage } from "./gateway/stage.ts";
import type { Row, SuiteResult } from "./suite.ts";

const only = process.env["BENCH_ONLY"] ?? "";

const measures: Readonly<Record<string, (stage: Stage) => Promise<Row[]>>> = {
  overhead: measureOverhead,
  cached: measureCached,
  isolation: measureIsolation,
  outage: measureOutage,
  "black-hole": measureBlackHole,
  overload: measureOverload,
  sharing: measureSharing,
};

export async function run(machine: string): Promise<SuiteResult> {
  const rows: Row[] = [];
  const add = (more: readonly Row[]): void => {
    for (const { measure, rounds = [] } of more) console.log(`${measure}: ${rounds.map(shorten).join(" ")}`);
    rows.push(...more);
  };
  for (const [name, measure] of Object.entries(measures)) {
    if (!name.includes(only)) continue;
    // Each on a stage of its own: what one measure teaches breakers and caches must not help or harm the next.
    await using stage = await openStage();
    add(await measure(stage));
  }
  if ("hedging".includes(only)) add(await measureHedging());
  return { suite: "gateway", machine, rows };
}

function shorten(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
