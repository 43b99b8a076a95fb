/** What operators see of the sources: how often they were asked, what came back, what it cost, and whether they are there. */
import type { Runtime } from "@fujie/kit/runtime";
import type { GuardedSource } from "./guard.ts";
import { SourceError } from "./source.ts";

type Telemetry = Runtime["telemetry"];

/**
 * Counts every check that leaves for the source, by verdict; the price counts once per answer, as the source bills it.
 * Verdicts are counts over everybody: no series names a person or an application.
 */
export function meterSource(source: GuardedSource, { meter, observeGauge }: Telemetry): GuardedSource {
  const { id } = source;
  const checks = meter.createCounter("fujie.source.checks", { description: "Checks at trust sources, by verdict" });
  const cost = meter.createCounter("fujie.source.cost.fen", { description: "Price of answered checks, in fen" });
  const gauges = [
    observeGauge(
      "fujie.source.available",
      "1 while the source is asked: breaker closed, no maintenance",
      () => (source.isAvailable() ? 1 : 0),
      { source: id },
    ),
    observeGauge(
      "fujie.source.latency.p95",
      "Usual latency of the source, in milliseconds",
      () => source.p95Ms() ?? 0,
      {
        source: id,
      },
    ),
  ];
  return {
    ...source,
    ask: async (check, mayBePaid) => {
      try {
        const answer = await source.ask(check, mayBePaid);
        checks.add(1, { source: id, verdict: answer.verdict });
        cost.add(source.priceFen, { source: id });
        return answer;
      } catch (error) {
        checks.add(1, { source: id, verdict: error instanceof SourceError ? error.fault : "FAILED" });
        throw error;
      }
    },
    [Symbol.dispose]: () => {
      for (const gauge of gauges) gauge[Symbol.dispose]();
      source[Symbol.dispose]();
    },
  };
}
