import { atMost, median, percentile, type Row } from "../suite.ts";
import { askDirectly } from "./direct.ts";
import { personQuestions, type Stage } from "./stage.ts";

const ROUNDS = 5;
const CALLS = 200;
const PER_SECOND = 40;
const SOURCE_MS = 20;
const TARGET_P50_MS = 3;
const TARGET_P99_MS = 15;

/**
 * How much longer a verification takes than the source's own check of the same kind, one at a time on average. Both
 * are asked over the network, each round one after the other.
 */
export async function measureOverhead(stage: Stage): Promise<Row[]> {
  await stage.control.control("population-base", { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  const people = personQuestions(CALLS * (ROUNDS + 1) * 2);
  const direct: { p50: number; p99: number }[] = [];
  const ours: { p50: number; p99: number }[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const mine = people.slice(round * 2 * CALLS, (round * 2 + 1) * CALLS);
    const theirs = people.slice((round * 2 + 1) * CALLS, (round * 2 + 2) * CALLS);
    const times = await askDirectly(stage, theirs, PER_SECOND);
    const { answered, ends } = await stage.verify({ questions: mine, calls: CALLS, perSecond: PER_SECOND });
    if (ends["VERIFIED"] !== CALLS) throw new Error(`not all were verified: ${JSON.stringify(ends)}`);
    // The first round warms up.
    if (round === 0) continue;
    ours.push(answered);
    direct.push({ p50: percentile(times, 0.5), p99: percentile(times, 0.99) });
  }
  const rowOf = (share: "p50" | "p99", target: number): Row => {
    const beyond = ours.map((one, round) => one[share] - (direct[round]?.[share] ?? Number.NaN));
    const baseline = median(direct.map((one) => one[share]));
    const value = median(beyond);
    return {
      ...atMost(target, { measure: `beyond the source's own time, ${share}`, value, unit: "ms", baseline }),
      rounds: beyond,
    };
  };
  return [rowOf("p50", TARGET_P50_MS), rowOf("p99", TARGET_P99_MS)];
}
