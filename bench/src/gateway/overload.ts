import { atMost, median, type Row } from "../suite.ts";
import type { LoadResult, Question } from "./load.ts";
import { personPolicy, personQuestions, type Stage } from "./stage.ts";

const ROUNDS = 5;
const ROUND_SECONDS = 3;
const SOURCE_MS = 40;
const IN_FLIGHT = 64;
const TARGET_SOURCE = 0.9;
const TARGET_CPU = 0.65;
const REFUSED_MS = 10;

/** Twice as many questions as can be answered: how many are answered all the same, and how soon the rest is told so. */
export async function measureOverload(stage: Stage): Promise<Row[]> {
  await stage.control.control("population-base", { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  const bySource = await overload(stage, freshPeople());
  await stage.control.control("population-base", { latencyMs: 0 });
  await stage.putPolicy({ claimPolicies: [personPolicy({ reuseSeconds: 3_600 })] });
  const known = personQuestions(64);
  await stage.verify({ questions: known, calls: 64, inFlight: 8 });
  const byCpu = await overload(stage, () => known);
  const refusedMs = [...bySource, ...byCpu].map(({ over }) => over.refused.p50).filter(Number.isFinite);
  return [
    goodputRow("2× overload, the source is the limit: goodput of peak", bySource, TARGET_SOURCE),
    goodputRow("2× overload, our CPU is the limit: goodput of peak", byCpu, TARGET_CPU),
    {
      ...atMost(REFUSED_MS, {
        measure: "2× overload: the excess is refused within, median",
        value: median(refusedMs),
        unit: "ms",
        baseline: SOURCE_MS,
      }),
      rounds: refusedMs,
    },
  ];
}

interface Round {
  readonly peak: number;
  readonly over: LoadResult;
}

async function overload(stage: Stage, questions: (count: number) => readonly Question[]): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const warm = await stage.verify({ questions: questions(500), calls: 500, inFlight: IN_FLIGHT });
    const calls = Math.round(warm.perSecond * ROUND_SECONDS);
    const peak = (await stage.verify({ questions: questions(calls), calls, inFlight: IN_FLIGHT })).perSecond;
    const twice = Math.round(2 * peak * ROUND_SECONDS);
    const load = { questions: questions(twice), calls: twice, perSecond: 2 * peak };
    rounds.push({ peak, over: await stage.verify(load) });
  }
  return rounds;
}

function goodputRow(measure: string, rounds: readonly Round[], target: number): Row {
  // Decided either way: not all of those asked about are on record.
  const decidedOf = ({ ends }: LoadResult) => (ends["VERIFIED"] ?? 0) + (ends["REJECTED"] ?? 0);
  const goodputs = rounds.map(({ over }) => (decidedOf(over) * 1_000) / over.elapsedMs);
  const ratios = goodputs.map((value, round) => value / (rounds[round]?.peak ?? Number.NaN));
  const ratio = median(ratios);
  const baseline = median(rounds.map(({ peak }) => peak));
  return {
    measure,
    value: median(goodputs),
    unit: "calls/s",
    baseline,
    ratio,
    target,
    ok: ratio >= target,
    rounds: ratios,
  };
}

/** People whom nobody has asked about yet: of each, one question. */
function freshPeople(): (count: number) => Question[] {
  let from = 0;
  return (count) => {
    from += 2 * count;
    return personQuestions(count, from);
  };
}
