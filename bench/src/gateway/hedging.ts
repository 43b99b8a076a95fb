import { atMost, median, type Row } from "../suite.ts";
import { openStage, personQuestions, type SourcesFile } from "./stage.ts";

const ROUNDS = 5;
const CALLS = 2_000;
const PER_SECOND = 200;
const SOURCE_MS = 10;
const SLOW_MS = 200;
const TARGET = 2;
const EXTRA_CALLS = 0.05;

/** One of two replicas of a free source takes twenty times as long. */
export async function measureHedging(): Promise<Row[]> {
  await using stage = await openStage({}, withReplicas);
  const healthyMs: number[] = [];
  const slowMs: number[] = [];
  const extra: number[] = [];
  let from = 0;
  const load = async () => {
    from += 2 * CALLS;
    return stage.verify({ questions: personQuestions(CALLS, from), calls: CALLS, perSecond: PER_SECOND });
  };
  await stage.control.control("population-base", { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  await stage.control.control("population-base-2", { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  await load();
  for (let round = 0; round < ROUNDS; round += 1) {
    healthyMs.push((await load()).answered.p99);
    const before = await received(stage);
    await stage.control.control("population-base-2", { latencyMs: SLOW_MS });
    slowMs.push((await load()).answered.p999);
    extra.push((await received(stage)) - before - CALLS);
    await stage.control.control("population-base-2", { latencyMs: SOURCE_MS });
  }
  const ratios = slowMs.map((value, round) => value / (healthyMs[round] ?? Number.NaN));
  const shares = extra.map((calls) => calls / CALLS);
  const ratio = median(ratios);
  return [
    {
      measure: "one replica slow, hedged: p99.9 against the healthy p99",
      value: median(slowMs),
      unit: "ms",
      baseline: median(healthyMs),
      ratio,
      target: TARGET,
      bound: "at most",
      ok: ratio <= TARGET,
      rounds: ratios,
    },
    {
      ...atMost(EXTRA_CALLS, {
        measure: "one replica slow: extra calls",
        value: median(shares),
        unit: "of all",
        baseline: 1,
      }),
      rounds: shares,
    },
  ];
}

async function received(stage: { control: Awaited<ReturnType<typeof openStage>>["control"] }): Promise<number> {
  const [one, two] = await Promise.all([
    stage.control.counters("population-base"),
    stage.control.counters("population-base-2"),
  ]);
  return one.received + two.received;
}

function withReplicas({ sources }: SourcesFile): SourcesFile {
  return { sources: sources.map((source) => (source.id === "population-base" ? { ...source, priceFen: 0 } : source)) };
}
