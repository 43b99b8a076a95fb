/** What operators see of the sources: how often they were asked, what came back, what it cost, and whether they are there. */
import type { Runtime } from "@fujie/kit/runtime";
import type { GuardedSource, GuardState } from "./guard.ts";
import { NO_LIMITS } from "./quota.ts";
import { SourceError } from "./source.ts";

type Telemetry = Pick<Runtime["telemetry"], "meter" | "observeGauge">;

const breakerStates = { CLOSED: 0, HALF_OPEN: 1, OPEN: 2 } as const satisfies Record<GuardState["breaker"], number>;

/** Name after "fujie.source.", what it is, and how it is read. */
const gauges: readonly (readonly [string, string, (source: GuardedSource) => number])[] = [
  ["available", "1 while the source is asked", (source) => (source.hindrance(NO_LIMITS) === undefined ? 1 : 0)],
  ["latency.p95", "Usual latency of the source, in milliseconds", (source) => source.p95Ms() ?? 0],
  ["breaker", "0 closed, 1 being tried, 2 open", (source) => breakerStates[source.state().breaker]],
  ["limit", "Calls at once that the source is given now", (source) => source.state().limit],
  ["in.flight", "Calls that the source has now", (source) => source.state().inFlight],
  ["queued", "Calls that wait for the source", (source) => source.state().queued],
  ["replicas.ejected", "Replicas that are left out now", (source) => source.state().replicasEjected],
];

const counters: readonly (readonly [string, string, (state: GuardState) => number])[] = [
  ["hedges", "Checks that were sent to a second replica", ({ hedges }) => hedges],
  ["retries", "Checks that were sent again", ({ retries }) => retries],
  ["reused", "Questions for which a word of the source's was at hand", ({ reused }) => reused],
];

/**
 * Counts every check that leaves for the source, by verdict; the price counts once per answer, as the source bills it.
 * Verdicts are counts over everybody: no series names a person or an application.
 */
export function meterSource(source: GuardedSource, { meter, observeGauge }: Telemetry): GuardedSource {
  const { id } = source;
  const about = { source: id };
  const checks = meter.createCounter("fujie.source.checks", { description: "Checks at trust sources, by verdict" });
  const cost = meter.createCounter("fujie.source.cost.fen", { description: "Price of answered checks, in fen" });
  const observed = gauges.map(([name, description, read]) =>
    observeGauge(`fujie.source.${name}`, description, () => read(source), about),
  );
  const counted = counters.map(([name, description, read]) => {
    const counter = meter.createObservableCounter(`fujie.source.${name}`, { description });
    const callback: Parameters<typeof counter.addCallback>[0] = (result) => result.observe(read(source.state()), about);
    counter.addCallback(callback);
    return { [Symbol.dispose]: () => counter.removeCallback(callback) };
  });
  return {
    ...source,
    // What it is asked for changes with what it says of itself.
    get claimTypes() {
      return source.claimTypes;
    },
    get level() {
      return source.level;
    },
    ask: async (check, turn) => {
      try {
        const answer = await source.ask(check, turn);
        checks.add(1, { source: id, verdict: answer.verdict });
        cost.add(source.priceFen * (answer.billed ?? 1), about);
        return answer;
      } catch (error) {
        checks.add(1, { source: id, verdict: error instanceof SourceError ? error.fault : "FAILED" });
        throw error;
      }
    },
    [Symbol.dispose]: () => {
      for (const each of [...observed, ...counted]) each[Symbol.dispose]();
      source[Symbol.dispose]();
    },
  };
}
